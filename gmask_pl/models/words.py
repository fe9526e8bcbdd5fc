"""Models that read words: one token a word, of a vocabulary of the training words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn

from gmask_pl.models.encoding import EncodedPair, check_unit, collate
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.settings import Count, checked
from gmask_pl.types import ModelInput, PairBatch, PairEncoder, PairExample, WordCounts

PAD, UNKNOWN = "<pad>", "<unk>"


class WordClassifier(PairClassifier):
    """A classifier over word embeddings, which its ``forward`` reads by `embedded`.

    vocabulary: the words in index order, the first two being padding and the unknown word, which
    also serves as mask token.
    """

    pad_token_id = 0
    mask_token_id = 1
    skips_hidden = True
    usual_removal = "zero"  # Eq. 1: masks multiply the word embeddings

    @checked
    def __init__(
        self,
        *,
        labels: Sequence[str],
        vocabulary: Sequence[str],
        embedding_size: Count,
        **optimizer: Any,
    ) -> None:
        super().__init__(labels=labels, **optimizer)
        self.vocabulary = tuple(vocabulary)
        self.embedding = nn.Embedding(len(self.vocabulary), embedding_size, padding_idx=0)

    @classmethod
    def from_data(cls, *, labels: Sequence[str], word_counts: WordCounts, **settings: Any) -> Self:
        by_count = sorted(word_counts, key=lambda word: (-word_counts[word], word))
        return cls(labels=labels, vocabulary=[PAD, UNKNOWN, *by_count], **settings)

    def encoder(self, unit: str) -> PairEncoder:
        check_unit(unit)
        return WordEncoder(self.vocabulary)

    def embedded(self, inputs: ModelInput) -> Tensor:
        """The word embeddings (N, L, D), each times its gate (Eq. 1)."""
        words: Tensor = self.embedding(inputs.token_ids)
        if inputs.gate is not None:
            words = words * inputs.gate[..., None]
            if inputs.substitute is not None:
                instead = self.embedding.weight[inputs.substitute]
                words = words + (1 - inputs.gate[..., None]) * instead
        return words


class WordEncoder:
    """Encodes pairs for word-level models: one token a word, no special tokens."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.index = {word: i for i, word in enumerate(vocabulary)}
        self.vocabulary_size = len(vocabulary)

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch:
        return collate(examples, [self._encode(example) for example in examples], 0)

    def _encode(self, example: PairExample) -> EncodedPair:
        words1, words2 = example.words1, example.words2
        ids = [self.index.get(word.lower(), 1) for word in words1 + words2]
        segment = [0] * len(words1) + [1] * len(words2)
        return EncodedPair(ids, segment, range(len(ids)), words1, words2)
