"""L2X: learns to choose the words that predict the model's answer (Chen et al., 2018).

With two networks, as its authors' code for words (imdb-word) has them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.training_context import Learnt, TrainingContext
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.processes import training_loader
from gmask_pl.settings import Count, Positive, Seed, Share, checked
from gmask_pl.types import JSON, Attributions, PairBatch, PairExample

Row = tuple[PairExample, Tensor]


class L2X(Explainer):
    """Ranks words by a network that has learnt, from training pairs, to choose k of them.

    The network is learnt once for a model and dataset, from the model's own probabilities on the
    training pairs (`L2XNetwork`), and kept. It then explains a pair without asking the model.
    A word's score is the probability that one draw chooses it: the softmax of its logits.

    Both sides form one sequence of words, side one first. A word is the mean of the embeddings of
    its tokens that the model reads. The authors had one text, so they needed nothing to tell sides
    apart; ``side_embedding`` adds it. Their code drew the noise once; here every step draws its
    own, as in their paper. Weights are those after the last epoch.

    - removal: has no effect, since this method removes nothing.
    - k, temperature, embedding_size, filters, kernel_size, hidden_size, dropout, side_embedding: of
      `L2XNetwork`.
    - lr, rho: of RMSprop. batch_size, epochs: of the training.
    - train_pairs: how many training pairs to learn from, drawn by ``seed``; None: all.
    - seed: of the training, too.

    Defaults are those of their code (imdb-word).

    >>> from gmask_pl import L2X, PairExplainer, TinyBert
    >>> model = TinyBert.from_data(  # or any network: PairExplainer(network, tokenizer)
    ...     labels=["no", "yes"], word_counts={"two": 9, "dogs": 9, "run": 9, "sleep": 9}
    ... )
    >>> pairs = [("two dogs run", "dogs sleep"), ("dogs run", "two dogs sleep")]
    >>> explain = PairExplainer(model, method=L2X(k=2, epochs=1), training_pairs=pairs)
    >>> found = explain("two dogs run", "dogs sleep")
    >>> found.evaluations, round(sum(found.scores), 3)  # the prediction alone
    (1, 1.0)
    """

    score_meaning = "probability from 0 to 1 that the word is chosen; never negative"

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
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            network = L2XNetwork(
                vocabulary_size=training.encode.vocabulary_size,
                classes=training.question.options(len(training.labels)),
                **self.settings,
            )
            state, facts = place.learnt(lambda: self._learn(network, training, pairs))
        network.load_state_dict(state)
        self.network = network.requires_grad_(False).eval()
        return facts

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
    ) -> Learnt:
        """Asks the model about every pair and fits the network to its answers.

        A pair of which the model reads no word has none to choose, and is left out.
        """
        start = time.perf_counter()
        options = training.question.options(len(training.labels))
        answers = torch.zeros(len(pairs), options)

        def see(first: int, masked: MaskedModel) -> None:
            readable = masked.batch.word_valid.any(1, keepdim=True)
            found = (masked.distribution.float() * readable).cpu()
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
        facts = {"pairs": len(pairs), "evaluations": evaluations, "seconds": seconds}
        return network.state_dict(), facts


class WordEmbedding(nn.Module):
    """Word vectors (B, W, D): the mean over a word's tokens of their embeddings.

    side_embedding: whether a learnt vector of the word's side is added. Zero where there is no
    word.
    """

    def __init__(self, vocabulary_size: int, size: int, *, side_embedding: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary_size, size)
        self.sides = nn.Embedding(2, size) if side_embedding else None

    def forward(self, batch: PairBatch) -> Tensor:
        width = batch.word_valid.shape[1]
        word = torch.arange(width, device=batch.device)[:, None]
        owned = (word == batch.word_of_token[:, None]) & batch.attention[:, None]
        share = owned / owned.sum(2, keepdim=True).clamp_min(1)
        words: Tensor = share @ self.tokens(batch.token_ids)
        if self.sides is not None:
            words = words + self.sides(batch.word_side)
        return words * batch.word_valid[..., None]


class Selector(nn.Module):
    """One logit a word (B, W), -inf where there is no word, from a convolution over both sides."""

    def __init__(self, embedding: WordEmbedding, filters: int, width: int, dropout: float) -> None:
        super().__init__()
        size = embedding.tokens.embedding_dim
        self.embedding = embedding
        self.first = nn.Conv1d(size, filters, width, padding="same")
        self.whole = nn.Linear(filters, filters)
        self.local = nn.ModuleList(
            nn.Conv1d(filters, filters, width, padding="same") for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)
        self.join = nn.Conv1d(2 * filters, filters, 1)
        self.logit = nn.Conv1d(filters, 1, 1)

    def forward(self, batch: PairBatch) -> Tensor:
        valid = batch.word_valid[:, None]
        first = self.first(self.embedding(batch).transpose(1, 2)).relu() * valid
        # After a ReLU nothing is below the zeros of padding.
        whole = self.whole(first.amax(2)).relu()
        local = first
        for convolution in self.local:
            local = convolution(local).relu() * valid
        both = torch.cat([whole[..., None].expand(-1, -1, local.shape[2]), local], 1)
        logits: Tensor = self.logit(self.join(self.dropout(both)).relu()).squeeze(1)
        return logits.masked_fill(~batch.word_valid, -torch.inf)


class Approximator(nn.Module):
    """q(y | x_S): log-probabilities (B, C) of the words that ``chosen`` (B, W) weighs."""

    def __init__(self, embedding: WordEmbedding, hidden_size: int, classes: int, k: int) -> None:
        super().__init__()
        self.embedding, self.k = embedding, k
        self.hidden = nn.Linear(embedding.tokens.embedding_dim, hidden_size)
        self.output = nn.Linear(hidden_size, classes)

    def forward(self, batch: PairBatch, chosen: Tensor) -> Tensor:
        mean = (chosen[..., None] * self.embedding(batch)).sum(1) / self.k
        log_q: Tensor = self.output(self.hidden(mean).relu()).log_softmax(-1)
        return log_q


class L2XNetwork(LightningModule):
    """Learns which k words tell the model's answer: minimises E[-sum_y p(y|x) log q(y|x_S)].

    k, temperature: of `select`. embedding_size, filters, kernel_size, hidden_size, dropout: of
    the two networks. lr, rho: of RMSprop. Weights start as in Keras.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        classes: int,
        k: int,
        temperature: float,
        embedding_size: int,
        filters: int,
        kernel_size: int,
        hidden_size: int,
        dropout: float,
        side_embedding: bool,
        lr: float,
        rho: float,
    ) -> None:
        super().__init__()
        self.k, self.temperature, self.lr, self.rho = k, temperature, lr, rho
        own = [
            WordEmbedding(vocabulary_size, embedding_size, side_embedding=side_embedding)
            for _ in range(2)
        ]
        self.selector = Selector(own[0], filters, kernel_size, dropout)
        self.approximator = Approximator(own[1], hidden_size, classes, k)
        self.apply(start_as_keras)

    def training_step(self, batch: tuple[PairBatch, Tensor], batch_idx: int) -> Tensor:
        pairs, answers = batch
        logits = self.selector(pairs)
        noise = gumbel((len(pairs), self.k, logits.shape[1]), logits.device)
        log_q = self.approximator(pairs, select(logits, noise, self.temperature))
        loss: Tensor = -(answers * log_q).sum(-1).mean()
        self.log("l2x/loss", loss, prog_bar=True, batch_size=len(pairs))
        return loss

    def configure_optimizers(self) -> Any:
        # Keras's RMSprop adds 1e-7 where PyTorch's adds 1e-8.
        return torch.optim.RMSprop(self.parameters(), lr=self.lr, alpha=self.rho, eps=1e-7)


def select(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """A relaxed choice of words (B, W): the largest of k Gumbel-softmax draws, word by word.

    logits (B, W) are -inf where there is no word; noise (B, k, W) is Gumbel(0, 1).
    """
    return ((logits[:, None] + noise) / temperature).softmax(-1).amax(1)


def gumbel(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Gumbel(0, 1) noise from the generator that the run was seeded with."""
    uniform = torch.rand(shape, device=device).clamp_min(torch.finfo(torch.float32).tiny)
    return -(-uniform.log()).clamp_min(torch.finfo(torch.float32).tiny).log()


def start_as_keras(module: nn.Module) -> None:
    """Glorot-uniform weights, zero biases, embeddings from U(-0.05, 0.05)."""
    if isinstance(module, nn.Embedding):
        nn.init.uniform_(module.weight, -0.05, 0.05)
    elif isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
