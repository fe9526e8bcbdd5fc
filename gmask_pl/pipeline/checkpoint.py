"""The state of a training on disk: tensors and JSON, no pickle, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gmask_pl.files import whole_file

STRUCTURE = "structure"


class SafeCheckpoints(CheckpointIO):
    """Lightning's checkpoints as safetensors files; what is no tensor is JSON in their metadata.

    Reading a pickle runs whatever it says, so neither is one written nor read. The file appears
    whole or not at all. Raises TypeError for what is neither a tensor nor plain data.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        tensors: dict[str, Tensor] = {}
        structure = json.dumps(_packed(checkpoint, tensors))
        with whole_file(path) as draft:
            save_file(tensors, draft, metadata={STRUCTURE: structure})

    def load_checkpoint(
        self,
        path: Any,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        with safe_open(path, "pt") as file:
            structure = json.loads(file.metadata()[STRUCTURE])
        found: dict[str, Any] = _unpacked(structure, load_file(path))
        return found

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Plain data as JSON that keeps the kinds of keys and sequences; tensors by their number."""
    if isinstance(value, Tensor):
        tensors[str(len(tensors))] = value.detach().cpu().contiguous().clone()
        return {"tensor": len(tensors) - 1}
    if isinstance(value, dict):
        return {"dict": [[_packed(k, tensors), _packed(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_packed(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds a {type(value).__name__}: neither a tensor nor plain data")


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "tensor":
        return tensors[str(held)]
    if kind == "dict":
        return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in held}
    items = [_unpacked(item, tensors) for item in held]
    return items if kind == "list" else tuple(items)


class LastState(Callback):
    """Keeps the state of a training after every epoch, random numbers included.

    A training that goes on from it (``Trainer.fit(ckpt_path=file)``) ends with the weights of
    one that was never interrupted, where one process trains.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.restored: dict[str, Any] | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.file, weights_only=False)  # said, so that Lightning is quiet

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["random"] = {
            "processor": torch.get_rng_state(),
            "gpu": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            "order": _generator(trainer).get_state(),
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.restored = checkpoint["random"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # What has stopped a training is no part of its state.
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
                trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.restored is None:
            return
        order = _generator(trainer)
        order.set_state(self.restored["order"])
        # The loader's iterator is there already; making it draws one number.
        torch.empty((), dtype=torch.int64).random_(generator=order)
        torch.set_rng_state(self.restored["processor"])
        if self.restored["gpu"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.restored["gpu"])
        self.restored = None


def _generator(trainer: Trainer) -> torch.Generator:
    found: torch.Generator = trainer.train_dataloader.generator  # type: ignore[union-attr]
    return found
