"""Natural-looking sentence pairs whose deciding words are known.

A pair says one template sentence twice. In one or two slots the sides hold different words, and
the relation of these words alone decides the label; every other word is on both sides, or on
side one only. So each label comes with its evidence: ground truth for explanations.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, combinations, product

import numpy as np

from gmask_pl.data.lexicon import FILLERS, LABELS, PATHS, relation
from gmask_pl.settings import Count, Seed, checked
from gmask_pl.types import PairExample, Span, UserError

# Capital words are slots; a phrase in brackets may be left out, or said on side one only.
FRAMES = (
    "DET [TRAIT] PERSON ACTION [WHEN]",
    "DET [TRAIT] PERSON ACTION in DET PLACE",
    "DET [TRAIT] PERSON HANDLES DET [LOOK] THING",
    "DET [TRAIT] PERSON TENDS DET ANIMAL",
    "DET [TRAIT] PERSON in DET PLACE",
    "DET ANIMAL LIVES [HOW] [in DET PLACE]",
    "DET ANIMAL in DET PLACE",
    "DET [LOOK] THING in DET PLACE",
)
DETERMINERS = ("a", "a", "the", "the", "this", "that")
TWO_GROUPS = 0.25  # share of the pairs with two deciding slots
SPOKEN = 0.5  # chance that a phrase in brackets is said
DROPPED = 0.2  # chance that a spoken phrase without a deciding word is on side one only
BALANCING_ROUNDS = 2
# A fixed order, so that the test pairs do not depend on how many pairs train asks for.
SPLITS = ("test", "dev", "train")

# Labels are in the order of natural logic: what contradicts outweighs what adds, and that what
# follows. So the label of a pair is the highest of its slots, and those slots are its evidence.
COMPOSITIONS = {
    (slots, label): [c for c in product(range(len(LABELS)), repeat=slots) if max(c) == label]
    for slots in (1, 2)
    for label in range(len(LABELS))
}
PHRASES = [
    [(bool(bracket), words.split()) for bracket, words in re.findall(r"(\[?)([^][]+)\]?", frame)]
    for frame in FRAMES
]
FILLER_WORDS = {slot: [w.replace("-", " ") for w in ws.split()] for slot, ws in FILLERS.items()}


@dataclass(slots=True)
class _Said:
    """What one slot says on each side (nothing on side two if dropped), and its label."""

    side1: str
    side2: str
    label: int | None = None


class Planted:
    """``dataset=planted``: pairs of a template grammar, with evidence. A types.PairSource.

    Sizes are numbers of pairs; all pairs of the three splits are distinct. path: None, as every
    dataset has that setting and these pairs are made. Raises UserError for another path, and for
    a size below 1 or beyond the grammar.
    """

    labels: tuple[str, ...] = LABELS

    @checked
    def __init__(
        self,
        *,
        name: str,
        path: str | None,
        seed: Seed,
        train_size: Count,
        dev_size: Count,
        test_size: Count,
    ) -> None:
        if path is not None:
            raise UserError(
                f"dataset.path={path}: planted pairs are made, not read; choose another dataset, "
                "or leave the path out"
            )
        self.name = name
        self.seed = seed
        self.sizes = {"train": train_size, "dev": dev_size, "test": test_size}
        if (total := sum(self.sizes.values())) > capacity():
            raise UserError(
                f"dataset.train_size={train_size}: with dev and test that is {total} pairs, but "
                f"the planted grammar gives {capacity()}; ask for fewer"
            )

    def load(self, split: str) -> list[PairExample]:
        """The pairs of ``split`` (train, dev or test), the same at every call."""
        if split not in self.sizes:
            raise UserError(f"split={split!r}: the planted data set has {', '.join(self.sizes)}")
        return self._splits[split]

    def failed(self, split: str) -> dict[str, str]:
        """No line: every pair is made."""
        return {}

    @cached_property
    def _splits(self) -> dict[str, list[PairExample]]:
        rng = random.Random(self.seed)
        seen: set[tuple[str, str]] = set()
        splits: dict[str, list[PairExample]] = {}
        for split in SPLITS:
            examples: list[PairExample] = []
            labels: list[int] = []
            while len(examples) < self.sizes[split]:
                labels = labels or rng.sample(range(len(LABELS)), len(LABELS))
                pair = draw_pair(rng, labels[-1], f"{self.name}-{split}-{len(examples):05d}")
                if (pair.text1, pair.text2) not in seen:
                    seen.add((pair.text1, pair.text2))
                    examples.append(pair)
                    labels.pop()
            splits[split] = examples
        return splits


def capacity() -> int:
    """A number of distinct pairs with balanced labels that the grammar gives for certain.

    It counts the pairs with every phrase said, one deciding slot and one choice of determiners.
    """
    by_label = [0] * len(LABELS)
    for frame in PHRASES:
        slots = [slot for _, phrase in frame for slot in phrase]
        sentences = math.prod(len(PATHS.get(s, FILLER_WORDS.get(s, [s]))) for s in slots)
        for slot in (s for s in slots if s in PATHS):
            for label, (pairs, _) in enumerate(word_pairs(slot)):
                by_label[label] += sentences // len(PATHS[slot]) * len(pairs)
    return len(LABELS) * min(by_label)


@cache
def deciding_slots() -> dict[int, list[list[str]]]:
    together = {
        both
        for frame in PHRASES
        for both in combinations([s for _, p in frame for s in p if s in PATHS], 2)
    }
    return {1: [[slot] for slot in PATHS], 2: [list(both) for both in sorted(together)]}


@cache
def word_pairs(slot: str) -> list[tuple[list[tuple[str, str]], list[float]]]:
    """By label, the word pairs of a slot and the cumulative weights to draw them by.

    Drawn evenly, a hypernym on side two would nearly always mean entailment. So the weight of
    a pair falls with the number of partners of its words, and then, in a few rounds, with the
    share of the label among all pairs with the same word on the same side.
    """
    words = list(PATHS[slot])
    labels = np.array([[relation(a, b, slot) for b in words] for a in words], dtype=object)
    weight = (labels == np.arange(len(LABELS))[:, None, None]).astype(float)
    weight /= weight.sum(1, keepdims=True).clip(1) * weight.sum(2, keepdims=True).clip(1)
    for _ in range(BALANCING_ROUNDS):
        weight /= weight.sum((1, 2), keepdims=True)
        for side in (weight.sum(1, keepdims=True), weight.sum(2, keepdims=True)):
            weight /= np.sqrt(np.where(side > 0, side / side.sum(0), 1.0))
    return [
        ([(words[i], words[j]) for i, j in np.argwhere(w)], list(accumulate(w[w > 0].tolist())))
        for w in weight
    ]


def draw_pair(rng: random.Random, label: int, name: str) -> PairExample:
    """One pair with the given label and id."""
    count = 2 if rng.random() < TWO_GROUPS else 1
    labels = rng.choice(COMPOSITIONS[count, label])
    slots = rng.sample(rng.choice(deciding_slots()[count]), count)
    deciding = dict(zip(slots, labels, strict=True))
    frame = rng.choice([f for f in PHRASES if deciding.keys() <= {s for _, p in f for s in p}])
    said: list[_Said] = []
    for optional, phrase in frame:
        optional = optional and deciding.keys().isdisjoint(phrase)
        if optional and rng.random() >= SPOKEN:
            continue
        dropped = optional and rng.random() < DROPPED
        for slot in phrase:
            said.append(_fill(rng, slot, deciding.get(slot)))
            if dropped:
                said[-1].side2 = ""
    _add_determiners(rng, said)
    return _render(said, label, name)


def _fill(rng: random.Random, slot: str, label: int | None) -> _Said:
    if label is not None:
        pairs, weights = word_pairs(slot)[label]
        return _Said(*rng.choices(pairs, cum_weights=weights)[0], label)
    if slot in PATHS:
        word = rng.choice(list(PATHS[slot]))
    else:
        word = rng.choice(FILLER_WORDS.get(slot, [slot]))
    return _Said(word, word)


def _add_determiners(rng: random.Random, said: list[_Said]) -> None:
    """Replace each DET by one word that fits on both sides, so never ``a`` against ``an``."""
    for i, slot in enumerate(said):
        if slot.side1 == "DET":
            word = rng.choice(DETERMINERS)
            heads = said[i + 1].side1, next((s.side2 for s in said[i + 1 :] if s.side2), "")
            if word == "a" and any(head.startswith(tuple("aeiou")) for head in heads):
                word = "the"
            slot.side1 = word
            slot.side2 = slot.side2 and word


def _render(said: list[_Said], label: int, name: str) -> PairExample:
    words1 = [(w, i) for i, s in enumerate(said) for w in s.side1.split()]
    words2 = [(w, i) for i, s in enumerate(said) for w in s.side2.split()]
    evidence = tuple(
        frozenset(p for p, (_, j) in enumerate(words1 + words2) if j == i)
        for i, slot in enumerate(said)
        if slot.label == label
    )
    text1, text2 = (" ".join(w for w, _ in words) for words in (words1, words2))
    return PairExample(
        name, text1, text2, _spans(text1), _spans(text2), label=label, evidence=evidence
    )


def _spans(text: str) -> tuple[Span, ...]:
    return tuple(match.span() for match in re.finditer(r"\S+", text))
