"""Agreement with human rationales (ERASER, DeYoung et al., ACL 2020, Section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.bootstrap import numbers
from gmask_pl.metrics.pair_metric import ModelFreeMetric, Row
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.settings import Range, checked
from gmask_pl.types import JSON, Highlight, PairExample

_NAMES = ("", "token_f1", "iou_f1")
Scores = Mapping[int, float]  # of the words that take part, by their positions


class RationaleAgreement(ModelFreeMetric):
    """How well word scores agree with the words that people highlighted (ERASER, Section 4.1).

    Only the words of annotated sides take part: on the others it is unknown what people would
    have marked. An annotator's m marked words are compared with the scores themselves (AUPRC)
    and with the m best words (so precision, recall and F1 of words are one number):

    - AUPRC: average precision of the scores against the marked words.
    - token F1: the share of the m best words that are marked.
    - IOU F1: spans are maximal runs of neighbouring words of one side. A span of the m best
      words counts as found where its intersection over union with a marked span is at least
      ``iou_threshold``. Precision and recall are taken per pair, averaged over pairs, and F1 is of
      the averages, as ERASER's macro average.

    Settings:

    - iou_threshold: above 0, at most 1; 0.5 in ERASER.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    A pair with several annotators counts once, with the mean of their rows. Where an annotator
    marked no word or all words of these sides, every ranking agrees alike, and that annotation
    does not count. People explain the gold label, and explainers the prediction.

    A row is (AUPRC, token F1, IOU precision, IOU recall).

    >>> from gmask_pl import PairExplainer, RationaleAgreement
    >>> from gmask_pl.types import Highlight, PairExample
    >>> def model(pairs):
    ...     return [float("not" in a and "never" in b) for a, b in pairs]
    >>> marked = Highlight(words1=frozenset({0}), words2=frozenset({0}))
    >>> pair = PairExample(
    ...     "1", "not now", "never", ((0, 3), (4, 7)), ((0, 5),), highlights=(marked,)
    ... )
    >>> explain = PairExplainer(model, method="occlusion")
    >>> metric = RationaleAgreement()
    >>> metric.update(explain(pair.text1, pair.text2), pair)
    >>> metric.compute(["no", "yes"])["value"]
    1.0
    """

    presentation = Presentation(
        meaning="area under the precision-recall curve of the scores for the words people marked",
        unit="area",
        range=(0, 1),
    )

    @checked
    def __init__(
        self, *, iou_threshold: Annotated[float, Range(0, 1, above=True)] = 0.5, **bootstrap: Any
    ) -> None:
        super().__init__(**bootstrap)
        self.iou_threshold = iou_threshold
        self.labels: dict[str, int | None] = {}
        self.by_annotator: dict[int, list[Row]] = {}

    def knows(self, example: PairExample) -> bool:
        return bool(example.highlights)

    def add(self, explanation: Explanation, example: PairExample) -> None:
        rows = []
        n1 = len(example.spans1)
        for annotator, highlight in enumerate(example.highlights):
            row = agreement_row(explanation.scores, n1, highlight, self.iou_threshold)
            self.by_annotator.setdefault(annotator, [])
            if row is not None:
                self.by_annotator[annotator].append(row)
                rows.append(row)
        if rows:
            columns = zip(*rows, strict=True)
            self.rows[example.id] = tuple(sum(column) / len(rows) for column in columns)
            self.labels[example.id] = example.label

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """AUPRC (...) of averaged rows (..., 4)."""
        return averages[..., 0]

    def compute(self, labels: Sequence[str]) -> JSON:
        """Numbers with 95 % bootstrap intervals over pairs; None, and n = 0, where there is none.

        value, low, high, n: AUPRC. token_f1, iou_f1, each with _low and _high. by_label,
        by_annotator: the same for each gold label and each annotator, counted from 1.
        """
        of_label = {
            name: [row for id, row in self.rows.items() if self.labels[id] == index]
            for index, name in enumerate(labels)
        }
        by_annotator = {str(a + 1): rows for a, rows in sorted(self.by_annotator.items())}
        return {
            **self._summary(self.rows.values()),
            "by_label": {name: self._summary(rows) for name, rows in of_label.items()},
            "by_annotator": {name: self._summary(rows) for name, rows in by_annotator.items()},
        }

    def _summary(self, rows: Iterable[Row]) -> JSON:
        given = list(rows)
        columns: list[list[float | None]] = [[None] * len(_NAMES)] * 3
        if given:
            table = torch.tensor(given, dtype=torch.float64)
            found = self.estimate(table, _statistic)
            columns = [numbers(part) for part in (found.value, found.low, found.high)]
        summary: JSON = {"n": len(given)}
        for name, value, low, high in zip(_NAMES, *columns, strict=True):
            keys = (name, f"{name}_low", f"{name}_high") if name else ("value", "low", "high")
            summary |= dict(zip(keys, (value, low, high), strict=True))
        return summary


def agreement_row(
    scores: Sequence[float], n1: int, highlight: Highlight, threshold: float
) -> Row | None:
    """(AUPRC, token F1, IOU precision, IOU recall) of one pair, see `RationaleAgreement`.

    - scores (W,): the first n1 are of side one.
    - highlight: what one annotator marked.
    - threshold: of the intersection over union from which on a span is found.

    None where the annotator marked none or all of the words of the sides that were annotated.

    >>> from gmask_pl.metrics.plausibility.rationale_agreement import agreement_row
    >>> from gmask_pl.types import Highlight
    >>> marked = Highlight(words1=frozenset({0}), words2=frozenset({0}))  # the first of each side
    >>> agreement_row([0.9, 0.8, 0.1, 0.2], 2, marked, threshold=0.5)
    (0.75, 0.5, 1.0, 0.5)
    """
    sides = ((0, n1, highlight.words1), (n1, len(scores), highlight.words2))
    annotated = [(start, stop, words) for start, stop, words in sides if words is not None]
    shown = {w: scores[w] for start, stop, _ in annotated for w in range(start, stop)}
    marked = frozenset(start + word for start, _, words in annotated for word in words)
    if not marked or len(marked) == len(shown):
        return None
    best = top_words(shown, len(marked))
    predicted, known = spans(best, n1), spans(marked, n1)
    matches = span_matches(predicted, known, threshold)
    return (
        average_precision(shown, marked),
        len(best & marked) / len(marked),
        matches / len(predicted),
        matches / len(known),
    )


def _statistic(averages: Tensor) -> Tensor:
    """AUPRC, token F1 and IOU F1 (..., 3) of averaged rows (..., 4); F1 of 0 and 0 is 0."""
    area, token_f1, precision, recall = averages.unbind(-1)
    iou_f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    return torch.stack([area, token_f1, iou_f1], dim=-1)


def top_words(scores: Scores, m: int) -> frozenset[int]:
    """The m words with the highest scores; of equal scores the earlier position goes first.

    >>> from gmask_pl.metrics.plausibility.rationale_agreement import top_words
    >>> sorted(top_words({0: 0.1, 1: 0.9, 2: 0.5}, 2))
    [1, 2]
    """
    return frozenset(sorted(scores, key=lambda word: (-scores[word], word))[:m])


def average_precision(scores: Scores, known: Set[int]) -> float:
    """Area under the precision-recall curve as sum_t (R_t - R_{t-1}) P_t, in (0, 1].

    t runs over the distinct scores from the highest, so equal scores enter together and their
    order does not matter. Raises ValueError where no word that takes part is known to matter.

    >>> from gmask_pl.metrics.plausibility.rationale_agreement import average_precision
    >>> average_precision({0: 0.9, 1: 0.5, 2: 0.1}, {0, 2})  # 1/2 * 1/1 + 1/2 * 2/3
    0.8333333333333333
    """
    positives = known & scores.keys()
    if not positives:
        raise ValueError("average precision needs at least one known word")
    levels: dict[float, list[int]] = {}
    for word, score in scores.items():
        levels.setdefault(score, []).append(word)
    seen = hits = 0
    area = 0.0
    for score in sorted(levels, reverse=True):
        found = sum(word in positives for word in levels[score])
        seen, hits = seen + len(levels[score]), hits + found
        area += found / len(positives) * hits / seen
    return area


def spans(words: Set[int], n1: int) -> list[range]:
    """The maximal runs of neighbouring words, none across the border before position n1.

    >>> from gmask_pl.metrics.plausibility.rationale_agreement import spans
    >>> spans({0, 1, 2, 5}, 2)  # word 2 is the first of side two
    [range(0, 2), range(2, 3), range(5, 6)]
    """
    found: list[range] = []
    for word in sorted(words):
        if found and found[-1].stop == word and word != n1:
            found[-1] = range(found[-1].start, word + 1)
        else:
            found.append(range(word, word + 1))
    return found


def span_matches(predicted: list[range], known: list[range], threshold: float) -> int:
    """How many predicted spans have an intersection over union >= threshold with a known one.

    >>> from gmask_pl.metrics.plausibility.rationale_agreement import span_matches
    >>> span_matches([range(0, 2), range(4, 5)], [range(0, 1)], 0.5)
    1
    """
    return sum(any(_iou(p, k) >= threshold for k in known) for p in predicted)


def _iou(one: range, two: range) -> float:
    shared = max(0, min(one.stop, two.stop) - max(one.start, two.start))
    return shared / (len(one) + len(two) - shared)
