"""Keeps the numbers of finished runs, without texts: ``python -m gmask_pl.engine.archive FOLDER``.

A run's folder holds the words of its pairs and is large; what tables are made of is the numbers of
every pair. They go to FOLDER, a Parquet file for each model and dataset, small enough to be
published. Whoever has them tests another explainer against these, pair by pair, without making
them again, and a sweep can be made in parts, on machines that do not last. FOLDER keeps what it
holds already; of two runs with the same settings, weights and pairs the newer stands. The collector
reads it by ``archive=FOLDER``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf

from gmask_pl.engine.failures import EXPLAINING
from gmask_pl.engine.runs import Costs, Run, Scores, find_runs, literal
from gmask_pl.identity.parts import described
from gmask_pl.identity.placing import BY_VALUE, EXPLAIN, Told, told_settings
from gmask_pl.processes import alone
from gmask_pl.store import write_parquet
from gmask_pl.text import terminal
from gmask_pl.types import JSON, UserError

_SCORES = pa.struct(
    [
        pa.field("metric", pa.string(), nullable=False),
        pa.field("removal", pa.string()),
        pa.field("ids", pa.list_(pa.string()), nullable=False),
        pa.field("width", pa.int64(), nullable=False),
        pa.field("values", pa.list_(pa.float32()), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("explainer", pa.string(), nullable=False),
        pa.field("made", pa.int64(), nullable=False),
        pa.field("config", pa.string(), nullable=False),
        pa.field("results", pa.string(), nullable=False),
        pa.field("ids", pa.list_(pa.string()), nullable=False),
        pa.field("seconds", pa.list_(pa.float64()), nullable=False),
        pa.field("evaluations", pa.list_(pa.int64()), nullable=False),
        pa.field("scores", pa.list_(_SCORES), nullable=False),
    ]
)


class ArchivedRun(Run):
    """A run of which only the numbers are left."""

    archived = True

    def __init__(
        self,
        explainer: str,
        config: DictConfig,
        *,
        where: str,
        made: int,
        metrics: JSON,
        pairs: str,
        costs: Costs,
        scores: Scores,
    ) -> None:
        super().__init__(explainer, config, where=where, made=made)
        self.metrics, self.pairs, self.costs, self.scores = metrics, pairs, costs, scores
        self.model_identity = metrics.get("model_identity", {})


def archive(output: Path, folder: Path) -> list[Path]:
    """Adds the finished runs below ``output`` to the archive; the files that have changed.

    Runs of pairs that were typed (``pairs=``) are left out: those are examples.
    """
    with alone(folder / ".lock", processes=1):
        return _archive(output, folder)


def _archive(output: Path, folder: Path) -> list[Path]:
    found = find_runs(output)
    by_file: dict[Path, list[Run]] = {}
    for run in found:
        if run.config.get("pairs") is None:
            by_file.setdefault(folder / f"{run.dataset}_{run.model}.parquet", []).append(run)
    for file, new in by_file.items():
        runs: list[Run] = [*(read_archive(file) if file.is_file() else ()), *new]
        kept = {run_name(run): run for run in sorted(runs, key=lambda run: run.made)}
        write_parquet(file, SCHEMA, (_to_row(kept[name]) for name in sorted(kept)))
    return sorted(by_file)


def archived_runs(
    folder: Path | None, models: Sequence[str] = (), datasets: Sequence[str] = ()
) -> list[Run]:
    """The runs of an archive, of some models and datasets where any are named.

    Raises UserError where a file of it is none.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        raise UserError(
            f"archive={folder}: no such folder; `python -m gmask_pl.engine.archive` makes one"
        )
    places = [f"{dataset}_{model}" for model in models or "*" for dataset in datasets or "*"]
    files = {file for place in places for file in folder.glob(f"{place}.parquet")}
    return [run for file in sorted(files) for run in read_archive(file)]


def read_archive(file: Path) -> list[Run]:
    """The runs of one file. Raises UserError where it is no file of an archive, or damaged."""
    try:
        table = pq.read_table(file)
        if table.schema.remove_metadata() != SCHEMA:
            raise ValueError(f"its columns are {', '.join(table.schema.names)}")
        return [_from_row(row, file) for row in table.to_pylist()]
    except (OSError, pa.ArrowInvalid, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: not a file of archived runs ({reason}): delete it") from error


def run_name(run: Run) -> str:
    """What two runs share that are the same run again: explainer, settings, model, pairs."""
    settings = told_settings(run.portable, EXPLAIN, {*BY_VALUE, Told.MODEL})
    model = run.model_identity or run.weights
    return json.dumps([run.explainer, settings, model, run.pairs, run.drawn], sort_keys=True)


def _to_row(run: Run) -> JSON:
    ids = list(run.costs)
    return {
        "explainer": run.explainer,
        "made": run.made,
        "config": json.dumps(run.portable, sort_keys=True),
        "results": json.dumps(_results(run), sort_keys=True),
        "ids": ids,
        "seconds": [run.costs[id][0] for id in ids],
        "evaluations": [run.costs[id][1] for id in ids],
        "scores": [
            {
                "metric": metric,
                "removal": removal,
                "ids": list(rows),
                "width": len(next(iter(rows.values()))),
                "values": np.concatenate([np.asarray(row) for row in rows.values()]),
            }
            for metric, by_removal in run.scores.items()
            for removal, rows in by_removal.items()
        ],
    }


def _results(run: Run) -> JSON:
    """Of metrics.json what cannot be told from the numbers of the pairs."""
    kept: JSON = {"model": run.metrics["model"], "pairs": run.pairs}
    if run.model_identity:
        kept["model_identity"] = run.model_identity
    if run.failed:
        kept["failed"] = {EXPLAINING: dict.fromkeys(sorted(run.failed), "")}
    by_removal = run.metrics.get("by_removal")
    parts = {None: run.metrics} if by_removal is None else by_removal
    told = {
        removal: {
            name: {"meaningful": part[name].get("meaningful", True)}
            for name in run.scores
            if isinstance(part.get(name), dict)
        }
        for removal, part in parts.items()
    }
    return kept | (told[None] if by_removal is None else {"by_removal": told})


def _from_row(row: JSON, file: Path) -> Run:
    scores: Scores = {}
    for part in row["scores"]:
        numbers = np.array(part["values"], dtype=np.float64).reshape(-1, part["width"])
        rows = dict(zip(part["ids"], numbers, strict=True))
        scores.setdefault(part["metric"], {})[part["removal"]] = rows
    costs: Costs = dict(
        zip(row["ids"], zip(row["seconds"], row["evaluations"], strict=True), strict=True)
    )
    results = json.loads(row["results"])
    return ArchivedRun(
        row["explainer"],
        OmegaConf.create(described(literal(json.loads(row["config"])))),
        where=f"{file} ({row['explainer']})",
        made=row["made"],
        metrics=results,
        pairs=results.get("pairs", ""),
        costs=costs,
        scores=scores,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the archive")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="where the runs are")
    asked = parser.parse_args(arguments)
    try:
        files: Iterable[Path] = archive(asked.output, asked.folder)
    except UserError as error:
        print(f"error: {terminal(str(error))}", file=sys.stderr)
        sys.exit(2)
    for file in files:
        print(f"{file}: {len(read_archive(file))} runs")


if __name__ == "__main__":
    main()
