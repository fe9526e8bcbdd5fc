"""L2X: learning to explain by the words that tell the model's answer (Chen et al., 2018)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from gmask_pl.explainers._l2x_network import L2XNetwork
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.training_context import TrainingContext
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.processes import training_loader
from gmask_pl.settings import Count, Positive, Seed, Share, checked
from gmask_pl.types import JSON, Attributions, PairBatch, PairExample

Row = tuple[PairExample, Tensor]


class L2X(Explainer):
    """Ranks words by a network that has learnt, from training pairs, to choose k of them.

    The network is learnt once for a model and dataset, from the model's own probabilities on the
    training pairs (`l2x_network`), and kept. It then explains a pair without asking the model.
    A word's score is the probability that one draw chooses it: the softmax of its logits.

    Both sides are one sequence of words, side one first; a word is what the model reads of it,
    the mean of its tokens' embeddings. The authors had one text and so nothing that tells sides
    apart; ``side_embedding`` adds it. They drew the noise once; here every step draws its own,
    as in their paper. Weights are those after the last epoch.

    train_pairs: how many training pairs to learn from, drawn by ``seed``; None for all.
    batch_size, epochs: of the training; lr, rho: of RMSprop; the others are L2XNetwork's. Defaults
    are those of their code (imdb-word).
    """

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        k: Count = 10,
        temperature: Positive = 0.5,
        embedding_size: Count = 50,
        filters: Count = 100,
        kernel_size: Count = 3,
        hidden_size: Count = 250,
        dropout: Share = 0.2,
        side_embedding: bool = False,
        lr: Positive = 1e-3,
        rho: Share = 0.9,
        batch_size: Count = 40,
        epochs: Count = 5,
        train_pairs: Count | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__(removal=removal)
        self.settings: dict[str, Any] = {
            "k": k,
            "temperature": temperature,
            "embedding_size": embedding_size,
            "filters": filters,
            "kernel_size": kernel_size,
            "hidden_size": hidden_size,
            "dropout": dropout,
            "side_embedding": side_embedding,
            "lr": lr,
            "rho": rho,
        }
        self.batch_size, self.epochs = batch_size, epochs
        self.train_pairs, self.seed = train_pairs, seed
        self.network: L2XNetwork | None = None

    def prepare(self, training: TrainingContext) -> JSON:
        pairs = training.pairs(self.train_pairs, self.seed)
        fitted_by = {"batch_size": self.batch_size, "epochs": self.epochs, "seed": self.seed}
        place = training.place("l2x", self.settings | fitted_by, pairs)
        kept = place.read()
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            network = L2XNetwork(
                vocabulary_size=training.encode.vocabulary_size,
                classes=len(training.labels),
                **self.settings,
            )
            state, facts = self._learn(network, training, pairs) if kept is None else kept
        if kept is None:
            rank_zero_only(place.write)(state, facts)
        network.load_state_dict(state)
        self.network = network.requires_grad_(False).eval()
        return facts | {"reused": kept is not None, "kept_in": str(place.folder)}

    def __call__(self, masked: MaskedModel) -> Attributions:
        if self.network is None:
            raise RuntimeError("L2X explains only after prepare(training)")
        selector = self.network.selector.to(masked.batch.device)
        with torch.no_grad():
            logits = selector(masked.batch).float()
        valid = masked.batch.word_valid
        logits = logits.masked_fill(~valid.any(1, keepdim=True), 0.0)  # no word of it is read
        return Attributions(logits.softmax(-1) * valid, (None,) * len(valid))

    def _learn(
        self, network: L2XNetwork, training: TrainingContext, pairs: Sequence[PairExample]
    ) -> tuple[dict[str, Tensor], JSON]:
        """Asks the model about every pair and fits the network to its answers.

        A pair of which the model reads no word has none to choose, and is left out.
        """
        start = time.perf_counter()
        answers = torch.zeros(len(pairs), len(training.labels))

        def see(first: int, masked: MaskedModel) -> None:
            readable = masked.batch.word_valid.any(1, keepdim=True)
            found = (masked.probabilities.float() * readable).cpu()
            answers[first : first + len(found)] = found

        evaluations = training.visit(pairs, self.removal, see, [answers])

        def collate(rows: Sequence[Row]) -> tuple[PairBatch, Tensor]:
            examples, targets = zip(*rows, strict=True)
            return training.encode(examples), torch.stack(targets)

        trainer = training.trainer(max_epochs=self.epochs)
        loader = training_loader(
            [row for row in zip(pairs, answers, strict=True) if bool(row[1].any())],
            self.batch_size,
            collate,
            seed=self.seed,
            trainer=trainer,
            workers=training.workers,
        )
        with torch.enable_grad():
            trainer.fit(network, loader)
        seconds = time.perf_counter() - start
        return network.state_dict(), {
            "pairs": len(pairs),
            "evaluations": evaluations,
            "seconds": seconds,
        }
