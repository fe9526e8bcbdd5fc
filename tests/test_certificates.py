"""What the model said of every mask is kept, and certificates are exact over it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import zoo

from gmask_pl import (
    GMask,
    Lime,
    Occlusion,
    PairExplainer,
    Responses,
    read_explanations,
)
from gmask_pl.certificates import GroupCertificate, WordSet, certified
from gmask_pl.types import Groups

Words = frozenset[int]


def subsets(words: Sequence[int]) -> Iterator[Words]:
    for size in range(len(words) + 1):
        yield from map(frozenset, combinations(words, size))


class Table:
    """A random model of a few words among others, which it has been asked about."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.n1, n2 = draw.randint(1, 4), draw.randint(1, 4)
        self.all = frozenset(range(self.n1 + n2))
        self.words = sorted(draw.sample(sorted(self.all), draw.randint(1, min(6, len(self.all)))))
        self.asked = {mask for own in subsets(self.words) for mask in (own, self.all - own)}
        self.value = {mask: float(np.float32(draw.random())) for mask in self.asked}
        # Now and then few or no subsets lead to the decision, or all do.
        often = draw.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        self.same = {mask: draw.random() < often for mask in self.asked}
        cut = draw.randint(0, len(self.words))
        groups = [self.words[:cut], self.words[cut:]]
        self.groups = Groups(
            candidates=tuple(draw.sample(self.words, len(self.words))),
            phi=(),
            psi=(0.7, 0.3),
        )
        phi = [tuple(float(word in own) for own in groups) for word in self.groups.candidates]
        self.groups = replace(self.groups, phi=tuple(phi))

    @property
    def responses(self) -> Responses:
        masks = sorted(self.asked, key=sorted)
        return Responses.of(
            np.array([[word in mask for word in sorted(self.all)] for mask in masks]),
            np.array([self.value[mask] for mask in masks], dtype=np.float32),
            np.array([self.same[mask] for mask in masks]),
            np.zeros((len(masks), 0), dtype=np.float32),
        )

    def smallest(self, *, kept: bool) -> WordSet | None:
        def mask(own: Words) -> Words:
            return own if kept else self.all - own

        works = [own for own in subsets(self.words) if self.same[mask(own)] is kept]
        if not works:
            return None
        fewest = [own for own in works if len(own) == min(map(len, works))]
        sign = -1 if kept else 1
        best = min(fewest, key=lambda own: (sign * self.value[mask(own)], sorted(own)))
        return WordSet(tuple(sorted(best)), self.value[mask(best)], len(fewest) - 1)

    def of(self, group: Words) -> GroupCertificate:
        one = frozenset(word for word in group if word < self.n1)
        two, v, every = group - one, self.value, self.all
        across = bool(one and two)
        alone = v[frozenset()] + sum(v[frozenset({w})] - v[frozenset()] for w in group)
        left = v[every] - sum(v[every] - v[every - {w}] for w in group)
        return GroupCertificate(
            words=tuple(sorted(group)),
            kept=v[group],
            kept_by_words=alone,
            kept_across=v[group] - v[one] - v[two] + v[frozenset()] if across else None,
            removed=v[every - group],
            removed_by_words=left,
            removed_across=v[every] - v[every - one] - v[every - two] + v[every - group]
            if across
            else None,
        )


def test_certificates_are_what_brute_force_says_of_a_thousand_tables() -> None:
    lacking = {True: 0, False: 0}
    for seed in range(1000):
        table = Table(seed)
        found = certified(table.responses, table.groups, read=sorted(table.all), first=table.n1)
        assert found is not None
        assert found.words == tuple(table.words)
        assert found.empty == table.value[frozenset()]
        assert found.sufficient == table.smallest(kept=True)
        assert found.contrastive == table.smallest(kept=False)
        lacking[True] += found.sufficient is None
        lacking[False] += found.contrastive is None
        members = table.groups.members.values()
        for own, group in zip(found.groups, members, strict=True):
            expected = table.of(group)
            for name in GroupCertificate.__dataclass_fields__:
                assert getattr(own, name) == pytest.approx(getattr(expected, name), abs=1e-12)
    assert all(lacking.values())


def test_what_was_not_asked_is_not_certified() -> None:
    table = next(one for one in map(Table, range(9)) if 1 < len(one.words) < len(one.all))
    said = table.responses
    whole = [said.find(table.all - own) for own in subsets(table.words)]
    alone = [said.find(own) for own in subsets(table.words)]
    for rows, asked in ((alone, (True, False)), (whole, (False, True)), (alone[:-1], None)):
        part = Responses(
            said.words,
            said.masks[rows],
            said.values[rows],
            said.same[rows],
            said.probabilities[rows],
        )
        found = certified(part, table.groups, read=sorted(table.all), first=table.n1)
        if asked is None:
            assert found is None
            continue
        assert found is not None
        assert (found.kept_asked, found.removed_asked) == asked
        assert found.sufficient == (table.smallest(kept=True) if asked[0] else None)
        assert found.contrastive == (table.smallest(kept=False) if asked[1] else None)
        assert {own.kept is None for own in found.groups} == {not asked[0]}
        assert {own.removed is None for own in found.groups} == {not asked[1]}


def model(pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
    """Three classes, by which words are there and how many."""
    found = []
    for a, b in pairs:
        both = float("guitar" in a and "banjo" in b)
        weights = [0.9 + 3 * both, 1 + 0.1 * len(a.split()), 1 + 0.2 * len(b.split())]
        found.append([weight / sum(weights) for weight in weights])
    return found


LABELS = ["contradiction", "neutral", "entailment"]
ONE, TWO = "a man plays the guitar", "one man had a banjo"


@pytest.mark.parametrize(
    "method", ["joint_groups", "lime", "random", GMask(k=4, t=2, word_filter=Occlusion())]
)
def test_what_is_kept_is_what_the_model_says_itself(method: str) -> None:
    explain = PairExplainer(model, method=method, labels=LABELS, removal="delete")
    found = explain(ONE, TWO)
    said = found.responses
    assert said is not None
    assert 1 <= len(said) <= found.evaluations
    whole = model([(ONE, TWO)])[0]
    for kept, value, same, p in zip(
        said.kept, said.values, said.same, said.probabilities, strict=True
    ):
        words = [
            [word for word, there in zip(own, part, strict=True) if there]
            for own, part in ((found.words1, kept[:5]), (found.words2, kept[5:]))
        ]
        (direct,) = model([(" ".join(words[0]), " ".join(words[1]))])
        assert p == pytest.approx(direct, abs=1e-6)
        assert value == pytest.approx(direct[0], abs=1e-6)
        assert same == (direct.index(max(direct)) == whole.index(max(whole)))
    assert said.value(range(10)) == pytest.approx(whole[0], abs=1e-6)
    assert len(set(map(bytes, said.masks))) == len(said)


def test_the_sets_of_a_known_model() -> None:
    found = PairExplainer(model, labels=LABELS)(ONE, TWO).certificates
    assert found is not None
    assert found.kept_asked
    assert found.removed_asked
    assert found.sufficient is not None
    assert found.contrastive is not None
    assert found.sufficient.words == (4, 9)
    assert found.sufficient.others == 0
    assert found.contrastive.words in ((4,), (9,))
    assert found.contrastive.others == 1


def test_a_method_that_asks_about_kept_words_alone_says_so() -> None:
    method = GMask(k=4, t=2, word_filter=Occlusion())
    found = PairExplainer(model, method=method, labels=LABELS)(ONE, TWO).certificates
    assert found is not None
    assert found.kept_asked
    assert not found.removed_asked
    assert found.sufficient is not None
    assert found.contrastive is None
    assert PairExplainer(model, method="lime", labels=LABELS)(ONE, TWO).certificates is None


def test_answers_can_be_left_out_and_nothing_else_changes() -> None:
    explain = PairExplainer(model, labels=LABELS)
    full = explain(ONE, TWO)
    bare = PairExplainer(model, labels=LABELS, responses=False)(ONE, TWO)
    assert bare.responses is None
    assert bare.certificates == full.certificates
    assert replace(full, responses=None, seconds=bare.seconds) == bare
    assert "responses" not in full.to_dict()


@pytest.mark.parametrize(
    "explain",
    [
        PairExplainer(model, labels=LABELS),
        PairExplainer(lambda pairs: [float("dog" in a) for a, _ in pairs]),
        PairExplainer(model, method=Lime(samples=20), labels=LABELS),
        PairExplainer(model, method="random", labels=LABELS, responses=False),
    ],
)
def test_files_hold_them(explain: PairExplainer, tmp_path: Path) -> None:
    found = explain.many([(ONE, TWO), ("a dog", "no dogs")])
    path = found.to_parquet(tmp_path / "e.parquet")
    back = list(read_explanations(path))
    assert back == found
    for one, other in zip(found, back, strict=True):
        assert one.certificates == other.certificates
        assert one.responses == other.responses
        assert hash(one) == hash(other)


def test_answers_differ_where_one_of_them_does() -> None:
    said = Table(3).responses
    for name in ("masks", "values", "same"):
        array = getattr(said, name).copy()
        array[0] = ~array[0] if array.dtype == bool else array[0] + 1
        assert replace(said, **{name: array}) != said
    assert replace(said, values=said.values.copy()) == said
    assert said != "answers"


@pytest.mark.filterwarnings("ignore::gmask_pl.api.Truncated")
def test_words_that_the_model_does_not_read_are_in_no_mask() -> None:
    bert = zoo.made("bert")
    explain = PairExplainer(bert.network, bert.tokenizer, max_length=16)
    found = explain("a dog " * 20, "a cat")
    said, read = found.responses, sorted(set(range(42)) - set(found.unread))
    assert said is not None
    assert found.unread
    assert not said.kept[:, list(found.unread)].any()
    assert said.value(read) == pytest.approx(found.value, abs=1e-6)
    assert found.certificates is not None
    assert found.certificates.removed_asked
