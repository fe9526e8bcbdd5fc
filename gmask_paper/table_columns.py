"""Which runs can stand side by side: those of one model on the same pairs, asked the same way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gmask_paper.paper_numbers import title
from gmask_paper.run_finder import Run
from gmask_pl.identity.of_result import differing_keys
from gmask_pl.identity.setting_roles import EXPLAIN, Told, told_settings
from gmask_pl.metrics.paired_tests import Rows
from gmask_pl.types import JSON, UserError


@dataclass(frozen=True, slots=True)
class Entry:
    """An explainer with one choice of settings, and its runs, one for each seed.

    settings: where they differ from its YAML, as in ``samples=500``. without: the pairs that some
    explainer it is compared with has failed at, or that have been seen before.
    """

    explainer: str
    settings: str
    runs: tuple[Run, ...]
    without: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """The explainer's name with the settings that are not its usual ones."""
        name = title("explainers", self.explainer)
        return f"{name} ({self.settings})" if self.settings else name

    def rows(self, metric: str, removal: str | None) -> list[Rows]:
        """The numbers of the pairs that are compared, for every run."""
        return [
            {id: row for id, row in run.rows(metric)[removal].items() if id not in self.without}
            for run in self.runs
        ]

    @property
    def costs(self) -> list[list[tuple[float, int]]]:
        """Seconds and evaluations of the pairs that are compared, for every run."""
        return [[run.costs[id] for id in self.compared] for run in self.runs]

    @property
    def compared(self) -> list[str]:
        return [id for id in self.runs[0].drawn if id not in self.without]


@dataclass(frozen=True, slots=True)
class Column:
    """The entries of one model and dataset that can be compared, by explainer, and what was
    left out. removal: of the metric that the column is about; None without a metric."""

    model: str
    dataset: str
    removal: str | None
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]

    @property
    def where(self) -> str:
        """The model and the dataset, as the paper calls them."""
        return f"{title('models', self.model)}, {title('datasets', self.dataset)}"

    def of(self, explainer: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.explainer == explainer]

    @property
    def pairs(self) -> int:
        return len(self.entries[0].compared) if self.entries else 0

    @property
    def of_pairs(self) -> tuple[str, list[str]]:
        """What the pairs are that its entries are compared on."""
        first = self.entries[0]
        return first.runs[0].pairs, first.compared


def make_column(
    runs: Iterable[Run],
    model: str,
    dataset: str,
    *,
    metric: str | None,
    removal: str | None,
    seen: frozenset[str] = frozenset(),
) -> Column:
    """The column of a model and dataset, from whatever runs there are.

    Runs are compared that explain the same pairs, texts and all, of a model with the same weights
    that is asked in the same way, as their metric is, where one is given. Where there are several
    such sets of runs, the one with the most explainers stands, of these the one with the most
    pairs, of these the newest. Of two runs with the same settings and seed the newer stands. Pairs
    that one of them failed at are left out of all, as are those that were ``seen`` before.
    removal: None is the first one of each run. Raises UserError where no pair is left.
    """
    mine = [run for run in runs if (run.model, run.dataset) == (model, dataset)]
    if metric is not None:
        mine = [run for run in mine if _removals(run, metric, removal)]
    sets: dict[str, list[Run]] = {}
    for run in mine:
        shared = json.dumps(_of_setting(run, metric, removal), sort_keys=True)
        sets.setdefault(shared, []).append(run)
    sets = {f"{key}{model}": own for key in sets for model, own in _by_model(sets[key]).items()}
    if not sets:
        return Column(model, dataset, removal, (), ())
    chosen = max(sets.values(), key=_size)
    used = None if metric is None else _removals(chosen[0], metric, removal)[0]
    entries = tuple(
        entry
        for explainer in sorted({run.explainer for run in chosen})
        for entry in _entries(explainer, [run for run in chosen if run.explainer == explainer])
    )
    told = [(group, _of_setting(group[0], metric, removal)) for group in sets.values()]
    (own,) = (setting for group, setting in told if group is chosen)
    notes = [_left_out(group, setting, own) for group, setting in told if group is not chosen]
    failed = {entry.explainer: run.failed for entry in entries for run in entry.runs if run.failed}
    without = frozenset().union(*failed.values())
    if failed:
        notes.append(f"{len(without)} pairs are left out, at which {', '.join(failed)} failed")
    drawn = frozenset(chosen[0].drawn)
    if known := drawn & seen:
        without |= known
        notes.append(f"{len(known)} pairs are left out, which were seen before")
    if drawn <= without:
        raise UserError(f"{model}, {dataset}: of {len(drawn)} pairs none is left to compare")
    entries = tuple(replace(entry, without=without) for entry in entries)
    return Column(model, dataset, used, entries, tuple(notes))


def _removals(run: Run, metric: str, removal: str | None) -> list[str | None]:
    """The removals that a run's metric has rows for, the wanted one alone where one is named."""
    found = list(run.rows(metric))
    return found if removal is None else [name for name in found if name == removal]


def _of_setting(run: Run, metric: str | None, removal: str | None) -> JSON:
    """What two runs must share to be compared, in the words that a note says of them."""
    shared: JSON = {
        "weights": run.weights,
        "pairs": [run.pairs, run.drawn],
        **told_settings(run.portable, EXPLAIN, {Told.MODEL}),
        "unit": run.portable["unit"],
        **told_settings({"question": run.portable.get("question", {})}, EXPLAIN, {Told.VALUE}),
    }
    if metric is not None:
        asked = told_settings({"metric": run.portable["metric"]}, EXPLAIN, {Told.VALUE})
        shared["metric"] = asked["metric"][metric]
        shared["metric.removal"] = _removals(run, metric, removal)[0]
    return shared


def _by_model(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of the same weights and settings by what else their model is.

    A run of an earlier version has not kept it: it is of the same model as the others where these
    are of one.
    """
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(json.dumps(run.model_identity, sort_keys=True), []).append(run)
    return {"": list(runs)} if len(found.keys() - {"{}"}) < 2 else found


def _size(runs: Sequence[Run]) -> tuple[int, int, int]:
    explainers = {run.explainer for run in runs}
    return len(explainers), len(runs[0].drawn), max(run.made for run in runs)


def _left_out(runs: Sequence[Run], setting: JSON, chosen: JSON) -> str:
    """A note of runs that differ from the chosen ones in what must be shared."""
    names = ", ".join(sorted({run.explainer for run in runs}))
    differing = differing_keys(setting, chosen) or ["the model's configuration"]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    first = runs[0]
    return (
        f"left out, as not comparable: {len(runs)} run{'s' * (len(runs) != 1)} of "
        f"{len(first.drawn)} pairs ({names}), such as {first.where}: "
        f"what differs: {', '.join(differing[:3])}{more}"
    )


def _entries(explainer: str, runs: list[Run]) -> list[Entry]:
    variants: dict[str, dict[tuple[int, ...], Run]] = {}
    for run in sorted(runs, key=lambda run: run.made):
        shown = ", ".join(f"{key}={value}" for key, value in sorted(run.changed_settings.items()))
        variants.setdefault(shown, {})[run.seeds] = run
    return [
        Entry(explainer, shown, tuple(by_seed[seeds] for seeds in sorted(by_seed)))
        for shown, by_seed in sorted(variants.items())
    ]
