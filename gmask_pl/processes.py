"""How the processes of one run share its work."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from gmask_pl.escaping import terminal
from gmask_pl.files import warn_once
from gmask_pl.types import UserError

# Precisions of Lightning that everything is in.
WHOLE_PRECISIONS = ("bf16-true", "16-true", "64-true", "64")
_log = logging.getLogger(__name__)


@rank_zero_only
def say(message: str) -> None:
    """Logs a message, which may name anything, in one of the processes."""
    _log.info(terminal(message))


def new_trainer(make: Callable[..., Trainer] = Trainer, **settings: Any) -> Trainer:
    """A Trainer whose loaders share the pairs; ``make`` makes it of the settings.

    Raises UserError where the machine does not have what it asks for, and for a precision that all
    numbers would be held in, those of an explanation as well.
    """
    if (precision := str(settings.get("precision"))) in WHOLE_PRECISIONS:
        raise UserError(
            f"trainer.precision={precision} would hold all there is in it, explanations and their "
            "scores as well: choose bf16-mixed or 16-mixed, in which only the network computes, or "
            "32-true"
        )
    try:
        return make(enable_checkpointing=False, use_distributed_sampler=False, **settings)
    except Exception as error:  # whatever Lightning, or who makes it, leads to
        raise UserError(f"trainer: {error.__cause__ or error}") from error


def trainer_on(device: str | None) -> dict[str, Any]:
    """Settings of a Trainer on a device, such as cpu or cuda:1. Raises UserError for another."""
    if device is None:
        return {}
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device={device}: give a device such as cpu or cuda:0") from error
    kind = {"cuda": "gpu"}.get(place.type, place.type)
    return {"accelerator": kind, "devices": 1 if place.index is None else [place.index]}


def place_of(trainer: Trainer | None) -> tuple[int, int]:
    """The rank of this process, and how many there are."""
    return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)


def meet(trainer: Trainer) -> None:
    """All processes of the trainer wait for one another; it starts them where Lightning does."""
    if trainer.world_size > 1:
        loader = DataLoader(cast("Dataset[int]", [0]))
        trainer.predict(_Meeting(), loader, return_predictions=False)


@contextmanager
def alone(lock: Path, *, processes: int | str) -> Iterator[None]:
    """Lets one of several runs of a machine do something at a time; the others wait for it.

    lock: a file that stays. A run that ends in whatever way lets the next one in. Not where a run
    has several ``processes``, which do it together, nor where the lock is not to be had: somebody
    else's, or a file system without any. That is told; equal runs at a time then do the same work
    twice, and one that another overtakes may end in a message; the same command goes on.
    """
    if processes != 1:
        yield
        return
    with ExitStack() as stack:
        try:
            handle = _opened(lock)
            stack.callback(os.close, handle)
            _wait(handle, lock.parent)
        except OSError as error:
            told = f"no lock is to be had there ({error}): do not start an equal run meanwhile"
            warn_once(str(lock), f"{lock}: {told}")
        yield


def _opened(lock: Path) -> int:
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # reading is enough for a lock on most file systems
        return os.open(lock, os.O_RDONLY)


def _wait(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"another run is at work there, this one waits for it: {folder}")
        fcntl.flock(handle, fcntl.LOCK_EX)


class _Meeting(LightningModule):
    def predict_step(self, batch: Tensor, batch_idx: int) -> None:
        """Nothing: that all have come is enough."""


def sum_over_processes(trainer: Trainer, tensors: Iterable[Tensor]) -> None:
    """Replaces tensors by their sums over all processes."""
    for tensor in tensors:
        own = tensor.to(trainer.strategy.root_device)
        tensor.copy_(trainer.strategy.reduce(own, reduce_op="sum"))


def check_share(batch_size: int, processes: int) -> None:
    """Raises UserError for a batch that is not to be shared evenly."""
    if batch_size % processes:
        raise UserError(
            f"a batch of {batch_size} pairs cannot be shared by {processes} processes: choose a "
            f"batch size that {processes} divides, or other trainer.devices and trainer.num_nodes"
        )


def training_loader(
    items: Sequence[Any],
    batch_size: int,
    collate: Callable[[Any], Any],
    *,
    seed: int,
    trainer: Trainer | None,
    workers: int,
) -> DataLoader[Any]:
    """Batches shuffled by ``seed``, of each of which every process has its share.

    batch_size: of all processes together. Raises UserError when they cannot share it.
    """
    rank, processes = place_of(trainer)
    check_share(batch_size, processes)
    dataset = cast("Dataset[Any]", items)
    shared = processes > 1
    return DataLoader(
        dataset,
        batch_size=batch_size // processes,
        shuffle=not shared,
        sampler=DistributedSampler(dataset, processes, rank, seed=seed) if shared else None,
        generator=torch.Generator().manual_seed(seed),
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
