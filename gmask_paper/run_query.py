"""What is to be collected: an experiment, what it sweeps, and the runs that there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from gmask_paper.archive import archived_runs
from gmask_paper.run_finder import Run, Skip, agreeing, find_runs
from gmask_pl.command_names import command_line
from gmask_pl.identity.setting_roles import EXPLAIN, Told, place_of
from gmask_pl.pipeline.hydra_setup import choices
from gmask_pl.pipeline.run_settings import leave_out
from gmask_pl.types import Unreadable, UserError

SWEPT = ("model", "dataset", "explainer", "seed")
# What no experiment says, and runs about other pairs would not stand beside.
PLACES = (
    *("weights", "dataset.path", "dataset.text1", "dataset.text2", "dataset.label", "dataset.id"),
    *("limit", "limit_seed"),
)
OWN = ("+collecting=defaults",)  # the settings that explain.py does not have


@dataclass(frozen=True, slots=True)
class RunQuery:
    """An experiment as the command line asks for it.

    swept: the choices of model, dataset, explainer and seed. given: the other overrides of the
    command line. runs: the finished runs that agree with them. seen: by model and dataset the
    pairs that are left out, as runs with the limit ``beyond`` explain them. damaged: what is left
    out because it cannot be read.
    """

    name: str
    cfg: DictConfig
    swept: dict[str, tuple[str, ...]]
    given: tuple[str, ...]
    runs: tuple[Run, ...]
    seen: Mapping[tuple[str, str], frozenset[str]]
    damaged: tuple[Unreadable, ...]

    @property
    def left_out(self) -> list[str]:
        """A note of every run that is left out because it cannot be read."""
        return [f"left out, as damaged: {error}" for error in self.damaged]

    def stem(self, more: str = "") -> Path:
        """Of the files that are written: the name of the experiment, and ``more``."""
        return Path(self.cfg.output) / "paper" / self.name / f"{self.name}{more}"

    def command(
        self, entry: str, choices: Mapping[str, Sequence[str]], beside: Sequence[Run] = ()
    ) -> str:
        """The command that makes what is missing.

        beside: runs that it should stand by; of the same weights and data, where these are said.
        """
        chosen = [f"{key}={','.join(values)}" for key, values in choices.items()]
        parts = [f"experiment={self.name}", *chosen, *self.given]
        said = {part.lstrip("+").partition("=")[0] for part in parts}
        for key in PLACES:
            values = {OmegaConf.select(run.config, key) for run in beside}
            own = OmegaConf.select(self.cfg, key)
            if key not in said and len(values) == 1 and not values & {None, own}:
                parts.append(f"{key}={next(iter(values))}")
        metric = self.cfg.collect.get("metric")
        if metric and metric not in self.cfg.metric and "metric" not in said:
            parts.append(f"metric=[{metric}]")
        return command_line(entry, *parts)


def read_query(arguments: Sequence[str], damaged: dict[str, Unreadable]) -> RunQuery:
    """The query of Hydra overrides; Hydra must be initialised with ``conf``.

    damaged: by their places the runs that are left out; those that are found to be damaged are
    told and come to it.
    """

    def skip(error: Unreadable) -> None:
        if error.place not in damaged:
            damaged[error.place] = error
            leave_out(error)

    overrides = OverridesParser.create().parse_overrides(list(arguments))
    by_key = {override.get_key_element().lstrip("+"): override for override in overrides}
    if "experiment" not in by_key:
        known = ", ".join(choices("experiment"))
        raise UserError(f"name what to collect by experiment=...: one of {known}")
    asked = by_key["experiment"].input_line or ""
    experiment = compose("explain", [asked], return_hydra_config=True)
    name = str(by_key["experiment"].value())
    if experiment.get("collect") is None:
        raise UserError(f"experiment={name} has no collector: its file sets no collect")
    sweep = experiment.hydra.sweeper.params or {}
    params = {key: f"{key}={value}" for key, value in sweep.items()}
    swept = {key: _choices(by_key.get(key), params.get(key)) for key in SWEPT}
    # Settings such as dataset.path exist with some choices only: the first one stands for all.
    first = [f"{key}={swept[key][0]}" for key in SWEPT[:3] if swept[key]]
    plain = [
        override.input_line or ""
        for key, override in by_key.items()
        if key not in SWEPT[:3] and not override.is_sweep_override()
    ]
    cfg = compose("explain", [*OWN, *first, *plain], return_hydra_config=True)
    other = [o for key, o in by_key.items() if key not in ("experiment", *SWEPT[:3])]
    chosen = swept["model"], swept["dataset"]
    runs = [
        *find_runs(Path(cfg.output), *chosen, skip),
        *archived_runs(None if cfg.archive is None else Path(cfg.archive), *chosen, skip),
    ]
    runs = [run for run in runs if run.place not in damaged]
    agreed = agreeing(runs, [o for o in other if _of_results(o)], skip)
    return RunQuery(
        name=name,
        cfg=cfg,
        swept=swept,
        given=tuple(o.input_line or "" for o in other if not _of_collecting(o)),
        runs=tuple(runs_of_sweep(agreed, swept["explainer"], params, by_key, skip)),
        seen={} if cfg.beyond is None else seen_pairs(runs, agreed, cfg),
        damaged=tuple(damaged.values()),
    )


def seen_pairs(
    runs: Sequence[Run], agreed: Iterable[Run], cfg: DictConfig
) -> dict[tuple[str, str], frozenset[str]]:
    """The pairs of those ``runs`` that have the limit ``beyond``, by model and dataset.

    Raises UserError where there are ``agreed`` runs of a model and dataset but none of these.
    """
    asked = {key: cfg[key] for key in ("split", "limit_seed")} | {"limit": cfg.beyond}
    seen: dict[tuple[str, str], frozenset[str]] = {}
    for run in runs:
        if all(run.config.get(key) == value for key, value in asked.items()):
            cell = (run.model, run.dataset)
            seen[cell] = seen.get(cell, frozenset()).union(run.drawn)
    for model, dataset in {(run.model, run.dataset) for run in agreed} - seen.keys():
        raise UserError(
            f"beyond={cfg.beyond}: no run of {model} on {dataset} with limit={cfg.beyond} says "
            "which pairs these are"
        )
    return seen


def runs_of_sweep(
    runs: Sequence[Run],
    explainers: Sequence[str],
    params: Mapping[str, str],
    by_key: Mapping[str, Override],
    skip: Skip,
) -> list[Run]:
    """The runs of ``explainers`` whose settings are the default ones but for those that are swept.

    params: what is swept; by_key: the overrides of the command line, which come before them and may
    name further settings. All runs where the sweep has no settings of an explainer.
    """
    own = {key: value for key, value in params.items() if _of_explainer(key)}
    if not own:
        return list(runs)
    values = [text for key, text in own.items() if "@" not in key and key not in by_key]
    runs = agreeing(runs, OverridesParser.create().parse_overrides(values), skip)
    names = [
        key.rpartition("@")[2].removeprefix("explainer.")
        for key in (*own, *filter(_of_explainer, by_key))
    ]
    return [
        run
        for run in runs
        if run.explainer in explainers
        and all(
            any(key == n or key.startswith(f"{n}.") for n in names) for key in run.changed_settings
        )
    ]


def _of_explainer(key: str) -> bool:
    return key.startswith(("explainer.", "explainer@"))


def _choices(given: Override | None, param: str | None) -> tuple[str, ...]:
    """What is swept: as the command line has it, else the experiment; () for neither."""
    if given is None:
        if param is None:
            return ()
        given = OverridesParser.create().parse_overrides([param])[0]
    if given.is_sweep_override():
        return tuple(given.sweep_string_iterator())
    return (given.get_value_element_as_str(),)


def _of_collecting(override: Override) -> bool:
    return override.get_key_element().lstrip("+").split(".")[0] in ("collect", "archive", "beyond")


def _of_results(override: Override) -> bool:
    """Whether an override is a setting that decides the numbers of a run, and no choice of a part
    (such as metric=[...]), which the settings of a run do not name."""
    key = override.get_key_element().lstrip("+")
    part = override.is_delete() or "@" in key or bool(choices(key))
    return not part and place_of(key, EXPLAIN) is not Told.NOT
