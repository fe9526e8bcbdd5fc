"""The decomposable attention model (Parikh et al., 2016), as the paper configures it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from gmask_pl.models.pair_classifier import is_watched
from gmask_pl.models.words import WordClassifier, read_vectors
from gmask_pl.settings import Count, NotNegative, Share, checked
from gmask_pl.types import ModelInput, UserError

# The rate was chosen on MRPC dev pairs, with random vectors; there is no warm-up and no decay.
_OPTIMIZER = {"lr": 3e-4, "weight_decay": 1e-4, "warmup": 0.0, "linear_decay": False}


def two_layers(inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    """A two-layer ReLU network with dropout before each layer."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
    )


class DecomposableAttention(WordClassifier):
    """Attend, compare, aggregate (Parikh et al., 2016, Sections 3.1 to 3.3).

    Each side's words attend to the other side's. Without the embeddings it has exactly
    722,703 + 90,000 parameters for 3 classes and hidden_size 300 (Appendix B).

    - labels: the class names in index order.
    - vocabulary: the words in index order, the first two for padding and the unknown word;
      `from_data` makes it of counts.
    - embeddings: word vectors (`.vec`, `.vec.gz` or `.bin`) by path; they are frozen, as in the
      authors' code. Without them, vectors are random, of ``embedding_std``, and trained.
    - embedding_size, hidden_size: of the vectors and of every layer.
    - dropout, embedding_dropout: before each layer, and of the embeddings.
    - optimizer: how it is trained, see `PairClassifier`.

    Raises UserError for vectors that cannot be read.

    >>> from gmask_pl import DecomposableAttention
    >>> labels = ["entailment", "neutral", "contradiction"]
    >>> model = DecomposableAttention.from_data(labels=labels, word_counts={"dogs": 9, "run": 9})
    >>> sum(weight.numel() for weight in model.parameters()) - model.embedding.weight.numel()
    812703
    """

    weights_tag = "DecomposableAttention"
    counts_alike = True

    @checked
    def __init__(
        self,
        *,
        labels: Sequence[str],
        vocabulary: Sequence[str],
        embeddings: str | None = None,
        embedding_size: Count = 300,  # Appendix B, as the next
        hidden_size: Count = 300,
        dropout: Share = 0.3,  # this and the next: chosen on MRPC dev pairs
        embedding_dropout: Share = 0.5,
        embedding_std: NotNegative = 0.1,
        **optimizer: Any,
    ) -> None:
        super().__init__(
            labels=labels,
            vocabulary=vocabulary,
            embedding_size=embedding_size,
            **_OPTIMIZER | optimizer,
        )
        self.sizes = {"embedding_size": embedding_size, "hidden_size": hidden_size}
        nn.init.normal_(self.embedding.weight, std=embedding_std)
        with torch.no_grad():
            self.embedding.weight[0].zero_()
        if embeddings is not None:
            vectors = read_vectors(embeddings, self.vocabulary, embedding_size)
            with torch.no_grad():
                for word, vector in vectors.items():
                    self.embedding.weight[word] = vector
            self.embedding.weight.requires_grad = False
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.project = nn.Linear(embedding_size, hidden_size, bias=False)
        self.attend = two_layers(hidden_size, hidden_size, dropout)
        self.compare = two_layers(2 * hidden_size, hidden_size, dropout)
        self.aggregate = two_layers(2 * hidden_size, hidden_size, dropout)
        self.classify = nn.Linear(hidden_size, len(self.labels))

    @classmethod
    def from_weights(
        cls, weights: str | Path, *, embeddings: str | None = None, **settings: Any
    ) -> Self:
        """As of any model; what ``embeddings`` gave the vectors is stored with them.

        - weights: the folder that `save` wrote.
        - embeddings: takes no part.
        - settings: of `PairClassifier.from_weights`, which raises the same errors.

        >>> import tempfile
        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder)
        ...     again = DecomposableAttention.from_weights(folder)
        >>> again.labels, again.vocabulary
        (('no', 'yes'), ('<pad>', '<unk>', 'dogs'))
        """
        return super().from_weights(weights, **settings)

    def forward(self, inputs: ModelInput) -> Tensor:
        if self.training or _is_soft(inputs) or is_watched(self):
            projected = self._projected(inputs)
            seen = inputs.attention.to(projected.dtype)
            weights, total = self._weights(self.attend(projected), seen, inputs.segment)
            compared = self.compare(torch.cat([projected, (weights @ projected) / total], -1))
        else:
            compared = self._compared(inputs)
            seen = inputs.attention.to(compared.dtype)
        compared = compared * seen[..., None]
        side_two = inputs.segment[..., None].to(compared.dtype)
        sums = [(compared * (1 - side_two)).sum(1), (compared * side_two).sum(1)]
        logits: Tensor = self.classify(self.aggregate(torch.cat(sums, -1)))
        return logits

    def received_attention(self, inputs: ModelInput, layer: int) -> Tensor:
        """What the other side's words pay to every word, as their mean: (N, L).

        The words of each side share 1, whatever the lengths, when both sides have words.
        """
        if layer not in (0, -1):
            raise UserError(f"layer={layer}: decomposable attention has one layer, 0 or -1")
        projected = self._projected(inputs)
        seen = inputs.attention.to(projected.dtype)
        weights, total = self._weights(self.attend(projected), seen, inputs.segment)
        across = inputs.segment[:, :, None] != inputs.segment[:, None, :]
        payers = (across * seen[:, :, None]).sum(1)
        return (weights / total * seen[:, :, None]).sum(1) / payers.clamp_min(1)

    def _compared(self, inputs: ModelInput) -> Tensor:
        """What the comparison network says of every word, (N, L, D), in evaluation.

        Masked copies of a pair share their words, and until the second layer of the comparison
        nothing but the attention weights depends on more than one word: its first layer is linear
        in a word and in what the word attends to. So all this is computed once for each distinct
        word of the input; the word -1 is the zero vector.
        """
        ids = inputs.token_ids
        if inputs.gate is not None:
            ids = torch.where(inputs.gate > 0, ids, -1)
        words, place = torch.unique(ids, return_inverse=True)
        vectors = self.embedding(words.clamp_min(0)) * (words >= 0)[:, None]
        projected = self.project(vectors)
        features = self.attend(projected)
        _, first, *further = self.compare
        assert isinstance(first, nn.Linear)
        own, other = first.weight.split(projected.shape[1], 1)
        seen = inputs.attention.to(features.dtype)
        weights, total = self._weights(features[place], seen, inputs.segment)
        attended = weights @ linear(projected, other)[place]
        hidden = linear(projected, own, first.bias)[place] + attended / total
        for layer in further:
            hidden = layer(hidden)
        return hidden

    def _projected(self, inputs: ModelInput) -> Tensor:
        """The projected embeddings of the words, (N, L, D)."""
        projected: Tensor = self.project(self.embedding_dropout(self.embedded(inputs)))
        return projected

    def _weights(self, features: Tensor, seen: Tensor, segment: Tensor) -> tuple[Tensor, Tensor]:
        """The attention of each word (N, L, L) to the other side's, over its total (N, L, 1).

        A softmax with the multipliers ``seen`` (N, L): exact and differentiable at 0 too.
        """
        scores = features @ features.transpose(1, 2)
        across = (segment[:, :, None] != segment[:, None, :]) * seen[:, None, :]
        peak = scores.masked_fill(across <= 0, -torch.inf).amax(2, keepdim=True).detach()
        peak = peak.masked_fill(peak.isinf(), 0.0)
        # Only removed words can exceed the peak; the clamp keeps their derivative finite.
        weights = (scores - peak).clamp(max=30.0).exp() * across
        total = weights.sum(2, keepdim=True)
        return weights, total.masked_fill(total == 0, 1.0)


def _is_soft(inputs: ModelInput) -> bool:
    """Whether words are there in part, or a gradient with respect to their being there is asked."""
    gate = inputs.gate
    if inputs.attention.requires_grad or inputs.substitute is not None:
        return True
    return gate is not None and (gate.requires_grad or not bool(((gate == 0) | (gate == 1)).all()))
