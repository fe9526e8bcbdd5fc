"""Jobs of a sweep beside one another: never two in a slot, and slots that come free again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gmask_pl.pipeline import job_slots as slots
from gmask_pl.pipeline.job_slots import VISIBLE, Slot, Slots, visible_gpus
from gmask_pl.types import UserError

TWO = ("gpu-0", "gpu-1")


def config(launcher: str, mode: RunMode = RunMode.MULTIRUN) -> DictConfig:
    return OmegaConf.create({"hydra": {"mode": mode, "launcher": {"_target_": f"a.b.{launcher}"}}})


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Slot:
    """A process that has run no job yet."""
    monkeypatch.setattr(slots, "_process", fresh := Slot())
    return fresh


def test_a_job_waits_until_a_slot_is_free(tmp_path: Path) -> None:
    first, second, third = Slot(), Slot(), Slot()
    assert [slot.take(tmp_path, TWO) for slot in (first, second)] == list(TWO)
    got = threading.Event()

    def wait() -> None:
        third.take(tmp_path, TWO, pause=0.01)
        got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.wait(0.3)
    second.release()
    assert got.wait(10)
    thread.join()
    assert third.name == "gpu-1"
    third.release()
    first.release()


def test_a_process_stays_on_its_gpu(tmp_path: Path) -> None:
    first, second = Slot(), Slot()
    first.take(tmp_path, TWO)
    second.take(tmp_path, TWO)
    first.release()
    second.release()
    assert second.take(tmp_path, TWO) == "gpu-1"
    second.release()


def test_a_process_that_is_killed_leaves_its_slot(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gmask_pl.pipeline.job_slots import Slot\n"
        "print(Slot.take(own := Slot(), Path(sys.argv[1]), ['gpu-0']), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "gpu-0\n"
        mine = Slot()
        assert mine.take(tmp_path, TWO) == "gpu-1"
        mine.release()
        other.kill()
        other.wait()
    last = Slot()
    assert last.take(tmp_path, TWO) == "gpu-0"
    last.release()


def test_a_job_sees_its_own_gpu_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: Slot
) -> None:
    monkeypatch.setenv(VISIBLE, "4, 7")
    callback = Slots(jobs=1, folder=str(tmp_path))
    callback.on_multirun_start(config("LocalLauncher"))
    monkeypatch.setenv(VISIBLE, "")  # as submitit does
    taken = Slot()
    taken.take(callback.folder, ["gpu-4"])
    callback.on_job_start(config("LocalLauncher"))
    assert os.environ[VISIBLE] == "7"
    callback.on_job_end(config("LocalLauncher"), JobReturn())
    assert process.file is None
    taken.release()


@pytest.mark.parametrize(
    ("launcher", "mode", "jobs"),
    [
        ("BasicLauncher", RunMode.MULTIRUN, 2),
        ("SlurmLauncher", RunMode.MULTIRUN, 2),
        ("JoblibLauncher", RunMode.RUN, 2),
        ("JoblibLauncher", RunMode.MULTIRUN, None),
    ],
)
def test_who_shares_nothing_takes_nothing(
    tmp_path: Path, process: Slot, launcher: str, mode: RunMode, jobs: int | None
) -> None:
    callback = Slots(jobs=jobs, folder=str(tmp_path))
    callback.on_job_start(config(launcher, mode))
    assert process.file is None
    callback.on_job_end(config(launcher, mode), JobReturn())


def test_jobs_without_gpus_are_so_many_at_a_time(tmp_path: Path, process: Slot) -> None:
    callback = Slots(jobs=2, folder=str(tmp_path))
    other = Slot()
    other.take(callback.folder, ["job-0", "job-1"])
    callback.on_job_start(config("JoblibLauncher"))
    assert (other.name, process.name) == ("job-0", "job-1")
    process.release()
    other.release()
    with pytest.raises(UserError, match="jobs=0"):
        Slots(jobs=0)


def test_gpus_are_those_that_the_environment_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "GPU-aa, 3")
    assert visible_gpus() == ["GPU-aa", "3"]
    monkeypatch.setenv(VISIBLE, "")
    assert visible_gpus() == []


def test_no_other_file_is_touched_through_a_link(tmp_path: Path) -> None:
    """The folder is at a place that others know."""
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "slots").mkdir()
    (tmp_path / "slots" / "gpu-0.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        Slot().take(tmp_path / "slots", TWO)
    assert (tmp_path / "mine").read_text() == "kept"


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(UserError, match="belongs to somebody else"):
        Slot().take(tmp_path, TWO)
