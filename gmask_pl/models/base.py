"""What every task model shares: training, accuracy, and weights on disk."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy
from transformers import get_linear_schedule_with_warmup

from gmask_pl.packing import keep_tokens
from gmask_pl.types import JSON, ModelInput, PairBatch, PairEncoder, UserError, WordCounts


class PairClassifier(LightningModule):
    """A classifier of sentence pairs (Section 4).

    A subclass implements `forward` (ModelInput -> logits (N, C)), `encoder`, `save` and
    `from_weights`, and sets ``pad_token_id``, ``mask_token_id`` and ``skips_hidden``.

    labels: the class names in index order. lr: the peak of the learning rate, reached after
    ``warmup`` (a share of all steps) and followed by a linear decay to zero when
    ``linear_decay``. weight_decay: AdamW's. word_dropout: the share of the training pairs of
    which a random part of the words, a part drawn anew from 0 to 1, is hidden. A model trained so
    answers masked pairs from what is left, and not by accident (Hase et al., 2021).
    """

    pad_token_id: int
    mask_token_id: int
    # The settings that decide its answers, part of its identity: set by whoever makes it of some.
    made_with: JSON | None = None

    @property
    @abstractmethod
    def skips_hidden(self) -> bool:
        """Whether hidden tokens may be left out (see `types.Classifier`)."""

    def __init__(
        self,
        *,
        labels: Sequence[str],
        lr: float,
        weight_decay: float,
        warmup: float,
        linear_decay: bool,
        word_dropout: float,
    ) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.lr, self.weight_decay = lr, weight_decay
        self.warmup, self.linear_decay = warmup, linear_decay
        if not 0 <= word_dropout <= 1:
            raise UserError(f"word_dropout={word_dropout}: a share of the pairs, from 0 to 1")
        self.word_dropout = word_dropout
        self.dev_accuracy = MulticlassAccuracy(len(self.labels), average="micro")
        self.test_accuracy = MulticlassAccuracy(len(self.labels), average="micro")

    @classmethod
    def from_data(cls, *, labels: Sequence[str], word_counts: WordCounts, **settings: Any) -> Self:
        """A fresh model for a dataset with these labels and training words."""
        return cls(labels=labels, **settings)

    @classmethod
    @abstractmethod
    def from_weights(
        cls,
        weights: str | Path,
        *,
        labels: Sequence[str],
        label_order: Sequence[str] | None,
        **settings: Any,
    ) -> Self:
        """The model stored at ``weights``, its logits in the order of ``labels``.

        ``label_order`` names the stored model's own outputs, where it does not say so itself.
        """

    @abstractmethod
    def forward(self, inputs: ModelInput) -> Tensor:
        """Logits (N, C)."""

    @abstractmethod
    def encoder(self, unit: str) -> PairEncoder:
        """The encoder whose W axis counts words or tokens (``unit``)."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes safetensors weights and all that `from_weights` needs."""

    def read(self, batch: PairBatch) -> Tensor:
        """Logits (B, C) of whole pairs."""
        positions = torch.arange(batch.token_ids.shape[1], device=batch.device)
        positions = positions.expand_as(batch.token_ids)
        return self(ModelInput(batch.token_ids, batch.attention, batch.segment, positions))

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        if self.word_dropout > 0:
            batch = drop_words(batch, self.word_dropout)
        loss = torch.nn.functional.cross_entropy(self.read(batch), batch.labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        logits = self.read(batch)
        self.dev_accuracy(logits, batch.labels)
        loss = torch.nn.functional.cross_entropy(logits, batch.labels)
        self.log("dev/loss", loss, batch_size=len(batch), sync_dist=True)
        self.log("dev/accuracy", self.dev_accuracy, prog_bar=True, batch_size=len(batch))

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        self.test_accuracy(self.read(batch), batch.labels)
        self.log("test/accuracy", self.test_accuracy, batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        decayed = [p for p in self.parameters() if p.requires_grad and p.dim() > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.dim() <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.lr,
        )
        if not self.linear_decay:
            return optimizer
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = get_linear_schedule_with_warmup(optimizer, int(self.warmup * total), total)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def drop_words(batch: PairBatch, share: float) -> PairBatch:
    """The batch with random words hidden in about ``share`` of its pairs."""
    b, width = batch.word_valid.shape
    keep = torch.rand(b, width, device=batch.device) < torch.rand(b, 1, device=batch.device)
    keep |= torch.rand(b, 1, device=batch.device) >= share
    return replace(batch, attention=keep_tokens(batch.word_of_token, batch.attention, keep))


def output_columns(
    labels: Sequence[str], stored: Sequence[str], label_order: Sequence[str] | None, source: str
) -> list[int]:
    """The stored model's output column of each dataset label.

    ``stored`` are the label names the model carries. Raises UserError when neither they nor
    ``label_order`` say which output is which label.
    """
    if len(stored) < 2:
        raise UserError(
            f"the model at {source} has {len(stored)} output: a classifier has one for each class, "
            "and a score, such as a re-ranker's, is not explained"
        )
    names = list(label_order) if label_order is not None else list(stored)
    if sorted(names) != sorted(labels):
        said = "label_order" if label_order is not None else f"the model at {source}"
        raise UserError(
            f"{said} names the outputs {names}, but the dataset's labels are {list(labels)}: set "
            f"label_order to the dataset's label of each of the model's {len(stored)} outputs"
        )
    if len(names) != len(stored):
        raise UserError(f"label_order has {len(names)} names, the model has {len(stored)} outputs")
    return [names.index(label) for label in labels]


def is_watched(network: nn.Module) -> bool:
    """Whether a hook on a part of a network may want to see every token in it.

    Not those that transformers leaves behind, which record what a caller has asked to see.
    """
    return any(
        not str(getattr(hook, "__module__", "")).startswith("transformers.")
        for part in network.modules()
        for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
    )
