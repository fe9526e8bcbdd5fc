"""Keeps the numbers of finished runs, without texts: ``python -m gmask_paper.archive FOLDER``.

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
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gmask_paper.run_finder import FolderRun, Run, Skip, find_runs
from gmask_pl.identity.setting_roles import BY_VALUE, EXPLAIN, Told, told_settings
from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.damaged_folders import reading
from gmask_pl.pipeline.failures import EXPLAINING
from gmask_pl.pipeline.report.result_files import check_results
from gmask_pl.pipeline.run_settings import leave_out, settings_of
from gmask_pl.processes import alone
from gmask_pl.seals import read_sealed
from gmask_pl.store import write_parquet
from gmask_pl.types import JSON, Unreadable, UserError

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
    """A run of which only the numbers are left: a ``row`` of a file, its ``number`` from 1.

    Raises Unreadable where the row is none.
    """

    archived = True

    def __init__(self, row: JSON, file: Path, number: int = 0) -> None:
        explainer = row["explainer"]
        self.place = f"{file} row {number} ({explainer})"
        with reading(self.place):
            self.scores = {}
            for part in row["scores"]:
                numbers = np.array(part["values"], dtype=np.float64).reshape(-1, part["width"])
                rows = dict(zip(part["ids"], numbers, strict=True))
                self.scores.setdefault(part["metric"], {})[part["removal"]] = rows
            spent = zip(row["seconds"], row["evaluations"], strict=True)
            self.costs = dict(zip(row["ids"], spent, strict=True))
            self.metrics = json.loads(row["results"])
            check_results(self.metrics)
            if "weights" not in self.metrics.get("model", {}):
                raise ValueError("there are no weights of its model")
            self.pairs = self.metrics.get("pairs", "")
            self.model_identity = self.metrics.get("model_identity", {})
            config = settings_of(json.loads(row["config"]))
        super().__init__(explainer, config, where=f"{file} ({explainer})", made=row["made"])


def archive(output: Path, folder: Path, skip: Skip = leave_out) -> list[Path]:
    """Adds the finished runs below ``output`` to the archive; the files that have changed.

    Runs of pairs that were typed (``pairs=``) are left out: those are examples. So are runs that
    are damaged, of which ``skip`` is told; rows of the archive that are stay as they are. Raises
    UserError, in the end, where a file of the archive is none.
    """
    changed, damaged = [], []
    with alone(folder / ".lock", processes=1):
        by_file: dict[Path, list[tuple[FolderRun, JSON]]] = {}
        for run in find_runs(output, skip=skip):
            if run.config.get("pairs") is not None:
                continue
            file = folder / f"{run.dataset}_{run.model}.parquet"
            try:
                by_file.setdefault(file, []).append((run, _to_row(run)))
            except Unreadable as error:
                skip(error)
        for file, rows in sorted(by_file.items()):
            try:
                kept = _rows_by_name(file, skip)
            except Unreadable as error:
                damaged.append(error)
                continue
            for run, row in rows:
                name = run_name(run)
                if name not in kept or kept[name]["made"] <= run.made:
                    kept[name] = row
            write_parquet(file, SCHEMA, (kept[name] for name in sorted(kept)))
            changed.append(file)
    if damaged:
        raise UserError("; ".join(map(str, damaged)))
    return changed


def _rows_by_name(file: Path, skip: Skip) -> dict[str, JSON]:
    """The rows of a file, if it is there, by the names of their runs; damaged ones as they are."""
    kept: dict[str, JSON] = {}
    for row in read_rows(file) if file.exists() else ():
        try:
            run = ArchivedRun(row, file)
            kept[run_name(run)] = _to_row(run)
        except Unreadable as error:
            skip(error)
            kept[repr(row)] = row
    return kept


def archived_runs(
    folder: Path | None,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    skip: Skip = leave_out,
) -> list[Run]:
    """The runs of an archive, of some models and datasets where any are named.

    ``skip`` is told of files and runs that are damaged. Raises UserError where there is no archive.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        found = "this is a file" if folder.exists() else "no such folder"
        raise UserError(f"archive={folder}: {found}; `python -m gmask_paper.archive` makes one")
    places = [f"{dataset}_{model}" for model in models or "*" for dataset in datasets or "*"]
    files = {file for place in places for file in folder.glob(f"{place}.parquet")}
    runs: list[Run] = []
    for file in sorted(files):
        try:
            runs += read_archive(file, skip)
        except Unreadable as error:
            skip(error)
    return runs


def read_archive(file: Path, skip: Skip = leave_out) -> list[Run]:
    """The runs of one file; ``skip`` is told of those that are damaged.

    Raises Unreadable where it is no file of an archive.
    """
    runs: list[Run] = []
    for number, row in enumerate(read_rows(file), start=1):
        try:
            runs.append(ArchivedRun(row, file, number))
        except Unreadable as error:
            skip(error)
    return runs


def read_rows(file: Path) -> list[JSON]:
    """The rows of one file, a run each. Raises Unreadable where it is no file of an archive."""
    with reading(file, ": not a file of archived runs, delete it"):
        if not file.is_file():
            raise ValueError("no file")
        table = pq.read_table(pa.BufferReader(read_sealed(file)))
        if table.schema.remove_metadata() != SCHEMA:
            raise ValueError(f"its columns are {', '.join(table.schema.names)}")
        rows: list[JSON] = table.to_pylist()
        return rows


def run_name(run: Run) -> str:
    """What two runs share that are the same run again: explainer, settings, model, pairs."""
    settings = told_settings(run.portable, EXPLAIN, {*BY_VALUE, Told.MODEL})
    model = run.model_identity or run.weights
    return json.dumps([run.explainer, settings, model, run.pairs, run.drawn], sort_keys=True)


def _to_row(run: Run) -> JSON:
    return {
        "explainer": run.explainer,
        "made": run.made,
        "config": json.dumps(run.portable, sort_keys=True),
        "results": json.dumps(_results(run), sort_keys=True),
        "ids": list(run.costs),
        "seconds": [seconds for seconds, _ in run.costs.values()],
        "evaluations": [evaluations for _, evaluations in run.costs.values()],
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
    told = {
        removal: {
            name: {"meaningful": True} | verdict(part[name])
            for name in run.scores
            if isinstance(part.get(name), dict)
        }
        for removal, part in run.metrics.get("by_removal", {None: run.metrics}).items()
    }
    return kept | told.get(None, {"by_removal": told})


def verdict(result: JSON) -> JSON:
    """What a metric says of itself: whether it can tell anything, and what the empty pair gives."""
    empty = result.get("empty", "")
    names = ("meaningful", "why", "empty", empty, f"{empty}_low", f"{empty}_high")
    return {name: result[name] for name in names if name in result}


@command("explain")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the archive")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="where the runs are")
    asked = parser.parse_args()
    if not asked.output.is_dir():
        raise UserError(f"--output={asked.output}: no such folder of runs")
    for file in archive(asked.output, asked.folder):
        print(f"{file}: {len(read_archive(file))} runs")


if __name__ == "__main__":
    main()
