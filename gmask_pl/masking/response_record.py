"""What a model was asked about the pairs of a batch, and its outputs."""

from __future__ import annotations

import numpy as np
from torch import Tensor

Known = dict[bytes, np.ndarray]  # the outputs (M,) about a mask, by its name


class ResponseRecord:
    """The masks that a model was asked about, of each of so many pairs, and its outputs.

    >>> import torch
    >>> from gmask_pl.masking.response_record import ResponseRecord
    >>> record = ResponseRecord(1)
    >>> record.add(torch.tensor([0]), torch.tensor([[True, False]]), torch.tensor([[0.5]]))
    >>> record.of(0, words=2)
    (array([[ True, False]]), array([[0.5]], dtype=float32))
    """

    def __init__(self, pairs: int) -> None:
        self._known: list[Known] = [{} for _ in range(pairs)]

    def add(self, rows: Tensor, masks: Tensor, outputs: Tensor) -> None:
        """rows (N,): pairs of the batch; masks (N, W) bool; outputs (N, M)."""
        numbers = outputs.cpu().numpy()
        for row, name, own in zip(rows.tolist(), mask_names(masks), numbers, strict=True):
            self._known[row].setdefault(name, own)

    def of(self, row: int, words: int) -> tuple[np.ndarray, np.ndarray]:
        """The distinct masks (n, words) bool of a pair, in the order they came, and the outputs."""
        known = self._known[row]
        packed = packed_masks(list(known), -(-words // 8))
        masks = np.unpackbits(packed, axis=1, count=words).astype(bool)
        return masks, np.stack(list(known.values()))


def mask_names(masks: Tensor) -> list[bytes]:
    """The bits of masks (N, W) bool, whatever the width of the batch that they are asked in."""
    return [bits.tobytes().rstrip(b"\0") for bits in np.packbits(masks.cpu().numpy(), axis=1)]


def packed_masks(names: list[bytes], width: int) -> np.ndarray:
    """The masks of such names, (n, width) uint8 of eight bits each."""
    return np.stack([np.frombuffer(name.ljust(width, b"\0"), np.uint8) for name in names])
