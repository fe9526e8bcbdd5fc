"""The end of a multirun: its runs side by side."""

from __future__ import annotations

import atexit
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from gmask_pl.command_names import command_line, typed_path
from gmask_pl.drawing.html import comparison_page
from gmask_pl.escaping import terminal, visible
from gmask_pl.files import remove_ours, write_text
from gmask_pl.identity.of_result import Identity
from gmask_pl.identity.setting_roles import digest_of
from gmask_pl.pipeline.report.console_table import format_table, stability
from gmask_pl.pipeline.report.result_files import METRICS_FILE, PAGE_FILE, read_metrics
from gmask_pl.pipeline.run_results import EXPLANATIONS
from gmask_pl.store import read_explanations, read_labels
from gmask_pl.types import JSON, Unreadable

UNFINISHED = "did not finish"
DONE = "done"
EXPLAINER = "explainer="
MOST = 100  # pairs on a page of several runs


class SweepSummary(Callback):
    """Prints, after a multirun, one table of its runs, where their pages are, and what failed.

    Every job notes its folder and its fate in a folder of this one multirun, so jobs in other
    processes or on other machines count, and results of earlier runs do not. Hydra ends a
    multirun with a failed job without calling ``on_multirun_end``: the summary then comes when
    the program exits.
    """

    def __init__(self) -> None:
        self.notes: Path | None = None
        self.next: str | None = None
        self.undo: Callable[[], None] | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if getattr(rank_zero_only, "rank", 0):  # a process that shares the work of each job
            return
        sweep = Path(config.hydra.sweep.dir).absolute()
        sweep.mkdir(parents=True, exist_ok=True)
        self.notes = Path(tempfile.mkdtemp(prefix=".jobs-", dir=sweep))
        self.next = collecting(config)
        if "submitit" in str(config.hydra.launcher._target_):
            self.undo = wait_for_every_job(self.notes)
        atexit.register(self.summarise)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._note(config, UNFINISHED)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        # The public return_value prints and raises the error of a failed job.
        error = job_return._return_value
        failed = job_return.status != JobStatus.COMPLETED
        said = isinstance(error, CompactHydraException)  # a message for the user, and no bug
        reason = f"{error}" if said else f"{type(error).__name__}: {error}"
        self._note(config, reason if failed else DONE)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self.summarise()

    def summarise(self) -> None:
        """Print the summary once and remove the notes."""
        atexit.unregister(self.summarise)
        if self.undo is not None:
            self.undo()
            self.undo = None
        if self.notes is not None:
            files = sorted(self.notes.glob("*.json"), key=lambda file: int(file.stem))
            jobs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
            remove_ours(self.notes, lambda name: name.endswith(".json"))
            self.notes = None
            told = "" if self.next is None else f"\nto collect: {self.next}\n"
            print(terminal(format_sweep(jobs) + told), end="", flush=True)

    def _note(self, config: DictConfig, fate: str) -> None:
        if self.notes is None:  # a single run
            return
        overrides, folder = config.hydra.overrides.task, config.hydra.runtime.output_dir
        write_note(self.notes, config.hydra.job.num, list(overrides), folder, fate)


def write_note(notes: Path, number: int, overrides: list[str], folder: str, fate: str) -> None:
    """Notes the fate of a job."""
    job = {"overrides": overrides, "folder": folder, "fate": fate}
    write_text(notes / f"{number}.json", json.dumps(job))


def wait_for_every_job(notes: Path) -> Callable[[], None]:
    """Makes the launchers of submitit wait for all jobs, and notes those that were killed.

    They raise the error of the first job that was, while others run. Returns what undoes it.
    """
    from submitit.core.core import Job
    from submitit.core.utils import FailedJobError, UncompletedJobError

    usual = Job.results

    def results(job: Any) -> list[Any]:
        try:
            return usual(job)
        except (FailedJobError, UncompletedJobError) as error:
            overrides, _, number, *_ = job.submission().args
            log = job.paths.stderr
            first = str(error).splitlines()[0] if isinstance(error, FailedJobError) else ""
            fate = f"{UNFINISHED}: {first or 'it was killed, or ran out of time'} (its log: {log})"
            file = notes / f"{number}.json"
            known = json.loads(file.read_text("utf-8")) if file.is_file() else {}
            write_note(notes, number, list(overrides), known.get("folder", ""), fate)
            gone = JobReturn(overrides=list(overrides), status=JobStatus.FAILED)
            gone.return_value = CompactHydraException(f"job {number} {fate}")
            return [gone]

    setattr(Job, "results", results)  # noqa: B010
    return lambda: setattr(Job, "results", usual)


def collecting(config: DictConfig) -> str | None:
    """The command that collects the result of an experiment; None where it has no collector."""
    if config.get("collect") is None:
        return None
    # As they were typed: ${dataset.name} is another one in each run.
    typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    return command_line("collect", *typed)


def format_sweep(jobs: list[JSON]) -> str:
    """The summary of jobs {overrides, folder, fate}; empty when there is nothing to tell."""
    names = _names([job["overrides"] for job in jobs])
    named = list(zip(names, jobs, strict=True))
    failed = [(name, job["fate"]) for name, job in named if job["fate"] != DONE]
    lines: list[str] = []
    scored: list[tuple[str, JSON, JSON]] = []
    for name, job in named:
        folder = Path(job["folder"])
        if job["fate"] != DONE or not (folder / METRICS_FILE).exists():
            continue
        try:
            scored.append((name, job, read_metrics(folder)))
        except Unreadable as error:
            failed.append((name, f"{error}"))
    if scored:
        lines += ["", format_table([(name, metrics) for name, _, metrics in scored]), ""]
        if compared := stability([(job["overrides"], metrics) for _, job, metrics in scored]):
            lines += [*compared, ""]
        pages = [(name, Path(job["folder"]) / PAGE_FILE) for name, job, _ in scored]
        lines += [f"{name}: {typed_path(page)}" for name, page in pages if page.is_file()]
        lines += [f"side by side: {typed_path(page)}" for page in comparisons(scored)]
    if failed:
        lines += ["", f"{len(failed)} of {len(jobs)} runs failed:"]
        lines += [f"{visible(name)}: {fate}" for name, fate in failed]
    return "\n".join(lines) + "\n" if lines else ""


def comparisons(scored: Sequence[tuple[str, JSON, JSON]]) -> Iterator[Path]:
    """Writes a page for the runs about the same pairs and model, which stand side by side there.

    scored: the name of each run, its job, and its metrics. A page lies in the folder that holds
    these runs, and is named by them, so that other multiruns leave it.
    """
    alike: dict[str, dict[str, Path]] = {}
    for name, job, metrics in scored:
        folder = Path(job["folder"])
        identity = Identity.read(folder)
        if identity is not None and (folder / EXPLANATIONS).is_file():
            about = [identity.pairs, identity.model, metrics.get("question")]
            alike.setdefault(digest_of(about, size=8), {})[name] = folder
    for runs in alike.values():
        if len(runs) < 2:
            continue
        files = [folder / EXPLANATIONS for folder in runs.values()]
        found = [list(islice(read_explanations(file), MOST)) for file in files]
        place = Path(os.path.commonpath([folder.parent for folder in runs.values()]))
        text = comparison_page(
            dict(zip(runs, found, strict=True)),
            title=f"{len(runs)} runs side by side",
            labels=read_labels(files[0]),
            max_pairs=MOST,
        )
        if text is not None:
            digest = digest_of(sorted(map(str, runs.values())), size=4)
            yield write_text(place / f"comparison-{digest}.html", text)


def _names(overrides: list[list[str]]) -> list[str]:
    """A name for each run: the overrides by which it differs from the others, or its explainer."""
    common = set.intersection(*map(set, overrides)) if overrides else set()
    names = []
    for index, parts in enumerate(overrides):
        own = [part for part in parts if part not in common]
        own = own or [part for part in parts if part.startswith(EXPLAINER)] or [f"run {index}"]
        names.append(" ".join(part.removeprefix(EXPLAINER) for part in own))
    return names
