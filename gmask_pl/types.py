"""The types that every room of the project shares.

Letters in shapes are fixed across the code: B examples, S masks per example, N rows of a model
input, W words of a pair (side one, then side two), L tokens, C classes, k candidate words,
t groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

Span = tuple[int, int]
BETWEEN = "\x1e"  # stands between two documents in one text: the record separator of ASCII
A_AND_B = ("B is ahead", "A is ahead")  # the labels of a comparison: A is the first document


class OwnError(Exception):
    """An error of this project. It can be pickled, whatever its constructor takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _raised_elsewhere, (type(self), self.args), self.__dict__


def _raised_elsewhere(kind: type[OwnError], args: tuple[object, ...]) -> OwnError:
    """An error with the message of one in another process; its attributes are set afterwards."""
    return kind.__new__(kind, *args)


class UserError(OwnError):
    """A mistake in what the user gave: shown as one message, without a traceback.

    >>> from gmask_pl import PairExplainer, UserError
    >>> try:
    ...     PairExplainer(lambda pairs: [1.0 for _ in pairs], method="lmie")
    ... except UserError as error:
    ...     print(error)
    method=lmie: there is no such method; did you mean lime? ...
    """


class Unreadable(UserError):
    """A folder or file that somebody left, which does not hold what it should.

    Whoever reads many leaves this one out and says so. place: its path; reason: why.
    """

    def __init__(self, place: object, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place, self.reason = f"{place}", reason


class NoAnswer(UserError):
    """A model failed while it was asked about a batch: it may answer about some of it."""


class PairsFailed(UserError):
    """Pairs of a batch about which a model cannot be asked, or does not answer.

    reasons: why, by the row of each in the batch; ids: of the batch. A run leaves these pairs out
    and goes on; where they are learnt from, it is an error.
    """

    def __init__(self, reasons: Mapping[int, str], ids: Sequence[str]) -> None:
        super().__init__("; ".join(f"pair {ids[row]}: {why}" for row, why in reasons.items()))
        self.reasons = dict(reasons)


@dataclass(frozen=True, slots=True)
class Highlight:
    """The words one annotator marked, as word positions within each side.

    ``None`` means that the side was not annotated, which is not the same as nothing marked.
    """

    words1: frozenset[int] | None
    words2: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class PairExample:
    """One sentence pair.

    ``text1`` and ``text2`` are exactly what a model reads; ``spans1`` and ``spans2`` are the
    character spans of their words, so a word is always ``text[start:end]``.

    ``alignments`` holds the known pairs (i, j) of words that mean the same, word i of side one and
    word j of side two; ``None`` means unknown.

    ``evidence`` holds known deciding word groups (planted data only), each a set of joint word
    positions: words of side two are counted on from the last word of side one.
    """

    id: str
    text1: str
    text2: str
    spans1: tuple[Span, ...]
    spans2: tuple[Span, ...]
    label: int | None = None
    highlights: tuple[Highlight, ...] = ()
    evidence: tuple[frozenset[int], ...] = ()
    alignments: frozenset[tuple[int, int]] | None = None

    @property
    def words1(self) -> tuple[str, ...]:
        return tuple(self.text1[start:end] for start, end in self.spans1)

    @property
    def words2(self) -> tuple[str, ...]:
        return tuple(self.text2[start:end] for start, end in self.spans2)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """A batch of encoded pairs.

    token_ids, segment, word_of_token: (B, L) int64; attention: (B, L) bool.
    ``segment`` is 0 for side one and 1 for side two, or what the model's own tokenizer says;
    ``word_of_token`` is -1 on special tokens and padding. ``words1`` and ``words2`` hold all words
    of the pair (or the word pieces, when the unit is the token). The W axis counts those of which
    the model reads at least one token: word_place (B, W) int64 is where each stands among all words
    of both sides, -1 where there is none; word_side (B, W) int64; word_valid (B, W) bool: true
    where the word is there. labels: (B,) int64, -1 where unknown. ``truncated`` (B,) bool: the
    model could not read the whole pair.

    text1, text2 (B,): the texts; spans1, spans2: where each word stands in them.

    ``ids`` are names, no more. ``keys`` say what a pair is: a digest of its texts and of the units
    they are cut into, so equal pairs have equal keys wherever they stand.
    """

    ids: tuple[str, ...]
    keys: tuple[str, ...]
    words1: tuple[tuple[str, ...], ...]
    words2: tuple[tuple[str, ...], ...]
    text1: tuple[str, ...]
    text2: tuple[str, ...]
    spans1: tuple[tuple[Span, ...], ...]
    spans2: tuple[tuple[Span, ...], ...]
    token_ids: Tensor
    attention: Tensor
    segment: Tensor
    word_of_token: Tensor
    word_place: Tensor
    word_side: Tensor
    word_valid: Tensor
    labels: Tensor
    truncated: Tensor

    def __post_init__(self) -> None:
        b, length = self.token_ids.shape
        width = self.word_valid.shape[1]
        expected: dict[str, tuple[int, ...]] = {
            **dict.fromkeys(_OF_TOKENS, (b, length)),
            **dict.fromkeys(_OF_WORDS, (b, width)),
            **dict.fromkeys(_OF_PAIRS, (b,)),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"PairBatch.{name} has shape {found}, expected {shape}")
        for name in _BY_PAIR:
            if (rows := len(getattr(self, name))) != b:
                raise ValueError(f"PairBatch.{name} has {rows} rows, expected {b}")
        if b and length and int(self.word_of_token.max()) >= width:
            raise ValueError("PairBatch.word_of_token names a word beyond the W axis")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def device(self) -> torch.device:
        return self.token_ids.device

    @property
    def places(self) -> list[list[int]]:
        """Where the words that the model reads stand among all words of their pair."""
        return [[place for place in row if place >= 0] for row in self.word_place.tolist()]

    def to(self, device: torch.device | str) -> PairBatch:
        """The same batch with its tensors on ``device`` (Lightning calls this)."""
        names = (*_OF_TOKENS, *_OF_WORDS, *_OF_PAIRS)
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def select(self, rows: Sequence[int]) -> PairBatch:
        """The batch of these rows, in this order."""
        fields: dict[str, Any] = {}
        for name in self.__slots__:
            every = getattr(self, name)
            own = every[list(rows)] if isinstance(every, Tensor) else tuple(every[i] for i in rows)
            fields[name] = own
        return PairBatch(**fields)

    def narrowed(self) -> PairBatch:
        """The same batch, no wider than its longest pair."""
        length, width = _last(self.attention), _last(self.word_place >= 0)
        cut: dict[str, Any] = {name: getattr(self, name)[:, :length] for name in _OF_TOKENS}
        cut |= {name: getattr(self, name)[:, :width] for name in _OF_WORDS}
        return replace(self, **cut)


_BY_PAIR = ("ids", "keys", "words1", "words2", "text1", "text2", "spans1", "spans2")
_OF_TOKENS = ("token_ids", "attention", "segment", "word_of_token")
_OF_WORDS = ("word_place", "word_side", "word_valid")
_OF_PAIRS = ("labels", "truncated")


def _last(there: Tensor) -> int:
    """How many columns (N, M) it takes up to the last that is true of any row; 1 at least."""
    columns = there.any(0).nonzero()
    return int(columns.max()) + 1 if len(columns) else 1


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What a classifier reads: N rows of tokens, possibly masked.

    token_ids, segment, positions: (N, L) int64; ``segment`` as in a PairBatch. ``attention`` (N, L)
    is bool, or float as a
    differentiable multiplier of the attention paid to a token, in [0, 1] but for models that count
    alike tokens (see Classifier). ``gate`` (N, L)
    float in [0, 1], where given, is the weight of a token's own word embedding (Eq. 1); what
    is left of the weight goes to the embedding of ``substitute``, or to zero when that is None.
    """

    token_ids: Tensor
    attention: Tensor
    segment: Tensor
    positions: Tensor
    gate: Tensor | None = None
    substitute: int | None = None


class PairEncoder(Protocol):
    """Turns examples into the batch a classifier reads; its token ids are below a known size."""

    @property
    def vocabulary_size(self) -> int: ...

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch: ...


class Classifier(Protocol):
    """What masking needs of a task model: logits (N, C) of a ModelInput, and three facts.

    skips_hidden: whether a token that nothing attends to may as well be left out, the others
    keeping their ``positions``. It may not where a model counts distances by itself.
    ``mask_token_id`` is None for a model without a mask token.

    Two more where they are needed. ``together``: which rows may be asked in one batch, those of
    ``any`` length (padded), of ``equal`` length, or each ``alone``; any where it is not said. A
    model without word order may say ``counts_alike = True``: a token whose ``attention`` is a whole
    number stands for as many equal tokens of its side.
    """

    pad_token_id: int

    @property
    def mask_token_id(self) -> int | None: ...

    @property
    def skips_hidden(self) -> bool: ...

    def __call__(self, inputs: ModelInput) -> Tensor: ...


@runtime_checkable
class ReadsAttention(Protocol):
    """A classifier that also tells its attention.

    ``received_attention`` is how much attention every token gets in a layer: (N, L), not
    negative, 0 on padding. Raises UserError for a layer that the model does not have.
    """

    def received_attention(self, inputs: ModelInput, layer: int) -> Tensor: ...


# What the words of a group do, see `Groups`.
TOGETHER, SUBSTITUTES = "together", "substitutes"


@dataclass(frozen=True, slots=True)
class Groups:
    """Word groups of one pair (Section 3.1).

    candidates (k,): joint word positions; phi (k, t): membership probabilities, Eq. 5;
    psi (t,): group importance.

    kept (t,): the number that is asked for, of the words of a group alone; removed (t,): of the
    text without them. None where the method has not asked.

    phi of a word that is in no group is 0 throughout.

    What else a method may tell of each group, None where it does not: kinds (t,): ``together``
    where its words do more than one by one, ``substitutes`` where they do less, as one can stand in
    for another, "" of a single word. suffices (t,): whether its words alone lead to the decision,
    and the empty pair does not. missed (t,): whether the decision changes without them. stability
    (t,): how much of it is found again in changed conditions, from 0 to 1.
    """

    candidates: tuple[int, ...]
    phi: tuple[tuple[float, ...], ...]
    psi: tuple[float, ...]
    kept: tuple[float, ...] | None = None
    removed: tuple[float, ...] | None = None
    kinds: tuple[str, ...] | None = None
    suffices: tuple[bool, ...] | None = None
    missed: tuple[bool, ...] | None = None
    stability: tuple[float, ...] | None = None

    @property
    def members(self) -> dict[int, frozenset[int]]:
        """The word positions of each group, by its index in ``psi``, the most important first.

        A word belongs to the group of its highest phi, of equals the first, and to none where phi
        is 0. Groups that no word belongs to are left out.
        """
        found: dict[int, set[int]] = {}
        for word, row in zip(self.candidates, self.phi, strict=True):
            if max(row, default=0.0) > 0:
                found.setdefault(row.index(max(row)), set()).add(word)
        by_importance = sorted(found, key=lambda group: (-self.psi[group], group))
        return {group: frozenset(found[group]) for group in by_importance}

    @property
    def clusters(self) -> dict[int, int]:
        """The group of every candidate, by its position, and -1 of those that are in none."""
        grouped = {word: group for group, words in self.members.items() for word in words}
        return dict.fromkeys(self.candidates, -1) | grouped

    @property
    def names(self) -> dict[int, str]:
        """What people read of each group of `members`: G1 is the most important one."""
        return {group: f"G{rank}" for rank, group in enumerate(self.members, start=1)}


@dataclass(frozen=True, slots=True)
class Interactions:
    """What pairs of words, one of each side, do together for the prediction of one pair.

    pairs (p, 2): joint word positions, side one first; values (p,), the largest first.
    """

    pairs: tuple[tuple[int, int], ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Attributions:
    """What an explainer finds for a batch: scores (B, W), 0 on invalid words, and any groups.

    interactions: of every example, where the method finds them.
    """

    scores: Tensor
    groups: tuple[Groups | None, ...]
    interactions: tuple[Interactions, ...] | None = None


@dataclass(frozen=True, slots=True)
class PairScore:
    """The numbers that a metric has of one pair, as it averages them over pairs.

    ``removal`` is how the metric removed words, None where it asks the model nothing.
    """

    id: str
    removal: str | None
    metric: str
    row: tuple[float, ...]


class PairSource(Protocol):
    """A dataset: its label names in index order, and its examples by split.

    ``split`` is one of train, dev, test. ``failed``: the lines of a split, or what else names a
    place, that hold no pair and are left out, with the reason of each.
    """

    labels: tuple[str, ...]

    def load(self, split: str) -> list[PairExample]: ...

    def failed(self, split: str) -> dict[str, str]: ...


WordCounts = Mapping[str, int]
JSON = dict[str, Any]
