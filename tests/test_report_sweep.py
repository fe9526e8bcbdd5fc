"""A real Hydra multirun ends with a table of its runs, whatever became of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG, within

SCRIPT = """
import os
import re
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from gmask_pl.pipeline.report.result_files import write_metrics


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config):
    folder = Path(HydraConfig.get().runtime.output_dir)
    if config.explainer == "broken":
        raise ValueError("no such luck")
    if config.explainer == "killed":
        raise SystemExit("gone")
    write_metrics(folder, {"aopc": {"value": config.value, "n": 5}})
    (folder / "report.html").write_text("")


main()
"""

CONFIG = """
explainer: gmask
value: 0.25
hydra:
  sweep: {dir: runs, subdir: "${explainer}_${value}"}
  job_logging: {root: {level: ERROR}}
  callbacks:
    summary: {_target_: gmask_pl.pipeline.report.multirun_summary.SweepSummary}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
    (tmp_path / "main.py").write_text(SCRIPT)
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return within(str(project / "main.py"), project, *arguments)


def started(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=HANG,
        check=False,
    )


def table_rows(output: str) -> list[list[str]]:
    """The rows under the table's rule, up to the first empty line."""
    _, _, below = output.partition("─\n")
    return [line.split() for line in below.partition("\n\n")[0].splitlines()]


def assert_no_notes(project: Path) -> None:
    assert list((project / "runs").glob(".jobs-*")) == []


@pytest.mark.slow
def test_runs_side_by_side_with_their_pages(project: Path) -> None:
    done = run(project, "-m", "explainer=random,gmask", "value=0.5")
    assert done.returncode == 0, done.stderr
    assert [row[:3] for row in table_rows(done.stdout)] == [
        ["random", "5", "0.500"],
        ["gmask", "5", "0.500"],
    ]
    assert "gmask: runs/gmask_0.5/report.html" in done.stdout.splitlines()
    assert_no_notes(project)

    again = run(project, "-m", "explainer=gmask", "value=0.1,0.2")
    assert [row[:3] for row in table_rows(again.stdout)] == [
        ["value=0.1", "5", "0.100"],
        ["value=0.2", "5", "0.200"],
    ]


@pytest.mark.slow
def test_a_failed_run_is_named_and_its_old_results_are_not_shown(project: Path) -> None:
    old = project / "runs" / "broken_0.25"
    old.mkdir(parents=True)
    (old / "metrics.json").write_text('{"aopc": {"value": 0.9, "n": 5}}')
    done = started(project, "-m", "explainer=gmask,broken,random")
    assert done.returncode != 0
    assert [row[0] for row in table_rows(done.stdout)] == ["gmask", "random"]
    assert "1 of 3 runs failed:\nbroken: ValueError: no such luck\n" in done.stdout
    assert_no_notes(project)


@pytest.mark.slow
def test_a_run_that_ends_the_program_is_named(project: Path) -> None:
    done = started(project, "-m", "explainer=gmask,killed")
    assert [row[0] for row in table_rows(done.stdout)] == ["gmask"]
    assert "1 of 2 runs failed:\nkilled: did not finish\n" in done.stdout
    assert_no_notes(project)


@pytest.mark.slow
def test_jobs_in_other_processes_count_and_one_that_fails_stops_none(project: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = started(project, "-m", "explainer=gmask,broken,random", "hydra/launcher=joblib")
    assert done.returncode != 0
    assert [row[0] for row in table_rows(done.stdout)] == ["gmask", "random"]
    assert "1 of 3 runs failed:\nbroken: ValueError: no such luck\n" in done.stdout
    assert_no_notes(project)


@pytest.mark.slow
def test_an_experiment_ends_with_the_command_that_collects_it(project: Path) -> None:
    done = run(project, "-m", "explainer=gmask,random", "+collect={metric: aopc}", "+a=${value}")
    last = done.stdout.splitlines()[-1]
    assert last.startswith("to collect: python collect.py ")
    assert last.endswith("explainer=gmask,random '+collect={metric: aopc}' '+a=${value}'")
    plain = run(project, "-m", "explainer=gmask,random")
    assert "to collect" not in plain.stdout


@pytest.mark.slow
def test_a_single_run_has_no_summary(project: Path) -> None:
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


JOBS = """
    if config.explainer == "shot":
        os.kill(os.getpid(), 9)
    if config.explainer == "slow":
        notes, end = next(Path("runs").absolute().glob(".jobs-*")), time.monotonic() + 60
        while time.monotonic() < end:
            if any("it was killed" in note.read_text() for note in notes.glob("0.json")):
                break
            time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_job_that_is_killed_or_fails_stops_none_and_is_told_with_its_log(project: Path) -> None:
    """The others end before the command does: one of them when the death of another is noted."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    script = (project / "main.py").read_text()
    # The launcher waits for the file of a job that has ended, as if it could come late.
    start = "import os, time\nfrom submitit.core.core import Job\nJob._results_timeout_s = 1\n"
    script = script.replace("import os\n", start)
    script = script.replace("    write_metrics(", f"{JOBS}    write_metrics(")
    (project / "main.py").write_text(script)
    jobs = ("explainer=shot,broken,slow,gmask", "value=0.5")
    done = started(project, "-m", *jobs, "hydra/launcher=submitit_local")
    assert done.returncode != 0
    assert [row[0] for row in table_rows(done.stdout)] == ["slow", "gmask"], done.stdout
    assert "2 of 4 runs failed:\nshot: did not finish: it was killed" in done.stdout
    assert "\nbroken: ValueError: no such luck\n" in done.stdout
    (log,) = re.findall(r"\(its log: (.*)\)", done.stdout)
    assert Path(log).is_file()
    assert_no_notes(project)
