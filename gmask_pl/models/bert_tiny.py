"""A small BERT from scratch, with a WordPiece vocabulary of the training words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.settings import Count, Positive, Share
from gmask_pl.types import UserError, WordCounts

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Trained on masked copies too, it knows what it is asked while it is explained.
_USUAL = {"max_length": 64, "lr": 1e-3, "word_dropout": 0.5}


class TinyBert(BertPairClassifier):
    """A BERT small enough to be trained on a laptop; it needs nothing from a hub.

    `from_data` makes a fresh one of the training words:

    - vocabulary_size: the most word pieces.
    - hidden_size, layers, heads, intermediate_size, dropout, initializer_range: as in BertConfig.
    - settings: of `BertPairClassifier`.

    Raises UserError where the heads do not share the hidden size evenly.

    >>> from gmask_pl import TinyBert
    >>> model = TinyBert.from_data(labels=["no", "yes"], word_counts={"dogs": 9, "run": 9})
    >>> model.tokenizer.tokenize("Dogs run")
    ['dogs', 'run']
    """

    weights_tag = "TinyBert"

    @classmethod
    def check_together(cls, settings: Mapping[str, Any]) -> None:
        size, heads = settings["hidden_size"], settings["heads"]
        if size % heads:
            raise UserError(
                f"model.net.heads={heads}: the heads share model.net.hidden_size={size} evenly"
            )

    @classmethod
    def from_data(
        cls,
        *,
        labels: Sequence[str],
        word_counts: WordCounts,
        vocabulary_size: Count = 2000,
        hidden_size: Count = 128,
        layers: Count = 2,
        heads: Count = 4,
        intermediate_size: Count = 256,
        dropout: Share = 0.0,
        initializer_range: Positive = 0.1,  # so small a network hardly learns from BERT's 0.02
        **settings: Any,
    ) -> Self:
        settings = _USUAL | settings
        if settings["max_length"] is None:
            raise UserError(
                "model.net.max_length=null: it is of a model that is there: give the tokens that a "
                "new one is to read"
            )
        cls.check_together({"hidden_size": hidden_size, "heads": heads})
        tokenizer = train_tokenizer(word_counts, vocabulary_size, settings["max_length"])
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=intermediate_size,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            initializer_range=initializer_range,
            max_position_embeddings=settings["max_length"],
            pad_token_id=tokenizer.pad_token_id,
            id2label=dict(enumerate(labels)),
            label2id={name: i for i, name in enumerate(labels)},
        )
        network = BertForSequenceClassification(config)
        return cls(labels=labels, network=network, tokenizer=tokenizer, **settings)


def train_tokenizer(
    word_counts: WordCounts, vocabulary_size: int, max_length: int
) -> BertTokenizer:
    """A lower-casing WordPiece tokenizer of the counted words, the same in every process.

    The trainer breaks ties by the ids of pieces, and would give the pieces ``##x`` theirs in the
    random order of a hash map; as special tokens they have ids of their own before.
    """

    def corpus() -> Iterator[str]:
        for word in sorted(word_counts):
            yield " ".join([word] * word_counts[word])

    trained = BertWordPieceTokenizer(lowercase=True)
    characters = set(trained.normalizer.normalize_str("".join(word_counts)))
    trained.train_from_iterator(
        corpus(),
        vocab_size=vocabulary_size,
        min_frequency=1,
        show_progress=False,
        special_tokens=[*SPECIAL_TOKENS, *sorted("##" + character for character in characters)],
    )
    return BertTokenizer(vocab=trained.get_vocab(), do_lower_case=True, model_max_length=max_length)
