"""What an explainer may learn from before it explains: training pairs and the model's answers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gmask_pl.files import CannotWrite, damaged, warn_once, whole_folder
from gmask_pl.identity.of_pairs import texts_digest
from gmask_pl.identity.setting_roles import digest_of
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.processes import place_of, sum_over_processes
from gmask_pl.question import PREDICTED, Question
from gmask_pl.types import JSON, Classifier, PairBatch, PairEncoder, PairExample

WEIGHTS, SETTINGS, FACTS = "weights.safetensors", "settings.json", "facts.json"
Learnt = tuple[dict[str, Tensor], JSON]  # tensors, and facts for the report


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """The training pairs of a run, the model to explain, and a folder for what is learnt.

    train: the training split, read when it is called; it raises UserError where there is none.
    removal: the usual one of the model. trainer: a Trainer of the run, with further settings.
    batch_size: pairs of one forward pass; workers: processes that load data. identity: what
    decides the model's answers, for the name under which what is learnt is kept. question: what is
    asked about every pair.
    """

    classifier: Classifier
    encode: PairEncoder
    train: Callable[[], Sequence[PairExample]]
    labels: tuple[str, ...]
    removal: str
    trainer: Callable[..., Trainer]
    token_budget: TokenBudget | int
    batch_size: int
    workers: int
    folder: Path
    identity: JSON
    question: Question = PREDICTED

    def pairs(self, limit: int | None, seed: int) -> list[PairExample]:
        """``limit`` training pairs, or all, in an order drawn by ``seed``."""
        examples = self.train()
        count = len(examples) if limit is None else min(limit, len(examples))
        return random.Random(seed).sample(list(examples), count)

    def visit(
        self,
        pairs: Sequence[PairExample],
        removal: str | None,
        see: Callable[[int, MaskedModel], None],
        sums: Sequence[Tensor] | None = None,
    ) -> int:
        """Shows pairs, bound to the model, batch by batch to ``see``; returns the evaluations.

        removal: None is the model's usual one. see: also told the position of the batch's first
        pair. sums: what it adds to; every batch is then shown in one of the processes, and the sums
        are those of all. None: every process sees all pairs.
        """
        trainer = self.trainer(inference_mode=False)
        rank, processes = (0, 1) if sums is None else place_of(trainer)
        starts = range(0, len(pairs), self.batch_size)[rank::processes]
        own = [pair for start in starts for pair in pairs[start : start + self.batch_size]]
        how = removal or self.removal
        visit = _Visit(self, how, lambda number, masked: see(starts[number], masked))
        trainer.predict(visit, self.batches(own), return_predictions=False)
        if sums is not None:
            sum_over_processes(trainer, (*sums, visit.evaluations))
        return int(visit.evaluations)

    def batches(self, pairs: Sequence[PairExample]) -> DataLoader[PairBatch]:
        """The pairs as the model reads them, encoded one batch at a time."""
        return DataLoader(
            cast("Dataset[PairBatch]", pairs),
            batch_size=self.batch_size,
            collate_fn=self.encode,
            num_workers=self.workers,
        )

    def place(self, name: str, settings: JSON, pairs: Sequence[PairExample]) -> Place:
        """Where ``name`` keeps what it learns from these pairs by these settings."""
        found = {"settings": settings, "pairs": texts_digest(pairs), "model": self.identity}
        if self.question != PREDICTED:
            found["question"] = repr(self.question)
        key = json.dumps(found, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
        return Place(self.folder / name / digest_of(found, size=8), key)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for tensors that were learnt, and the settings (JSON) that they depend on."""

    folder: Path
    settings: str

    def learnt(self, learn: Callable[[], Learnt]) -> Learnt:
        """What is kept here, else what ``learn`` finds, which is kept from then on.

        The facts say whether it was there (``reused``) and where it is (``kept_in``).
        """
        kept = self.read()
        tensors, facts = learn() if kept is None else kept
        if kept is None:
            rank_zero_only(self.write)(tensors, facts)
        return tensors, facts | {"reused": kept is not None, "kept_in": str(self.folder)}

    def read(self) -> Learnt | None:
        """The tensors and facts kept here; None when there are none of just these settings."""
        if not self.folder.is_dir():
            return None
        try:
            if (self.folder / SETTINGS).read_text("utf-8") != self.settings:
                raise ValueError("it is of other settings")
            facts = json.loads((self.folder / FACTS).read_text("utf-8"))
            if not isinstance(facts, dict):
                raise ValueError(f"{FACTS} holds no facts")
            return load_file(self.folder / WEIGHTS), facts
        except (OSError, ValueError, SafetensorError) as error:
            damaged(self.folder, error)
            return None

    def write(self, tensors: dict[str, Tensor], facts: JSON) -> None:
        """Keeps them: the folder appears whole or not at all. Where it cannot be, it is told."""
        if self.folder.is_dir() and self.read() is not None:
            return  # a run beside this one was faster
        try:
            with whole_folder(self.folder, (WEIGHTS, FACTS, SETTINGS)) as draft:
                own = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
                save_file(own, draft / WEIGHTS)
                (draft / FACTS).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
                (draft / SETTINGS).write_text(self.settings, "utf-8")
        except CannotWrite as error:
            warn_once("learnt", f"what was learnt is not kept for other runs: {error}")


class _Visit(LightningModule):
    """Binds every batch to the model, on the Trainer's device."""

    def __init__(
        self, training: TrainingContext, removal: str, see: Callable[[int, MaskedModel], None]
    ) -> None:
        super().__init__()
        # There may be fewer batches than processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.classifier: Any = training.classifier
        self.removal, self.see, self.token_budget = removal, see, training.token_budget
        self.question = training.question
        self.evaluations = torch.zeros((), dtype=torch.int64)

    def predict_step(self, batch: PairBatch, batch_idx: int) -> None:
        masked = MaskedModel(
            self.classifier,
            batch,
            self.removal,
            question=self.question,
            token_budget=self.token_budget,
        )
        self.see(batch_idx, masked)
        self.evaluations += masked.evaluations.sum()
