"""Models that read a pair in two parts, each by itself: bi-encoders, and two documents compared.

What is asked about all masks of k words is then an outer product: a bi-encoder encodes each masked
text once, 2^k1 + 2^k2 texts in place of 2^k pairs, and keeps what it has encoded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from gmask_pl.masking.token_packing import chunks
from gmask_pl.models.encoding import EncodedPair, check_unit, collate, word_at, words_at
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.reading_traits import tokenizer_words
from gmask_pl.models.safe_loading import load_embedder, right_tokenizer
from gmask_pl.question import OF_A_SCORE, SCORE
from gmask_pl.types import (
    A_AND_B,
    BETWEEN,
    ModelInput,
    PairBatch,
    PairEncoder,
    PairExample,
    Span,
    UserError,
    WordCounts,
)

_KEPT = 100_000  # the most answers about parts that are kept


class PartedClassifier(PairClassifier):
    """A model whose answer is made of its answers to two parts of the input, each asked by itself.

    A subclass implements `ask`, about one part, and `combine`. Its encoder puts the tokens of the
    second part behind those of the first, and says in their segment where they begin, see `second`.

    What it has answered about a part it answers again from memory, until `forget` is called: the
    next batch may be asked of other weights. asked counts the parts that it was asked about.
    """

    found_out: tuple[str, ...] = ("answers", "asked")
    stride: int = 2  # above every segment within a part

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels=labels)
        self.answers: OrderedDict[bytes, Tensor] = OrderedDict()
        self.asked = 0

    @property
    def outputs(self) -> str:
        return SCORE

    def forget(self) -> None:
        """Leaves no answer to be given again."""
        self.answers.clear()

    def second(self, segment: int, begin: int) -> int:
        """The segment of a token of the second part, which begins at a position above 0."""
        return segment + self.stride * begin

    @abstractmethod
    def ask(self, inputs: ModelInput) -> Tensor:
        """What is found of single parts: (N, D)."""

    @abstractmethod
    def combine(self, one: Tensor, two: Tensor) -> Tensor:
        """The outputs (N, M), of what was found of both parts (N, D)."""

    def forward(self, inputs: ModelInput) -> Tensor:
        if inputs.gate is not None or inputs.attention.dtype != torch.bool:
            raise UserError(
                f"{type(self).__name__} has no gradients in masks: choose an explainer that needs "
                "none, and removal=delete, pad or mask"
            )
        one, two = (self._found(self._part(inputs, number)) for number in (0, 1))
        return self.combine(one, two)

    def _part(self, inputs: ModelInput, number: int) -> ModelInput:
        """The tokens of a part, moved to the left."""
        own = (inputs.segment >= self.stride) == bool(number)
        order = (~own).long().argsort(dim=1, stable=True)
        seen = (own & inputs.attention).gather(1, order)
        place = torch.arange(seen.shape[1], device=seen.device)
        width = int((seen * (place + 1)).max()) or 1
        order, seen = order[:, :width], seen[:, :width]
        ids, segment, positions = (
            field.gather(1, order) for field in (inputs.token_ids, inputs.segment, inputs.positions)
        )
        # Behind the last token stands what belongs to the other part.
        there = own.gather(1, order)
        ids = torch.where(there, ids, self.pad_token_id)
        if number:
            # Where words are taken out of the text, positions have no gaps, and the second part
            # begins with its first token; else where it began in the whole text.
            among = (inputs.positions * inputs.attention).amax(1, keepdim=True)
            gaps = among + 1 > inputs.attention.sum(1, keepdim=True)
            begin = (segment[:, :1] // self.stride) * there[:, :1]
            positions = positions - torch.where(gaps, begin, positions[:, :1])
        segment = torch.where(there, segment % self.stride, 0)
        return ModelInput(ids, seen, segment, torch.where(there, positions, 0).clamp_min(0))

    def _found(self, inputs: ModelInput) -> Tensor:
        """What is found of parts, each different one asked about once."""
        fields = (inputs.token_ids, inputs.attention.long(), inputs.segment, inputs.positions)
        table = torch.stack(fields, 2).cpu()
        lengths = [int(row.nonzero()[-1]) + 1 if row.any() else 1 for row in inputs.attention.cpu()]
        keys = [row[:n].numpy().tobytes() for row, n in zip(table, lengths, strict=True)]
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        new = [row for key, row in first.items() if key not in self.answers]
        self.asked += len(new)
        found = {key: self.answers[key] for key in first if key in self.answers}
        sizes = torch.tensor([lengths[row] for row in new], dtype=torch.int64)
        for chosen in chunks(sizes, inputs.token_ids.numel(), self.together) if new else ():
            rows = [new[i] for i in chosen.tolist()]
            width = max(lengths[row] for row in rows)
            ids, seen = inputs.token_ids[rows, :width], inputs.attention[rows, :width]
            segment, positions = inputs.segment[rows, :width], inputs.positions[rows, :width]
            answers = self.ask(ModelInput(ids, seen, segment, positions))
            found |= {keys[row]: answer for row, answer in zip(rows, answers, strict=True)}
        self.answers.update(found)
        while len(self.answers) > _KEPT:
            self.answers.popitem(last=False)
        return torch.stack([found[key] for key in keys])


class BiEncoder(PartedClassifier):
    """The similarity of the embeddings of two texts, by a SentenceTransformer.

    - embedder: the SentenceTransformer; the similarity is its own (``similarity_fn_name``), mostly
      the cosine.
    - labels: names for below the threshold and at least the threshold.

    A score: what it explains is the similarity, and at a cosine of 0.5 or more the decision is that
    the texts are alike, unless another threshold is given. Raises UserError for an embedder that
    reads something else than the text, such as a prompt before it.

    >>> import tempfile
    >>> from sentence_transformers import SentenceTransformer
    >>> from gmask_pl import BiEncoder, TinyBert
    >>> small = TinyBert.from_data(labels=["no", "yes"], word_counts={"dogs": 9, "run": 9})
    >>> with tempfile.TemporaryDirectory() as folder:  # or one of yours, or a hub id
    ...     small.save(folder)
    ...     model = BiEncoder(SentenceTransformer(folder, device="cpu"))
    >>> model.score_name, model.question().threshold
    ('cosine similarity', 0.5)
    """

    usual_removal = "pad"
    skips_hidden = False  # as the embedder does not take positions

    def __init__(self, embedder: nn.Module, *, labels: Sequence[str] = OF_A_SCORE) -> None:
        super().__init__(labels)
        if prompt := getattr(embedder, "default_prompt_name", None):
            raise UserError(
                f"the embedder puts a prompt before every text (default_prompt_name={prompt}): "
                "give a function that does so, f(pairs) -> similarities"
            )
        self.embedder = embedder
        self.tokenizer: Any = right_tokenizer(_body(embedder), embedder.tokenizer, "the embedder")
        self.max_length = int(embedder.max_seq_length or self.tokenizer.model_max_length)  # type: ignore[arg-type]
        self.pad_token_id = int(self.tokenizer.pad_token_id or 0)
        self.mask_token_id = self.tokenizer.mask_token_id
        self.sends_segments = "token_type_ids" in self.tokenizer("a")
        cosine = getattr(embedder, "similarity_fn_name", None) in (None, "cosine")
        self.score_name = "cosine similarity" if cosine else "similarity"
        self.usual_question = {"threshold": 0.5, "reference": 0.0} if cosine else {}

    @classmethod
    def from_data(
        cls,
        *,
        labels: Sequence[str],
        word_counts: WordCounts,
        revision: str | None = None,
        **settings: Any,
    ) -> Self:
        raise UserError("model=embedder is not trained here: give the one you have, weights=FOLDER")

    @classmethod
    def from_weights(
        cls,
        weights: str | Path,
        *,
        labels: Sequence[str] | None = None,
        label_order: Sequence[str] | None = None,
        revision: str | None = None,
        **settings: Any,
    ) -> Self:
        """What sentence-transformers saved in a folder, or has on the hub, in safetensors.

        - weights: the folder or hub id.
        - labels, label_order: names for below the threshold and at least the threshold, where a
          data set has others.
        - revision: of a hub id.
        - settings: of the constructor.

        Raises UserError for what cannot be loaded, and for other than two labels.

        >>> import tempfile
        >>> from sentence_transformers import SentenceTransformer
        >>> from gmask_pl import BiEncoder, TinyBert
        >>> small = TinyBert.from_data(labels=["no", "yes"], word_counts={"dogs": 9, "run": 9})
        >>> with tempfile.TemporaryDirectory() as folder:  # or one of yours, or a hub id
        ...     small.save(folder)
        ...     SentenceTransformer(folder, device="cpu").save(folder)
        ...     model = BiEncoder.from_weights(folder, labels=["different", "alike"])
        >>> model.labels
        ('different', 'alike')
        """
        names = tuple(labels or label_order or OF_A_SCORE)
        if len(names) != 2:
            raise UserError(
                f"weights={weights}: a similarity decides between two labels, below its threshold "
                f"and not; the dataset's labels are {list(names)}: set dataset.labels=null"
            )
        return cls(
            load_embedder(str(weights), "weights", revision=revision), labels=names, **settings
        )

    @property
    def longest(self) -> int | None:  # type: ignore[override]
        return 2 * self.max_length

    def encoder(self, unit: str) -> PairEncoder:
        if check_unit(unit) == "token":
            raise UserError("unit=token: of a bi-encoder words are explained: set unit=word")
        return _SidesEncoder(self)

    def trial_words(self) -> Sequence[str]:
        return tokenizer_words(self.tokenizer)

    def ask(self, inputs: ModelInput) -> Tensor:
        named = {"input_ids": inputs.token_ids, "attention_mask": inputs.attention.long()}
        if self.sends_segments:
            named["token_type_ids"] = torch.zeros_like(inputs.token_ids)
        return self._embedding(named)

    def _embedding(self, named: dict[str, Any]) -> Tensor:
        """The first numbers of the embedding, as many as the embedder is asked for."""
        found: Tensor = self.embedder(named)["sentence_embedding"]
        return found[..., : getattr(self.embedder, "truncate_dim", None)]

    def combine(self, one: Tensor, two: Tensor) -> Tensor:
        found: Tensor = self.embedder.similarity_pairwise(one.float(), two.float())  # type: ignore[operator]
        return found[:, None].to(one.device)

    def direct(
        self,
        example: PairExample,
        removal: str | None = None,
        removed: Tensor | None = None,
        *,
        as_padding: bool = True,
    ) -> Tensor:
        """By the embedder's own reading of both texts."""
        found, place = [], 0
        for text in (example.text1, example.text2):
            named = dict(
                self.tokenizer(
                    text, truncation=True, max_length=self.max_length, return_tensors="pt"
                ).to(self.device)
            )
            length = named["input_ids"].shape[1]
            if removal is not None and removed is not None:
                gone = removed[place : place + length][None]
                named = self.without(named, removal, gone, as_padding=as_padding)
                if removal == "zero":
                    raise UserError("the embedder takes no embeddings of words")
                place = length
            named["attention_mask"] = named["attention_mask"].long()
            found.append(self._embedding(named))
        return self.combine(*found)[0]


class Compared(PartedClassifier):
    """score(query, A) - score(query, B): why a document stands before another one.

    model: what gives the scores. Of a model with one score it is that; of one with two classes, or
    one logit, the log-odds of the second class; of others the log-odds of ``target`` against all
    other classes. The first text is the query; the second holds both documents, with BETWEEN
    between them, and words of the second document follow those of the first.
    """

    def __init__(self, model: PairClassifier, target: str | None = None) -> None:
        super().__init__(A_AND_B)
        self.model = model
        labels = model.labels
        if target is not None and target not in labels:
            raise UserError(f"target={target}: the model's labels are {', '.join(labels)}")
        if target is None and model.outputs != SCORE and len(labels) != 2:
            raise UserError(f"target: name one of {', '.join(labels)}, by which A and B compare")
        self.target = labels.index(target) if target is not None else 1
        self.pad_token_id, self.mask_token_id = model.pad_token_id, model.mask_token_id
        self.usual_removal, self.together = model.usual_removal, model.together
        self.score_name = "score of A less score of B"
        if isinstance(model, PartedClassifier):
            self.stride = 10**6

    @property
    def skips_hidden(self) -> bool:
        return self.model.skips_hidden

    def forget(self) -> None:
        super().forget()
        if isinstance(self.model, PartedClassifier):
            self.model.forget()

    @property
    def judged_by(self) -> PairClassifier:  # type: ignore[override]
        return self.model

    def encoder(self, unit: str) -> PairEncoder:
        if check_unit(unit) == "token":
            raise UserError("unit=token: of two documents words are compared: set unit=word")
        return _ComparedEncoder(self, self.model.encoder(unit))

    def ask(self, inputs: ModelInput) -> Tensor:
        outputs: Tensor = self.model(inputs).float()
        if self.model.outputs == SCORE:
            return outputs
        if self.model.outputs == "sigmoid":
            return outputs[:, self.target, None]
        others = [i for i in range(outputs.shape[1]) if i != self.target]
        return outputs[:, self.target, None] - outputs[:, others].logsumexp(1, keepdim=True)

    def combine(self, one: Tensor, two: Tensor) -> Tensor:
        return one - two


def compared_example(a: PairExample, b: PairExample) -> PairExample:
    """The example of two documents for one query, each an example with the query before it."""
    first, other = (example.text2.replace(BETWEEN, " ") for example in (a, b))
    begin = len(first) + 1
    moved = tuple((start + begin, end + begin) for start, end in b.spans2)
    return replace(a, text2=f"{first}{BETWEEN}{other}", spans2=a.spans2 + moved)


class _SidesEncoder:
    """Encodes both texts by themselves, one after the other."""

    def __init__(self, classifier: BiEncoder) -> None:
        self.classifier = classifier
        self.vocabulary_size = max(classifier.tokenizer.get_vocab().values()) + 1

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch:
        encoded = [self._encode(example) for example in examples]
        return collate(examples, encoded, self.classifier.pad_token_id)

    def _encode(self, example: PairExample) -> EncodedPair:
        sides = ((example.text1, example.spans1), (example.text2, example.spans2))
        first = [0, len(example.spans1)]
        parts = [self._side(*side, first[i]) for i, side in enumerate(sides)]
        truncated = any(cut for *_, cut in parts)
        (ids1, words1, _), (ids2, words2, _) = parts
        ids, words = [*ids1, *ids2], [*words1, *words2]
        segment = [0] * len(ids1) + [self.classifier.second(0, len(ids1))] * len(ids2)
        return EncodedPair(ids, segment, words, example.words1, example.words2, truncated=truncated)

    def _side(
        self, text: str, spans: Sequence[Span], first: int
    ) -> tuple[list[int], list[int], bool]:
        """The token ids of a text, the word of each, and whether it was cut."""
        classifier = self.classifier
        found = classifier.tokenizer(text, truncation=True, max_length=classifier.max_length)
        tokens = found.encodings[0]
        owner = words_at(spans, first)
        words = [
            -1 if special else word_at(owner, span)
            for special, span in zip(tokens.special_tokens_mask, tokens.offsets, strict=True)
        ]
        return tokens.ids, words, bool(tokens.overflowing)


class _ComparedEncoder:
    """Encodes (query, A) and (query, B), one after the other; the query's words are in both."""

    def __init__(self, classifier: Compared, encode: PairEncoder) -> None:
        self.classifier, self.encode = classifier, encode
        self.vocabulary_size = encode.vocabulary_size

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch:
        encoded = [self._encode(example) for example in examples]
        return collate(examples, encoded, self.classifier.pad_token_id)

    def _encode(self, example: PairExample) -> EncodedPair:
        cut = example.text2.index(BETWEEN)
        before = tuple(span for span in example.spans2 if span[1] <= cut)
        after = tuple(
            (start - cut - 1, end - cut - 1) for start, end in example.spans2 if start > cut
        )
        a = replace(example, text2=example.text2[:cut], spans2=before)
        b = replace(example, text2=example.text2[cut + 1 :], spans2=after)
        ids: list[int] = []
        segment: list[int] = []
        words: list[int] = []
        truncated = False
        query = len(example.spans1)
        for number, part in enumerate((a, b)):
            batch = self.encode([part])
            places = [*batch.word_place[0].tolist(), -1]
            own = [places[word] for word in batch.word_of_token[0].tolist()]
            shift = number * len(before)
            words += [place + shift if place >= query else place for place in own]
            sides = batch.segment[0].tolist()
            segment += [self.classifier.second(s, len(ids)) for s in sides] if number else sides
            ids += batch.token_ids[0].tolist()
            truncated |= bool(batch.truncated[0])
        both = tuple(example.text2[start:end] for start, end in example.spans2)
        return EncodedPair(ids, segment, words, example.words1, both, truncated=truncated)


def _body(embedder: nn.Module) -> Any:
    """The transformer of an embedder. Raises UserError where it has none that is known."""
    for part in embedder.modules():
        if hasattr(part, "get_input_embeddings"):
            return part
    raise UserError(f"{type(embedder).__name__} holds no transformer: give a function instead")
