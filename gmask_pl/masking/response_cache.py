"""A model's answers about masked pairs, kept on disk for other runs that ask the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save_file
from torch import Tensor

from gmask_pl.files import warn_once, whole_file
from gmask_pl.masking.response_record import Known, mask_names, packed_masks
from gmask_pl.seals import UNSEALED, read_sealed, seal


class ResponseCache:
    """Answers about the pairs of a batch: those of earlier runs, and those of this one.

    keys: a name of each pair that says all that an answer depends on, the mask aside. Every pair
    has a file of its own, read when the pair is met, so memory does not grow with the test set.
    classes: how many numbers an answer has; files that hold something else, or other bytes than
    were written, are not believed.
    doubted: whether the first answer about each pair that is there is asked for anew, and the
    others are believed only where it is the same, as where a model may have changed unseen.
    reused: how many answers were those of earlier runs.

    What cannot be read is asked again, and what cannot be written is not kept; both are told once.
    """

    def __init__(
        self, folder: Path | str, keys: Sequence[str], *, classes: int, doubted: bool = False
    ) -> None:
        self.classes = classes
        self.files = [Path(folder) / key[:2] / f"{key}.safetensors" for key in keys]
        self.replaced: set[int] = set()  # what was there was of another model
        self.closed: set[Path] = set()  # somebody else's, which may not be read
        self.known = [self._read(file) for file in self.files]
        self.earlier = [frozenset(known) for known in self.known]
        self.doubted = {row for row, known in enumerate(self.known) if known and doubted}
        self.grown: set[int] = set()
        self.reused = 0

    def complete(
        self, rows: Tensor, masks: Tensor, ask: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Logits (N, C) of masks (N, W) bool of the pairs ``rows`` (N,); asks for unknown ones."""
        asked = list(zip(rows.tolist(), mask_names(masks), strict=True))
        for i, (row, name) in enumerate(asked) if self.doubted else ():
            if row in self.doubted and name in self.known[row]:
                self.doubted.remove(row)
                answer = ask(rows[[i]], masks[[i]]).cpu().numpy()[0]
                if not np.allclose(answer, self.known[row][name], rtol=1e-5, atol=1e-6):
                    self.known[row], self.earlier[row] = {name: answer}, frozenset()
                    self.replaced.add(row)
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
            file = self.files[row]
            try:
                if file not in self.closed:
                    earlier = {} if row in self.replaced else self._read(file)
                    _write(file, earlier | self.known[row])
            except OSError as error:
                warn_once("responses", f"answers are not kept for other runs: {error}")
                break
        self.grown.clear()

    def _read(self, file: Path) -> Known:
        try:
            stored = load(read_sealed(file))
            return _checked(stored["masks"], stored["logits"], self.classes)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            warn_once(
                f"answers {file}",
                f"{file}: no answers can be read from there ({error}): the model is asked again",
            )
            if isinstance(error, PermissionError):
                self.closed.add(file)
            return {}


def _checked(masks: np.ndarray, logits: np.ndarray, classes: int) -> Known:
    """Stored answers by their masks. Raises ValueError where no model of ``classes`` gave them."""
    if masks.dtype != np.uint8 or masks.ndim != 2:
        raise ValueError(f"masks are {masks.dtype} of shape {masks.shape}")
    if logits.dtype != np.float32 or logits.shape != (len(masks), classes):
        raise ValueError(
            f"answers are {logits.dtype} of shape {logits.shape}, which are not those about "
            f"{len(masks)} masks by {classes} classes"
        )
    if not np.isfinite(logits).all():
        raise ValueError("logits that are no finite numbers")
    return dict(zip((bits.tobytes().rstrip(b"\0") for bits in masks), logits, strict=True))


def _write(file: Path, known: Known) -> None:
    masks = packed_masks(list(known), max(map(len, known)))
    with whole_file(file, lasting=False) as draft:
        answers = {"masks": masks, "logits": np.stack(list(known.values()))}
        save_file(answers, draft, {"seal": UNSEALED})
        seal(draft)
