"""A model's answers about masked pairs, kept on disk for other runs that ask the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from gmask_pl.types import UserError

Known = dict[bytes, np.ndarray]  # the logits (C,) of a mask, named by its bits


class BatchAnswers:
    """Answers about the pairs of a batch: those of earlier runs, and those of this one.

    keys: a name of each pair that says all that an answer depends on, the mask aside. Every pair
    has a file of its own, read when the pair is met, so memory does not grow with the test set.
    reused: how many answers were those of earlier runs.
    """

    def __init__(self, folder: Path | str, keys: Sequence[str]) -> None:
        self.files = [Path(folder) / key[:2] / f"{key}.safetensors" for key in keys]
        self.known = [_read(file) for file in self.files]
        self.earlier = [frozenset(known) for known in self.known]
        self.grown: set[int] = set()
        self.reused = 0

    def complete(
        self, rows: Tensor, masks: Tensor, ask: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Logits (N, C) of masks (N, W) bool of the pairs ``rows`` (N,); asks for unknown ones."""
        names = [_name(bits) for bits in np.packbits(masks.cpu().numpy(), axis=1)]
        asked = list(zip(rows.tolist(), names, strict=True))
        new = [i for i, (row, name) in enumerate(asked) if name not in self.known[row]]
        self.reused += sum(name in self.earlier[row] for row, name in asked)
        if new:
            index = torch.tensor(new, device=rows.device)
            answers = ask(rows[index], masks[index]).cpu().numpy()
            for i, logits in zip(new, answers, strict=True):
                row, name = asked[i]
                self.known[row][name] = logits
                self.grown.add(row)
        found = np.stack([self.known[row][name] for row, name in asked])
        return torch.from_numpy(found).to(masks.device)

    def keep(self) -> None:
        """Leaves the new answers to other runs; of two at a time, the last about a pair stands."""
        for row in sorted(self.grown):
            _write(self.files[row], _read(self.files[row]) | self.known[row])
        self.grown.clear()


def _name(bits: np.ndarray) -> bytes:
    """The bits of a mask, whatever the width of the batch that it was asked in."""
    return bits.tobytes().rstrip(b"\0")


def _read(file: Path) -> Known:
    try:
        stored = load_file(file)
        return dict(zip(map(_name, stored["masks"]), stored["logits"], strict=True))
    except FileNotFoundError:
        return {}
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(
            f"{file}: no answers can be read from there ({error}); delete the file, the model is "
            "then asked again"
        ) from error


def _write(file: Path, known: Known) -> None:
    width = max(map(len, known))
    masks = np.stack([np.frombuffer(name.ljust(width, b"\0"), np.uint8) for name in known])
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"masks": masks, "logits": np.stack(list(known.values()))}, draft)
    draft.replace(file)
