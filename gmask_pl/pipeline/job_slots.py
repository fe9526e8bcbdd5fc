"""Which jobs of a sweep run at the same time on one machine, and on which GPU each."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from gmask_pl.settings import Count, checked
from gmask_pl.types import UserError

# They start jobs beside one another on this machine; a cluster's scheduler deals them out itself.
SHARING = ("JoblibLauncher", "LocalLauncher")
VISIBLE = "CUDA_VISIBLE_DEVICES"


class Slots(Callback):
    """Gives every job of a parallel sweep a slot of its machine, and lets it wait for a free one.

    Every GPU is a slot, and the job sees no other. A machine without GPUs has ``jobs`` slots, or as
    many as jobs are started where that is None. A slot is a locked file in ``folder``, so it is
    free again however its process ends, and sweeps beside one another share the machine too. A
    process that runs several jobs stays on its first GPU, as CUDA wants it.
    """

    @checked
    def __init__(self, jobs: Count | None, folder: str | None = None) -> None:
        self.jobs = jobs
        self.folder = Path(folder or tempfile.gettempdir()) / f"gmask-slots-{os.getuid()}"
        self.gpus: Sequence[str] = ()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        # Here, as launchers hide GPUs from their jobs.
        if _shares(config):
            self.gpus = visible_gpus()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not _shares(config):
            return
        if self.gpus:
            gpu = _process.take(self.folder, [f"gpu-{gpu}" for gpu in self.gpus])
            os.environ[VISIBLE] = gpu.removeprefix("gpu-")
        elif self.jobs is not None:
            _process.take(self.folder, [f"job-{number}" for number in range(self.jobs)])

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        _process.release()


class Slot:
    """The slot that a process holds; ``name`` stays after its release."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.file: IO[str] | None = None

    def take(self, folder: Path, names: Sequence[str], pause: float = 0.2) -> str:
        """Waits for one of the slots, the one that it held before if there was one."""
        self.release()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid != os.getuid():
            raise UserError(
                f"{folder} belongs to somebody else, who could read and change what is written "
                "there: set hydra.callbacks.slots.folder to a folder of yours"
            )
        wanted = [name for name in names if name == self.name] or list(names)
        while True:
            for name in wanted:
                # At a place that others know: through a link it would be another file.
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
                file = os.fdopen(os.open(folder / f"{name}.lock", flags, 0o600), "w")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                    continue
                self.name, self.file = name, file
                return name
            time.sleep(pause)

    def release(self) -> None:
        """Leaves the slot to others."""
        if self.file is not None:
            self.file.close()
            self.file = None


_process = Slot()  # Hydra makes the callback anew for every job, in whichever process runs it


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA gives them."""
    if (named := os.environ.get(VISIBLE)) is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _shares(config: DictConfig) -> bool:
    launcher = str(config.hydra.launcher._target_).rpartition(".")[2]
    return config.hydra.mode == RunMode.MULTIRUN and launcher in SHARING
