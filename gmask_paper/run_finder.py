"""The runs that lie on disk, as what is collected reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from gmask_paper.default_settings import changed_settings, missing_settings
from gmask_pl.command_names import command_name
from gmask_pl.explanation import Explanation
from gmask_pl.identity.of_result import Identity
from gmask_pl.identity.parts import KIND, TARGET
from gmask_pl.identity.setting_roles import EXPLAIN, PATHS, Told, seeds_of, told_settings, without
from gmask_pl.metrics.pair_metric import RowMetric
from gmask_pl.metrics.paired_tests import Rows
from gmask_pl.metrics.presentation import metric_class
from gmask_pl.pipeline.damaged_folders import reading
from gmask_pl.pipeline.failures import failed_pairs
from gmask_pl.pipeline.report.result_files import METRICS_FILE, read_metrics
from gmask_pl.pipeline.run_results import CONFIG, EXPLANATIONS, PAIR_SCORES, WHAT_A_RUN_LEAVES
from gmask_pl.pipeline.run_settings import AWAY, leave_out, read_config
from gmask_pl.store import read_costs, read_explanations, read_labels, read_pair_scores
from gmask_pl.types import JSON, Unreadable, UserError

Skip = Callable[[Unreadable], None]  # is told what is left out

Costs = dict[str, tuple[float, int]]
Scores = dict[str, dict[str | None, Rows]]


class Run:
    """One finished run of explain.py: ``explainer`` is the choice that its folder is named by.

    config: its settings, each part by its kind. where: what a message calls it; place: the same of
    one that is left out; made: when, in nanoseconds. metrics: what metrics.json says;
    model_identity: as a ModelIdentity is written, {} where it was not kept; pairs: the digest of
    their texts and of what is known of them, "" where it was not kept; costs: seconds and model
    evaluations of every pair by its id; scores: the numbers of every pair by metric, then by
    removal, in the order of the run, then by id; labels: of the classes, beside ``explanations``.
    """

    archived = False
    place: str
    metrics: JSON
    model_identity: JSON
    pairs: str
    costs: Costs
    scores: Scores
    labels: tuple[str, ...]

    def __init__(self, explainer: str, config: DictConfig, *, where: str, made: int) -> None:
        self.explainer, self.config, self.where, self.made = explainer, config, where, made
        self.model, self.dataset = config.model.name, config.dataset.name

    @property
    def weights(self) -> str:
        """The digest of the weights of the model that was explained."""
        return str(self.metrics["model"]["weights"])

    @property
    def portable(self) -> JSON:
        """The settings that decide anything, without folders of the machine it was made on."""
        settings: Any = OmegaConf.to_container(self.config)
        return without(told_settings(settings, EXPLAIN, set(Told) - {Told.NOT}), PATHS)

    @property
    def explainer_settings(self) -> JSON:
        return OmegaConf.to_container(self.config.explainer)  # type: ignore[return-value]

    @property
    def changed_settings(self) -> dict[str, Any]:
        """The settings of the explainer that are not as its YAML says, flat, without seeds."""
        with reading(self.place):
            return changed_settings(self.explainer, self.model, self.explainer_settings)

    @property
    def seeds(self) -> tuple[int, ...]:
        """What the explainer drew from; empty for one that draws nothing."""
        return seeds_of(self.explainer_settings)

    @property
    def failed(self) -> frozenset[str]:
        """The pairs that the run could not explain or score."""
        return frozenset(failed_pairs(self.metrics.get("failed", {})))

    @property
    def drawn(self) -> list[str]:
        """All pairs of the run, those that failed too, in the order of their names."""
        return sorted({*self.costs, *self.failed})

    @property
    def explanations(self) -> dict[str, Explanation]:
        again = f"make the run again by {command_name('explain')}"
        raise UserError(f"{self.where} holds no explanations: {again}")

    def rows(self, metric: str) -> dict[str | None, Rows]:
        """The numbers of every pair under a metric, by removal and id."""
        found = self.scores.get(metric, {})
        if found and not OmegaConf.is_dict(self.config.metric.get(metric)):
            raise Unreadable(self.place, f"it has scores of {metric}, but no settings of it")
        return found

    def result(self, metric: str, removal: str | None) -> JSON:
        """What metrics.json says of a metric under a removal; None for one that removes nothing."""
        scored = self.metrics.get("by_removal", {}).get(removal, self.metrics)
        found: JSON = scored.get(metric, {})  # an archive holds no more than it needs
        return found

    def metric_class(self, metric: str) -> type[RowMetric]:
        kind = str(self.config.metric[metric].get(KIND))
        with reading(self.place):
            found = metric_class(kind)
        if found is None:
            no_metric = f"is of the class {kind}, which is no metric of conf/metric"
            raise Unreadable(self.place, f"metric.{metric} {no_metric}: {AWAY}")
        return found


class FolderRun(Run):
    """A run as explain.py left it in a folder, read as it is asked for.

    Raises Unreadable, then, for what is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, str(folder)
        with reading(folder):
            config, made = read_config(folder / CONFIG), (folder / METRICS_FILE).stat().st_mtime_ns
        super().__init__(folder.parent.name, config, where=str(folder / CONFIG), made=made)

    @cached_property
    def metrics(self) -> JSON:  # type: ignore[override]
        with reading(self.folder):
            return read_metrics(self.folder)

    @cached_property
    def identity(self) -> Identity | None:
        return Identity.read(self.folder)

    @cached_property
    def pairs(self) -> str:  # type: ignore[override]
        return "" if self.identity is None else self.identity.pairs

    @cached_property
    def model_identity(self) -> JSON:  # type: ignore[override]
        known = self.identity is not None and "network" in self.identity.model
        return self.identity.model if known else {}  # type: ignore[union-attr]

    @cached_property
    def explanations(self) -> dict[str, Explanation]:
        with reading(self.folder):
            found = {e.id: e for e in read_explanations(self.folder / EXPLANATIONS)}
            for explanation in found.values():
                check_explanation(explanation, len(self.labels))
            return found

    @cached_property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        with reading(self.folder):
            return read_labels(self.folder / EXPLANATIONS)

    @cached_property
    def costs(self) -> Costs:  # type: ignore[override]
        with reading(self.folder):
            return read_costs(self.folder / EXPLANATIONS)

    @cached_property
    def scores(self) -> Scores:  # type: ignore[override]
        found: dict[str, dict[str | None, dict[str, np.ndarray]]] = {}
        with reading(self.folder):
            for score in read_pair_scores(self.folder / PAIR_SCORES):
                rows = found.setdefault(score.metric, {}).setdefault(score.removal, {})
                rows[score.id] = np.array(score.row)
            check_scores(found)
        return found  # type: ignore[return-value]


def check_scores(scores: Mapping[str, Mapping[str | None, Rows]]) -> None:
    """Raises ValueError where pairs have more scores of a metric than others."""
    for metric, by_removal in scores.items():
        for rows in by_removal.values():
            if len(widths := {len(row) for row in rows.values()}) > 1:
                raise ValueError(f"pairs have {sorted(widths)} scores of {metric}")


def check_explanation(e: Explanation, classes: int) -> None:
    """Raises ValueError where the parts of an explanation do not belong together."""
    words = range(len(e.words))
    groups, joint = e.groups, e.interactions
    right = [
        len(e.scores) == len(words),
        len(e.probabilities) in (0, classes),
        e.prediction in range(classes) and (e.label is None or e.label in range(classes)),
        groups is None
        or (
            len(groups.candidates) == len(groups.phi)
            and all(position in words for position in groups.candidates)
            and all(len(phi) == len(groups.psi) for phi in groups.phi)
        ),
        joint is None or all(position in words for pair in joint.pairs for position in pair),
    ]
    if not all(right):
        raise ValueError(f"the explanation of pair {e.id} does not fit its words and classes")


def find_runs(
    output: Path, models: Sequence[str] = (), datasets: Sequence[str] = (), skip: Skip = leave_out
) -> list[FolderRun]:
    """The finished runs below ``output``/explain, of some models and datasets where any are named.

    A folder that holds only part of one is under way, failed, or of an earlier version. ``skip``
    is told of one that is damaged.
    """
    places = [f"{dataset}_{model}" for model in models or "*" for dataset in datasets or "*"]
    found = (file for place in places for file in output.glob(f"explain/{place}/*/*/{CONFIG}"))
    runs: list[FolderRun] = []
    for folder in sorted({file.parent for file in found}):
        try:
            with reading(folder):
                files = [folder / name for name in WHAT_A_RUN_LEAVES]
                if not all(file.exists() for file in files):
                    continue
                if odd := [file.name for file in files if not file.is_file()]:
                    raise ValueError(f"{', '.join(odd)} is no file")
            run = FolderRun(folder)
            if "weights" in run.metrics.get("model", {}):
                runs.append(run)
        except Unreadable as error:
            skip(error)
    return runs


def agreeing(runs: Iterable[Run], overrides: Sequence[Override], skip: Skip) -> list[Run]:
    """The runs whose settings are those of every override: applied to them, it changes nothing."""
    for override in overrides:
        override_values(override)  # raises what is a mistake of the user
    agreed = []
    for run in runs:
        try:
            with reading(run.place):
                if all(_agrees(run, override) for override in overrides):
                    agreed.append(run)
        except Unreadable as error:
            skip(error)
    return agreed


def _agrees(run: Run, override: Override) -> bool:
    key = override.get_key_element().lstrip("+")
    key = key.replace(TARGET, KIND)
    if run.archived and key in PATHS:
        return True  # an archive names weights and pairs by what they are
    if key == "seed":
        if not run.seeds:
            return True
    elif key.startswith("explainer.") and not _holds(run.config, key):
        # A setting of another explainer, or one that an earlier version did not have.
        lacks = missing_settings(run.explainer, run.model, run.explainer_settings)
        return key.removeprefix("explainer.") not in lacks
    return any(_unchanged(run.config, key, value) for value in override_values(override))


def _holds(config: DictConfig, key: str) -> bool:
    """Whether the settings know a key, if only with the value null."""
    above, _, last = key.rpartition(".")
    part = OmegaConf.select(config, above)
    return OmegaConf.is_dict(part) and last in part


def _unchanged(config: DictConfig, key: str, value: Any) -> bool:
    # A copy of the part that the key is of: whole settings take long to copy.
    part = key.split(".")[0]
    changed = OmegaConf.create({part: _plain(config, part)})
    # What it refers to, as in 'weights=minilm-${dataset.name}', may be of another part.
    given = _plain(OmegaConf.create({"value": value}, parent=config), "value")
    OmegaConf.update(changed, key, given, force_add=True)
    return bool(_plain(changed, key) == _plain(config, key))


def _plain(config: DictConfig, key: str) -> Any:
    found = OmegaConf.select(config, key)
    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found


def override_values(override: Override) -> list[Any]:
    """The values of an override: of a sweep all of them."""
    if override.is_sweep_override():
        return list(override.sweep_iterator())
    value = override.value()
    if value is not None and not isinstance(value, str | int | float | bool | list | dict):
        raise UserError(f"{override.input_line}: cannot be compared with the settings of runs")
    return [value]
