"""A function of pairs of texts as a model: whatever can only be asked, such as a service."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gmask_pl.models.encoding import EncodedPair, check_unit, collate
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.question import OF_A_SCORE, SCORE
from gmask_pl.settings import Count, checked
from gmask_pl.types import (
    ModelInput,
    NoAnswer,
    PairBatch,
    PairEncoder,
    PairExample,
    Span,
    UserError,
)

Piece = tuple[str, str, str]  # a word, and what stands before and after it
Function = Callable[[list[tuple[str, str]]], Any]
_LEAST = 1e-12  # a probability of 0 has no finite logit
_SUM = 1e-3  # how far from 1 probabilities may add up, by rounding
_SAME = 1e-5  # what two answers to one pair may differ by
_TRIAL = [("one text", "another text"), ("this", "that")]


class FunctionClassifier(PairClassifier):
    """A function ``f(pairs)`` of a list of pairs of texts, as a model.

    - function: it gives n numbers for n pairs, or n rows of C probabilities, as a list, an array or
      a tensor. What it gives for a pair must not depend on the others.
    - labels: the names of the C classes in their order. Of n numbers, two names: then the numbers
      are probabilities of the second. None: n numbers are scores, and classes are called 0, 1, ...
    - batch_size: the most pairs of one call.
    - mask: what stands in the place of a word under removal=mask, such as ``"[MASK]"``;
      None: that removal is not to be had.

    A removed word is taken out of its text, and the spaces around it close up: ``delete``, which is
    the usual removal here. The function is first called with two pairs, to see what it gives, and
    with one of them again: a warning says where its answer is then another. calls and asked count
    the calls and their pairs. Its numbers are kept in float32, as those of networks are: of scores
    near 1000, differences below 0.0001 are lost, so give such scores less a constant.

    Raises UserError where the function fails or gives something else.

    >>> from gmask_pl import FunctionClassifier
    >>> def overlap(pairs):
    ...     return [len(set(a.split()) & set(b.split())) for a, b in pairs]
    >>> model = FunctionClassifier(overlap)
    >>> model.outputs, model.labels
    ('score', ('below the threshold', 'at least the threshold'))
    """

    usual_removal = "delete"
    pad_token_id = 0
    skips_hidden = True
    found_out = ("pieces", "index", "calls", "asked")

    @checked
    def __init__(
        self,
        function: Function,
        *,
        labels: Sequence[str] | None = None,
        batch_size: Count = 64,
        mask: str | None = None,
    ) -> None:
        found = _numbers(function, _TRIAL)
        outputs, names = _meaning(found, labels)
        super().__init__(labels=names)
        self.function, self.batch_size, self.mask = function, batch_size, mask
        self._outputs = outputs
        self.calls, self.asked = 2, len(_TRIAL) + 1
        if drift := _drift(function, found):
            warnings.warn(drift, stacklevel=2)
        # By their token ids, of which 0 is padding and 1 the mask.
        self.pieces: list[Piece] = [("", "", ""), (" ", mask or "", " ")]
        self.index: dict[Piece, int] = {}
        self.mask_token_id = None if mask is None else 1

    @property
    def outputs(self) -> str:
        return self._outputs

    @property
    def declared(self) -> dict[str, str]:  # type: ignore[override]
        """Why each removal is not right; "" where it is. Nothing has to be tried by asking."""
        return {
            "delete": "",
            "pad": "",  # of a text it is the same
            "mask": "no mask is given" if self.mask is None else "",
            "zero": "a function has no embeddings",
        }

    def encoder(self, unit: str) -> PairEncoder:
        if check_unit(unit) == "token":
            raise UserError("unit=token: a function reads texts, and no tokens: set unit=word")
        return _TextEncoder(self)

    def forward(self, inputs: ModelInput) -> Tensor:
        if inputs.gate is not None or inputs.attention.dtype != torch.bool:
            raise UserError(
                "a function has neither embeddings nor gradients: choose removal=delete, and an "
                "explainer that needs no gradients"
            )
        texts = [
            self._texts(ids[seen], segment[seen])
            for ids, segment, seen in zip(
                inputs.token_ids.cpu(), inputs.segment.cpu(), inputs.attention.cpu(), strict=True
            )
        ]
        found: list[Tensor] = []
        for start in range(0, len(texts), self.batch_size):
            own = texts[start : start + self.batch_size]
            self.calls, self.asked = self.calls + 1, self.asked + len(own)
            answers = _numbers(self.function, own)
            found.append(_logits(answers, self._outputs, len(self.labels)))
        return torch.cat(found).to(inputs.token_ids.device)

    def ids_of(self, pieces: Sequence[Piece]) -> list[int]:
        """The token ids of pieces of texts; new ones get new ids."""
        found = []
        for piece in pieces:
            if piece not in self.index:
                self.index[piece] = len(self.pieces)
                self.pieces.append(piece)
            found.append(self.index[piece])
        return found

    def _texts(self, ids: Tensor, segment: Tensor) -> tuple[str, str]:
        one, two = (
            joined([self.pieces[id] for id in ids[segment == side].tolist()]) for side in (0, 1)
        )
        return one, two


def joined(pieces: Sequence[Piece]) -> str:
    """The text of pieces that stand one after the other, those between them having gone.

    >>> from gmask_pl.models.function import joined
    >>> joined([("", "runs", ""), ("", ",", " "), (" ", "now", "")])
    'runs, now'
    >>> joined([("", "runs", ""), (" ", "now", "")])
    'runs now'
    """
    text = "".join(
        word + (after or following) for (_, word, after), (following, _, _) in pairwise(pieces)
    )
    if not pieces:
        return ""
    return pieces[0][0].lstrip() + text + pieces[-1][1] + pieces[-1][2].rstrip()


class _TextEncoder:
    """Encodes a text as its words, each with what stands before and after it."""

    def __init__(self, classifier: FunctionClassifier) -> None:
        self.classifier = classifier

    @property
    def vocabulary_size(self) -> int:
        return len(self.classifier.pieces)

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch:
        return collate(examples, [self._encode(example) for example in examples], 0)

    def _encode(self, example: PairExample) -> EncodedPair:
        words1, words2 = example.words1, example.words2
        pieces = [*_pieces(example.text1, example.spans1), *_pieces(example.text2, example.spans2)]
        segment = [0] * len(words1) + [1] * len(words2)
        ids = self.classifier.ids_of(pieces)
        return EncodedPair(ids, segment, range(len(ids)), words1, words2)


def _pieces(text: str, spans: Sequence[Span]) -> list[Piece]:
    starts, ends = [*(start for start, _ in spans), len(text)], [0, *(end for _, end in spans)]
    gaps = [text[end:start] for end, start in zip(ends, starts, strict=True)]
    words = [text[start:end] for start, end in spans]
    return list(zip(gaps[:-1], words, gaps[1:], strict=True))


def _numbers(function: Function, pairs: list[tuple[str, str]]) -> Tensor:
    """What the function gives for pairs: (n,) or (n, C). Raises NoAnswer."""
    name = getattr(function, "__name__", type(function).__name__)
    try:
        given = function(list(pairs))
    except Exception as error:  # whatever the user's code leads to
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise NoAnswer(f"{name} raised {told}") from error
    if given is None:
        raise NoAnswer(f"{name} gave None: a function returns its numbers")
    try:
        if isinstance(given, Tensor):
            given = given.detach().cpu().double().numpy()
        found = torch.from_numpy(np.asarray(given, dtype=np.float64))
    except (TypeError, ValueError) as error:
        kind = type(given).__name__
        raise NoAnswer(f"{name} gave a {kind} that holds no numbers ({error})") from error
    if found.dim() == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.dim() not in (1, 2) or len(found) != len(pairs):
        shape = tuple(found.shape)
        wanted = f"({len(pairs)},) scores or ({len(pairs)}, C) probabilities"
        told = f"numbers of shape {shape} for {len(pairs)} pairs"
        raise NoAnswer(f"{name} gave {told}: give {wanted}")
    return found


def _drift(function: Function, found: Tensor) -> str:
    """What it says otherwise of a trial pair when it is asked again, alone; "" where it does not.

    found: its answers to the trial pairs before.
    """
    again, before = _numbers(function, _TRIAL[:1]), found[:1]
    if again.shape == before.shape and torch.allclose(
        again, before, rtol=_SAME, atol=_SAME, equal_nan=True
    ):
        return ""
    name = getattr(function, "__name__", type(function).__name__)
    return (
        f"{name} gave {before[0].tolist()} for a pair, and {again[0].tolist()} for the same pair "
        "alone: its answers drift, or depend on the other pairs of a call, so explanations are not "
        "sound: make it give one answer for a pair, as by a fixed seed"
    )


def _meaning(found: Tensor, labels: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    """What the numbers of a function mean, and the names of what it decides between."""
    if found.dim() == 1 and labels is None:
        return SCORE, OF_A_SCORE
    classes = 2 if found.dim() == 1 else found.shape[1]
    names = tuple(map(str, range(classes) if labels is None else labels))
    if len(names) != classes or len(set(names)) != classes:
        raise UserError(
            f"labels={list(names)}: the function gives {classes} classes: give each a name of its "
            "own"
        )
    _logits(found, "softmax", classes)
    return "softmax", names


def _logits(found: Tensor, outputs: str, classes: int) -> Tensor:
    """The outputs (n, M) of what a function gave. Raises NoAnswer for what is no answer."""
    if outputs == SCORE:
        if found.dim() != 1:
            raise NoAnswer("the function gave one number for a pair before, and now several")
        return found[:, None].float()
    if found.dim() == 1:
        found = torch.stack([1 - found, found], 1)
    if found.shape[1] != classes:
        raise NoAnswer(f"the function gave {found.shape[1]} classes, and {classes} before")
    # What is not finite fails later, with its pair.
    known = found[found.isfinite().all(1)]
    wrong = ((known < -_SUM) | (known > 1 + _SUM)).any(1) | ((known.sum(1) - 1).abs() > _SUM)
    if bool(wrong.any()):
        raise NoAnswer(
            f"the function gave {[round(p, 4) for p in known[wrong][0].tolist()]}, which are no "
            "probabilities: they are from 0 to 1 and add up to 1; scores are given as one number "
            "for a pair, without labels"
        )
    return found.clamp_min(_LEAST).log().float()
