"""Pairs as batches for a Lightning trainer."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from gmask_pl.processes import place_of, training_loader
from gmask_pl.types import PairBatch, PairEncoder, PairExample, PairSource, UserError


class PairDataModule(LightningDataModule):
    """Batches of a source: train, dev and test splits, and the pairs to be explained.

    encoder: makes a PairBatch of examples. batch_size: pairs a batch; explain_batch_size: the
    same for prediction, where every pair stands for many masked ones. explain_split: the split that
    is explained; limit: how many of its pairs (Section 5.1: 2,000, all of MRPC), or None for all;
    limit_seed draws them. workers: processes that load data.

    ``chosen``: the numbers of the batches to be explained that `predict_dataloader` gives, in that
    order; None for all. Batch i holds the same pairs whatever is chosen.

    Training batches are shuffled by the seed of the run (``seed_everything``). Several processes
    share every batch of training, so its size is that of all of them together, and each reads
    some of the dev and test pairs, none twice. Raises UserError for a pair without a label in the
    train or dev split, and for a batch size that the processes cannot share.
    """

    def __init__(
        self,
        *,
        source: PairSource,
        encoder: PairEncoder,
        batch_size: int,
        explain_batch_size: int = 1,
        explain_split: str = "test",
        limit: int | None = None,
        limit_seed: int = 0,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.source = source
        self.encoder = encoder
        self.batch_size = batch_size
        self.explain_batch_size = explain_batch_size
        self.explain_split = explain_split
        self.limit = limit
        self.limit_seed = limit_seed
        self.workers = workers
        self.chosen: Sequence[int] | None = None

    @property
    def explained(self) -> list[PairExample]:
        """The pairs to be explained, in the order of their split."""
        return draw(self.source.load(self.explain_split), self.limit, self.limit_seed)

    @property
    def batches(self) -> int:
        """The number of batches of the pairs to be explained."""
        return math.ceil(len(self.explained) / self.explain_batch_size)

    def batch_ids(self) -> Iterator[list[str]]:
        """The ids of the pairs of every batch to be explained."""
        ids, size = [pair.id for pair in self.explained], self.explain_batch_size
        return (ids[start : start + size] for start in range(0, len(ids), size))

    def train_dataloader(self) -> DataLoader[PairBatch]:
        return training_loader(
            self._labelled("train"),
            self.batch_size,
            self.encoder,
            # The run's seed itself, so that random numbers drawn before do not change the order.
            seed=torch.initial_seed(),
            trainer=self.trainer,
            workers=self.workers,
        )

    def val_dataloader(self) -> DataLoader[PairBatch]:
        return self._loader("dev", self._labelled("dev"))

    def test_dataloader(self) -> DataLoader[PairBatch]:
        return self._loader("test", self.source.load("test"))

    def predict_dataloader(self) -> DataLoader[PairBatch]:
        pairs, size = self.explained, self.explain_batch_size
        chosen = range(self.batches) if self.chosen is None else self.chosen
        batches = [pairs[number * size : (number + 1) * size] for number in chosen]
        # Lightning makes a batch sampler of its own for prediction: one batch is one item.
        return DataLoader(
            cast("Dataset[PairBatch]", batches),
            batch_size=1,
            collate_fn=self._encode_only,
            num_workers=self.workers,
        )

    def _encode_only(self, batches: Sequence[Sequence[PairExample]]) -> PairBatch:
        (batch,) = batches
        return self.encoder(batch)

    def _labelled(self, split: str) -> list[PairExample]:
        examples = self.source.load(split)
        for example in examples:
            if example.label is None:
                raise UserError(
                    f"pair {example.id!r} of the {split} split has no label; give it one of "
                    f"{', '.join(self.source.labels)}, or leave it out"
                )
        return examples

    def _loader(self, split: str, examples: list[PairExample]) -> DataLoader[PairBatch]:
        """Batches in order, of every pair in one of the processes."""
        rank, processes = place_of(self.trainer)
        if len(examples) < processes:
            raise UserError(
                f"the {split} split has {len(examples)} pairs for {processes} processes: set "
                "trainer.devices and trainer.num_nodes to fewer"
            )
        return DataLoader(
            cast("Dataset[PairBatch]", examples[rank::processes]),
            batch_size=self.batch_size,
            collate_fn=self.encoder,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )


def draw(examples: Sequence[PairExample], limit: int | None, seed: int) -> list[PairExample]:
    """``limit`` of the examples, drawn by ``seed`` alone without replacement, in their order.

    All of them for None or a limit that is not below their number. Raises UserError for a limit
    below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit={limit}: explain at least 1 pair, or all with limit=null")
    if limit is None or limit >= len(examples):
        return list(examples)
    chosen = random.Random(seed).sample(range(len(examples)), limit)
    return [examples[i] for i in sorted(chosen)]


def word_counts(examples: Iterable[PairExample]) -> Counter[str]:
    """How often each word occurs on either side of the examples (Appendix B)."""
    return Counter(word for example in examples for word in example.words1 + example.words2)
