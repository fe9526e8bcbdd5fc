"""What stands on a page beside its cards, and what cards answer from."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from test_certificates import LABELS, ONE, TWO, Table, model

from gmask_pl import Explanation, PairExplainer, Responses
from gmask_pl.drawing.answers import embedded, reachable
from gmask_pl.drawing.cards import make_card
from gmask_pl.drawing.comparison import compared
from gmask_pl.drawing.curve import curve_of
from gmask_pl.drawing.html import comparison_page
from gmask_pl.drawing.summary import Summary
from gmask_pl.types import Groups

PAIRS = [(ONE, TWO), ("The guitar", "a banjo sleeps"), ("a dog", "the cat")]


@pytest.fixture(scope="module")
def found() -> list[Explanation]:
    return PairExplainer(model, labels=LABELS).many(PAIRS)


def decoded(told: str) -> list[tuple[frozenset[int], list[float], bool]]:
    """The answers of a card, read apart from the script."""
    known = json.loads(told)
    masks = np.frombuffer(b64decode(known["masks"]), np.uint8).reshape(-1, -(-known["words"] // 8))
    kept = np.unpackbits(masks, axis=1, count=known["words"])
    p = np.frombuffer(b64decode(known["p"]), "<u2").reshape(len(kept), -1) / 65535
    if "v" in known:
        p = np.frombuffer(b64decode(known["v"]), "<f4")[:, None]
    same = np.unpackbits(np.frombuffer(b64decode(known["same"]), np.uint8), count=len(kept))
    return [
        (frozenset(np.flatnonzero(row).tolist()), own.tolist(), bool(one))
        for row, own, one in zip(kept, p, same, strict=True)
    ]


@pytest.mark.parametrize(
    "explain",
    [
        PairExplainer(model, labels=LABELS, removal="delete"),
        PairExplainer(model, labels=LABELS, removal="delete", target="neutral"),
        PairExplainer(
            model, labels=LABELS, removal="delete", target="neutral", against="entailment"
        ),
        PairExplainer(lambda pairs: [1e3 * len(b.split()) - 7 for _, b in pairs]),
    ],
)
def test_a_card_holds_what_the_model_said(explain: PairExplainer) -> None:
    one = explain(ONE, TWO)
    said = one.responses
    assert said is not None
    answers = decoded(embedded(one, one.labels))
    assert len(answers) > 100
    for kept, numbers, same in answers:
        row = said.find(kept)
        assert row is not None
        expected = said.probabilities[row] if len(numbers) == 3 else said.values[[row]]
        assert numbers == pytest.approx(expected.tolist(), abs=1e-5)
        assert same == said.same[row]


def test_only_what_one_word_after_another_leads_to_is_reached() -> None:
    masks = [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)]
    others = np.zeros(4, dtype=np.float32)

    def reached(*rows: int, read: Sequence[int] = (0, 1, 2)) -> set[tuple[int, ...]]:
        kept = np.array([masks[row] for row in rows], dtype=bool)
        own = others[: len(rows)]
        said = Responses.of(kept, own, own == 0, own[:, None])
        return {masks[rows[row]] for row in reachable(said, read)}

    assert reached(0, 1, 2, 3) == set(masks)
    assert reached(1, 2, 3) == {masks[2], masks[3]}  # {0} is one word from the empty pair alone
    assert reached(1, 2) == set()
    # Word 0 is not read: the whole pair is the other two.
    assert reached(2, read=(1, 2)) == {masks[2]}


def test_without_answers_a_card_has_none(found: list[Explanation]) -> None:
    bare = replace(found[0], responses=None)
    assert embedded(bare, LABELS) == ""
    card = make_card(bare, LABELS, answers=True)
    assert (card.answers, card.curve) == ("", None)
    assert card.proof is not None


def test_the_curve_is_that_of_the_table(found: list[Explanation]) -> None:
    one = found[0]
    curve = curve_of(one)
    assert curve is not None
    assert one.certificates is not None
    assert one.responses is not None
    order = sorted(one.certificates.words, key=lambda word: -one.scores[word])
    lines = {line.name: line.values for line in curve.lines}
    every = set(range(len(one.words)))
    for r in range(len(order) + 1):
        first = set(order[:r])
        assert lines["kept"][r] == one.responses.value(first)
        assert lines["removed"][r] == one.responses.value(every - first)
    assert lines["kept, any order"][0] == lines["kept"][0]
    ones = [one.responses.value({word}) or 0.0 for word in order]
    assert lines["kept, any order"][1] == pytest.approx(sum(ones) / len(ones))
    assert (curve.low, curve.high, curve.words) == (0.0, 1.0, len(order))
    heights = [float(point.split(",")[1]) for point in curve.lines[0].points.split()]
    assert np.argsort(heights)[0] == np.argmax(lines[curve.lines[0].name])


def test_sets_are_told_in_words() -> None:
    texts = set()
    for seed in range(200):
        table = Table(seed)
        n1, words = table.n1, [f"w{i}" for i in sorted(table.all)]
        e = Explanation(
            "1", tuple(words[:n1]), tuple(words[n1:]), None, 0, (), (0.0,) * len(words),
            table.groups, 1, 0, 0.1, labels=("low", "high"),
        )  # fmt: skip
        from gmask_pl.certificates import certified

        known = certified(table.responses, table.groups, read=sorted(table.all), first=n1)
        card = make_card(replace(e, certificates=known), e.labels)
        assert card.proof is not None
        empty, *sets = card.proof.sets
        assert empty.after == f"{table.value[frozenset()]:.3f}"
        for own, proved in zip(sets, (known.sufficient, known.contrastive), strict=True):
            texts.add(own.before)
            if proved is not None and proved.words:
                assert tuple(word.position for word in own.words) == proved.words
                assert f"({proved.value:.3f}" in own.after
                assert (f"; {proved.others} other " in own.after) == (proved.others > 0)
    assert {"Enough alone:", "The decision changes without:"} < texts
    assert "No word is needed: the empty pair leads to the same decision." in texts
    assert any(text.startswith("No set of the ") for text in texts)
    assert any(text.startswith("The decision stays, whichever of the ") for text in texts)


def explanation(words1: str, words2: str, group: Sequence[int], label: int = 0) -> Explanation:
    one, two = tuple(words1.split()), tuple(words2.split())
    groups = Groups(tuple(group), ((1.0,),) * len(group), (1.0,)) if group else None
    scores = tuple(float(i) for i in range(len(one) + len(two)))
    return Explanation("1", one, two, None, label, (0.5, 0.5), scores, groups, 1, 0, 0.1)


def test_the_summary_counts_what_carries_decisions_by_class() -> None:
    summary = Summary()
    for one in (
        explanation("A dog", "the cat", (1, 3)),
        explanation("the Dog", "Cat cat", (1, 2, 3)),
        explanation("a dog", "no cat", (1,)),
        explanation("a dog", "no cat", (1, 3), label=1),
        explanation("a b", "c d", (), label=1),
        explanation("a b", "c d", (), label=1),
    ):
        summary.add(one)
    first, second = summary.classes()
    assert (first.label, first.pairs) == (0, 3)
    assert [(row.words, row.count, row.examples) for row in first.words] == [
        (("dog",), 3, (0, 1, 2)),
        (("cat",), 2, (0, 1)),
    ]
    assert [(row.words, row.count) for row in first.across] == [(("dog", "cat"), 2)]
    # Without groups it is the word with the highest score.
    assert [(row.words, row.count, row.examples) for row in second.words] == [(("d",), 2, (4, 5))]
    assert second.across == ()


def test_runs_stand_side_by_side(found: list[Explanation]) -> None:
    explain = PairExplainer(model, labels=LABELS, method="lime", removal=found[0].removal)
    others = explain.many(PAIRS)
    runs = {"joint <b>": found, "lime": [others[1], others[0]]}
    pairs = compared(runs, LABELS, max_pairs=5)
    assert [pair.card.id for pair in pairs] == [found[0].id, found[1].id]
    for pair, one, other in zip(pairs, found, others, strict=False):
        tops = [
            {word for word in e.ranked()[:4] if abs(e.scores[word]) > 1e-6 and e.scores[word] > 0}
            for e in (one, other)
        ]
        assert pair.told[0].disputed == tops[0] ^ tops[1]
        assert pair.agreement == pytest.approx(len(tops[0] & tops[1]) / len(tops[0] | tops[1]))
        known = {kept for kept, *_ in decoded(pair.card.answers)}
        assert known >= {kept for kept, *_ in decoded(embedded(one, LABELS))}
    page = comparison_page(runs, title="t", labels=LABELS, max_pairs=5)
    assert page is not None
    assert "joint &lt;b&gt;" in page
    assert page.count("<article") == 2
    assert comparison_page({"a": found, "b": []}, title="t", labels=LABELS, max_pairs=5) is None
    renamed = [replace(one, words1=("x", *one.words1[1:])) for one in found]
    assert compared({"a": found, "b": renamed}, LABELS, max_pairs=5) == []
