"""What was found about one pair, and the ways to read it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gmask_pl.certificates import Certificates, WordSet
from gmask_pl.escaping import visible
from gmask_pl.responses import Responses
from gmask_pl.types import JSON, SUBSTITUTES, TOGETHER, Groups, Interactions, Span, UserError

TRUNCATED = "truncated: the pair is longer than the model reads, and is explained by what it read"
NOISE = 1e-6  # at most so large, by itself or against the largest of the pair, a score counts as 0
_SHOWN = 40  # characters of a text in a repr


def counted(scores: Sequence[float]) -> tuple[float, ...]:
    """Scores as people are told them: rounding errors of the model are 0.

    They are those of `NOISE`. The scores of an explanation stay as they were found.

    >>> from gmask_pl.explanation import counted
    >>> counted((0.5, -1e-9, 0.0))
    (0.5, 0.0, 0.0)
    """
    least = NOISE * max(1.0, *map(abs, scores)) if scores else NOISE
    return tuple(0.0 if abs(score) <= least else score for score in scores)


TOLD_KINDS = {
    TOGETHER: "act together",
    SUBSTITUTES: "can stand in for one another",
}


@dataclass(frozen=True, slots=True)
class WordGroup:
    """A group of words of one pair.

    - words, and their positions in the joint order of both sides.
    - importance: psi, the group's share among the groups.
    - kept_alone: the number that is asked for when only these words are kept; removed: when they
      are taken out of the text. None where the method has not asked the model.
    - kind: ``together`` where the words do more than one by one, ``substitutes`` where they do
      less, as one can stand in for another, "" of a single word. None where the method does not
      tell; so for the next three.
    - suffices: whether these words alone lead to the decision, and the empty pair does not; missed:
      whether the decision changes without them; stability: how much of the group is found again in
      changed conditions, from 0 to 1.

    >>> from gmask_pl import WordGroup
    >>> print(WordGroup(("guitar", "banjo"), (4, 9), 0.8, kept_alone=0.9, removed=0.1))
    0.80 guitar banjo (alone 0.900, without 0.100)
    """

    words: tuple[str, ...]
    positions: tuple[int, ...]
    importance: float
    kept_alone: float | None = None
    removed: float | None = None
    kind: str | None = None
    suffices: bool | None = None
    missed: bool | None = None
    stability: float | None = None

    @property
    def told(self) -> str:
        """What the group does, in one line for people; "" where nothing is known."""
        told = [("alone", self.kept_alone), ("without", self.removed)]
        known = [", ".join(f"{name} {value:.3f}" for name, value in told if value is not None)]
        known.append(
            ", ".join(
                name
                for name, does in (("suffices", self.suffices), ("is missed", self.missed))
                if does
            )
        )
        known.append(TOLD_KINDS.get(self.kind or "", ""))
        known.append("" if self.stability is None else f"stable {self.stability:.2f}")
        return "; ".join(filter(None, known))

    def __str__(self) -> str:
        known = self.told
        words = " ".join(map(visible, self.words))
        return f"{self.importance:.2f} {words}" + (f" ({known})" if known else "")


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """One explained pair, as it is stored and shown.

    - words1, words2: the words of both sides, or what else has a score; spans1, spans2: where each
      stands, as ``text1[start:end]``. text1, text2: the texts as the model read them; of a
      `PairExplainer` that does not clean, as they were given.
    - scores: one for each word, side one first, then side two. score_meaning: their unit, and what
      their sign says.
    - question: the name of the number that is explained; value: that number of the whole pair. None
      where an earlier version explained the probability of the prediction.
    - label: the known class; prediction: the class that the model predicts, an index of ``labels``.
      probabilities: of all classes or labels; there are none of a score, whose prediction is 1
      where it is at least the threshold, else 0.
    - groups, interactions: where the method finds them; see `word_groups`.
    - evaluations: the masked inputs that the model answered (each distinct mask once); gradients:
      how many of these were also differentiated; seconds: the pair's share of its batch's
      wall-clock time, nan where answers that another run was given took part.
    - method, removal: how it was explained, and how words were removed.
    - unread: the positions of words that the model did not read, as it cuts long pairs. Their
      scores are 0 and say nothing.
    - certificates: what the answers to all subsets of the candidates prove; None where the method
      has not asked for all. responses: the model's answer to every mask that was asked, which is
      what a page answers from; None where they are not kept. See `Certificates`, `Responses`.
    - warnings: why to be careful with it. truncated: the model could not read the whole pair; None
      where that is not known.

    >>> from gmask_pl import PairExplainer
    >>> def shared(pairs):
    ...     return [float(len(set(a.split()) & set(b.split()))) for a, b in pairs]
    >>> explain = PairExplainer(shared, method="occlusion", removal="delete")
    >>> found = explain("two dogs run", "dogs sleep")
    >>> found
    <Explanation of 'two dogs run' | 'dogs sleep': score 1.000; dogs +1.00, dogs +1.00>
    >>> [found.text1[start:end] for start, end in found.spans1]
    ['two', 'dogs', 'run']
    """

    id: str
    words1: tuple[str, ...]
    words2: tuple[str, ...]
    label: int | None
    prediction: int
    probabilities: tuple[float, ...]
    scores: tuple[float, ...]
    groups: Groups | None
    evaluations: int
    gradients: int
    seconds: float
    interactions: Interactions | None = None
    truncated: bool | None = None
    question: str | None = None
    value: float | None = None
    labels: tuple[str, ...] = ()
    text1: str | None = None
    text2: str | None = None
    spans1: tuple[Span, ...] | None = None
    spans2: tuple[Span, ...] | None = None
    score_meaning: str | None = None
    method: str | None = None
    removal: str | None = None
    warnings: tuple[str, ...] = ()
    unread: tuple[int, ...] = ()
    certificates: Certificates | None = None
    responses: Responses | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """In the joint order that ``scores`` and word positions follow.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain("the dog", "a cat")
        >>> found.words
        ('the', 'dog', 'a', 'cat')
        """
        return self.words1 + self.words2

    @property
    def sides(self) -> tuple[int, ...]:
        """Of every word in the joint order: 1 or 2.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain("the dog", "a cat")
        >>> found.sides
        (1, 1, 2, 2)
        """
        return (1,) * len(self.words1) + (2,) * len(self.words2)

    @property
    def studied(self) -> frozenset[int]:
        """The positions of the words whose scores say what they do.

        Of a method with groups these are the candidates: all other words are only ranked behind.

        >>> from gmask_pl import GMask, Occlusion, PairExplainer
        >>> method = GMask(k=2, t=2, word_filter=Occlusion())
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method=method)
        >>> len(explain("the dog", "a cat").studied)
        2
        """
        own = range(len(self.words)) if self.groups is None else self.groups.candidates
        return frozenset(own)

    @property
    def predicted(self) -> str:
        """The name of the predicted class, its number where the labels are not known.

        >>> from gmask_pl import PairExplainer
        >>> def model(pairs):
        ...     return [[0.1, 0.9] if "dog" in a else [0.9, 0.1] for a, _ in pairs]
        >>> explain = PairExplainer(model, method="occlusion", labels=["no", "yes"])
        >>> explain("the dog", "a cat").predicted
        'yes'
        """
        return self.labels[self.prediction] if self.labels else str(self.prediction)

    def top(self, n: int = 5) -> list[tuple[str, float]]:
        """The n words with the highest scores, and these; of equals the earlier first.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda pairs: [float("dog" in a) for a, _ in pairs])
        >>> explain("the dog", "a cat").top(1)
        [('dog', 1.0)]
        """
        return [(self.words[word], self.scores[word]) for word in self.ranked()[:n]]

    def ranked(self) -> list[int]:
        """The positions of all words, the highest score first; of equals the earlier first.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain("the dog", "a cat")
        >>> found.ranked()
        [1, 0, 2, 3]
        """
        return sorted(range(len(self.scores)), key=lambda word: -self.scores[word])

    @property
    def word_groups(self) -> tuple[WordGroup, ...]:
        """The groups that have words, the most important first; () where there are none.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a and "cat" in b) for a, b in p])
        >>> found = explain("the dog", "a cat")
        >>> found.word_groups[0].words, found.word_groups[0].positions
        (('dog', 'cat'), (1, 3))
        """
        groups = self.groups
        if groups is None:
            return ()
        told: dict[str, tuple[Any, ...] | None] = {
            "kept_alone": groups.kept,
            "removed": groups.removed,
            "kind": groups.kinds,
            "suffices": groups.suffices,
            "missed": groups.missed,
            "stability": groups.stability,
        }
        return tuple(
            WordGroup(
                words=tuple(self.words[position] for position in sorted(members)),
                positions=tuple(sorted(members)),
                importance=groups.psi[group],
                **{name: values[group] for name, values in told.items() if values},
            )
            for group, members in groups.members.items()
        )

    @property
    def top_group(self) -> tuple[str, ...]:
        """The words of the most important group; () where the method finds no groups.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a and "cat" in b) for a, b in p])
        >>> found = explain("the dog", "a cat")
        >>> found.top_group
        ('dog', 'cat')
        """
        return next((group.words for group in self.word_groups), ())

    @property
    def enough(self) -> str:
        """The words of ``certificates.sufficient``; "" where there is none.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [[0, 1] if "dog" in a else [1, 0] for a, _ in p])
        >>> explain("the dog", "a cat").enough
        'dog'
        """
        return self._words_of("sufficient")

    @property
    def needed(self) -> str:
        """The words of ``certificates.contrastive``; "" where there is none.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [[0, 1] if "dog" in a else [1, 0] for a, _ in p])
        >>> explain("the dog", "a cat").needed
        'dog'
        """
        return self._words_of("contrastive")

    def _words_of(self, name: str) -> str:
        found: WordSet | None = getattr(self.certificates, name, None)
        return " ".join(self.words[word] for word in found.words) if found else ""

    def to_dict(self) -> JSON:
        """All but ``responses``, as JSON can hold it: lists and numbers, by the names of fields.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain("the dog", "a cat")
        >>> told = found.to_dict()
        >>> told["words1"], told["scores"]
        (['the', 'dog'], [0.0, 1.0, 0.0, 0.0])
        """
        found: JSON = json.loads(self.to_json())
        return found

    def to_json(self) -> str:
        """`to_dict` as text; numbers that are not finite are null.

        >>> import json
        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain("the dog", "a cat")
        >>> json.loads(found.to_json()) == found.to_dict()
        True
        """
        told = asdict(replace(self, responses=None))
        del told["responses"]
        return json.dumps(_plain(told), ensure_ascii=False, allow_nan=False)

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for every word: side, position, word, score, group, span.

        side: 1 or 2; position: from 0 within its side; group: from 0, the most important one, NaN
        of a word in no group; start, end: of its span. Raises UserError where pandas is missing.

        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain("the dog", "a cat")
        >>> found.to_frame()[["side", "position", "word", "score"]].values.tolist()[:2]
        [[1, 0, 'the', 0.0], [1, 1, 'dog', 1.0]]
        """
        group = {
            word: number
            for number, found in enumerate(self.word_groups)
            for word in found.positions
        }
        n1 = len(self.words1)
        unknown = ((None, None),) * len(self.words)
        spans = [*(self.spans1 or ()), *(self.spans2 or ())] or unknown
        rows = [
            (side, i - n1 * (side == 2), word, score, group.get(i), *span)
            for i, (side, word, score, span) in enumerate(
                zip(self.sides, self.words, self.scores, spans, strict=True)
            )
        ]
        columns = ["side", "position", "word", "score", "group", "start", "end"]
        return pandas_for("to_frame").DataFrame(rows, columns=columns)

    def save(self, path: str | Path) -> Path:
        """Writes a page (``.html``) or a picture (``.svg``, ``.png``) of it; gives the path back.

        They show the same as `_repr_html_`: the prediction, both texts with their words coloured,
        the groups (G1 is the most important one), and the warnings; and beside it how it was made,
        and what the colours mean. None of them needs a network. Raises UserError for another kind
        of file.

        >>> import tempfile
        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain("the dog", "a cat")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(f"{folder}/dog.html").name
        'dog.html'
        """
        from gmask_pl.drawing.saving import save

        return save(self, path)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from gmask_pl.drawing.html import fragment

        return fragment([self])

    def __repr__(self) -> str:
        texts = (self.text1 or " ".join(self.words1), self.text2 or " ".join(self.words2))
        pair = " | ".join(f"'{_short(text)}'" for text in texts)
        said = "" if self.value is None else f" {self.value:.3f}"
        what = visible(self.predicted if self.probabilities else self.question or "score")
        top = ", ".join(f"{visible(word)} {score:+.2f}" for word, score in top_counted(self, 3))
        count = len(self.warnings)
        told = f"; {count} warning{'s' * (count > 1)}" if count else ""
        return f"<Explanation of {pair}: {what}{said}; {top or 'no word counts'}{told}>"


def top_counted(explanation: Explanation, n: int) -> list[tuple[str, float]]:
    """The top words as people are told them: at most n, none that counts as 0, see `counted`."""
    words, told = explanation.words, counted(explanation.scores)
    return [(words[word], told[word]) for word in explanation.ranked()[:n] if told[word] > 0]


def pandas_for(what: str) -> Any:
    """The library pandas. Raises UserError where it is missing."""
    try:
        import pandas
    except ImportError as error:
        raise UserError(f"{what} needs pandas: pip install pandas") from error
    return pandas


def _short(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _plain(value: Any) -> Any:
    """Nested data without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
