"""Word groups: how they are cut without learning, and the measures of them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import explainer_of, make_example
from torch import Tensor

from gmask_paper.collectors.group_plots import draw_groups
from gmask_pl.data.mwa_mtref import MWAMTRef
from gmask_pl.drawing.cards import make_card
from gmask_pl.explainers._coalition import all_coalitions
from gmask_pl.explainers._group_mask import GroupShape
from gmask_pl.explainers.gmask import ResponseTables, worth_shares
from gmask_pl.explainers.grouping import clusters, interaction_groups
from gmask_pl.explanation import Explanation, WordGroup
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.metrics.groups.alignment import AlignmentAgreement
from gmask_pl.metrics.groups.group_effect import GroupEffect
from gmask_pl.metrics.groups.group_evidence import GroupEvidence, rand_index
from gmask_pl.metrics.groups.group_sides import GroupSides
from gmask_pl.metrics.pair_metric import RankedPairs, evaluate, rank_words
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import JSON, Groups, PairExample, UserError

AGAIN = {"resamples": 200, "seed": 0}


def groups_of(*groups: set[int]) -> Groups:
    """Groups whose words belong to them most, the first being the most important."""
    words = sorted(set().union(*groups))
    t = len(groups)
    phi = tuple(tuple(0.8 if w in g else 0.2 / max(1, t - 1) for g in groups) for w in words)
    return Groups(tuple(words), phi, tuple(1 / (2 + i) for i in range(t)))


def explained(example: PairExample, groups: Groups | None) -> Explanation:
    n = len(example.words1) + len(example.words2)
    return Explanation(
        id=example.id,
        words1=example.words1,
        words2=example.words2,
        label=0,
        prediction=0,
        probabilities=(0.9, 0.1),
        scores=(0.0,) * n,
        groups=groups,
        evaluations=1,
        gradients=0,
        seconds=0.0,
    )


def test_groups_come_by_importance_without_empty_ones() -> None:
    phi = ((0.2, 0.7, 0.1), (0.6, 0.3, 0.1), (0.1, 0.5, 0.4))
    groups = Groups((4, 7, 2), phi, (0.3, 0.5, 0.2))
    assert list(groups.members.items()) == [(1, frozenset({4, 2})), (0, frozenset({7}))]
    assert groups.names == {1: "G1", 0: "G2"}
    pair = explained(make_example("one", "a man plays guitar", "the man plays banjo"), groups)
    assert pair.word_groups == (
        WordGroup(("plays", "the"), (2, 4), 0.5),
        WordGroup(("banjo",), (7,), 0.3),
    )
    assert replace(pair, groups=None).word_groups == ()


def test_a_plot_of_groups_names_them_as_cards_do(tmp_path: Path) -> None:
    phi = ((0.2, 0.7, 0.1), (0.6, 0.3, 0.1), (0.1, 0.5, 0.4))
    groups = Groups((4, 7, 2), phi, (0.3, 0.2, 0.5))  # the last has no word
    pair = explained(make_example("one", "a man plays guitar", "the man plays banjo"), groups)
    drawn = draw_groups(tmp_path / "groups", "one", pair, pair)
    svg = next(path for path in drawn if path.suffix == ".svg").read_text("utf-8")
    assert re.findall(r"G\d  ψ [\d.]+", svg) == ["G1  ψ 0.30", "G2  ψ 0.20"]
    assert [group.name for group in make_card(pair, ("a", "b")).groups] == ["G1", "G2"]


@pytest.mark.parametrize("name", ["random_groups", "interaction_groups"])
def test_groups_that_are_not_learnt_are_a_partition(
    name: str, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """Every candidate in one group, psi a distribution; words and scores are gmask_two_sided's."""
    encode = classifier.encoder("word")
    found = {}
    for explainer in (name, "gmask_two_sided"):
        made = explainer_of(explainer, "explainer.k=5")
        masked = MaskedModel(classifier, encode(examples), made.removal, token_budget=512)
        found[explainer] = made(masked)
    torch.testing.assert_close(found[name].scores, found["gmask_two_sided"].scores)
    pairs = zip(found[name].groups, found["gmask_two_sided"].groups, strict=True)
    for given, learnt in pairs:
        assert given is not None
        assert learnt is not None
        assert given.candidates == learnt.candidates
        assert all(
            sorted(row)[:-1] == [0.0] * (len(row) - 1) and sum(row) == 1 for row in given.phi
        )
        assert len(given.psi) == len(learnt.psi)
        assert sum(given.psi) == pytest.approx(1)


def test_random_groups_are_even_and_drawn_by_pair(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    explainer = explainer_of("random_groups", "explainer.k=5")
    encode = classifier.encoder("word")

    def run(pairs: list[PairExample]) -> list[Groups | None]:
        masked = MaskedModel(classifier, encode(pairs), explainer.removal, token_budget=512)
        return list(explainer(masked).groups)

    together = run(examples)
    for groups, example in zip(together, examples, strict=True):
        assert groups is not None
        sizes = [len(group) for group in groups.members.values()]
        assert max(sizes) - min(sizes) <= 1
        (alone,) = run([example])
        assert alone is not None
        assert alone.phi == groups.phi


def test_clusters_join_what_interacts() -> None:
    strength = np.full((5, 5), 0.01)
    for i, j in ((0, 3), (1, 4)):
        strength[i, j] = strength[j, i] = 0.8
    found = clusters(strength, 3)
    assert found[0] == found[3]
    assert found[1] == found[4]
    assert len({found[0], found[1], found[2]}) == 3


def test_clusters_are_as_many_as_asked_where_all_else_is_equally_far() -> None:
    """Things 1 and 4 interact and nothing else does, as of a model of few answers."""
    strength = np.zeros((6, 6))
    strength[1, 4] = strength[4, 1] = 0.8
    for t in (2, 3, 4):
        found = clusters(strength, t)
        assert len({*found.tolist()}) == t
        assert [i for i in range(6) if found[i] == found[1]] == [1, 4]
    assert len({*clusters(np.zeros((3, 3)), 5).tolist()}) == 3


def test_words_that_need_or_replace_one_another_are_one_group() -> None:
    """Words 0 and 3 decide together; either of 1 and 2 would do; word 4 does nothing."""
    bits = all_coalitions(5)
    p = 0.05 + 0.4 * (bits[:, 0] & bits[:, 3]) + 0.4 * (bits[:, 1] | bits[:, 2])
    tables = ResponseTables(None, torch.arange(5)[None], "drop")  # type: ignore[arg-type]
    tables.kept, tables.removed = -p.log()[None], p[None].flip(1)  # type: ignore[misc]
    shape = GroupShape(torch.tensor([[0, 0, 1, 1, 1]]), torch.tensor([3]))
    found = interaction_groups(tables, shape)[0].tolist()
    assert found[0] == found[3]
    assert found[1] == found[2]
    assert len({found[0], found[1], found[4]}) == 3


def effect(
    answers: dict[frozenset[int], float], groups: Groups | None, n: int, side: str = "removed"
) -> JSON:
    """The result of one pair of n words whose answers are known; 0.9 for the whole pair.

    answers: by the words that are removed, or kept.
    """
    metric = GroupEffect(side=side, max_groups=3, max_words=5, **AGAIN)
    answers = {frozenset(range(n)): 0.0} | answers  # without any word: tables for, of no effect

    def ask(keep: torch.Tensor) -> torch.Tensor:
        p = []
        for mask in keep[0].tolist():
            words = frozenset(w for w in range(n) if mask[w] == (side == "kept"))
            p.append(0.9 if not words and side == "removed" else answers[words])
        found = torch.tensor([p], dtype=torch.float64)
        return torch.stack([found, 1 - found], -1)

    valid = torch.ones(1, n, dtype=torch.bool)
    of_word = torch.full((1, n), -1)
    for number, words in enumerate(groups.members.values() if groups else ()):
        of_word[0, list(words)] = number
    scores, whole = torch.arange(n, 0.0, -1)[None], torch.tensor([[0.9, 0.1]])
    rows = evaluate({"effect": metric}, ask, scores, valid, whole.double(), groups=of_word)
    return metric.result(rows["effect"])


def test_the_effect_of_groups_by_hand() -> None:
    """Two groups of two words and one of one, which takes no part."""
    answers = {
        frozenset({0, 4}): 0.2, frozenset({1, 3}): 0.7, frozenset({2}): 0.5,
        frozenset({0}): 0.8, frozenset({4}): 0.9, frozenset({1}): 0.6, frozenset({3}): 0.8,
    }  # fmt: skip
    found = effect(answers, groups_of({1, 3}, {0, 4}, {2}), 5)
    # Together 0.7 and 0.2; alone 0.1 + 0.0 and 0.3 + 0.1.
    assert found["together"] == pytest.approx((0.7 + 0.2) / 2)
    assert found["alone"] == pytest.approx((0.1 + 0.4) / 2)
    assert found["value"] == pytest.approx(0.45 - 0.25)
    assert found["top_value"] == pytest.approx(0.2 - 0.4)
    assert found["n"] == 1


def test_words_that_decide_together_do_more_together() -> None:
    """p = 0.9 where words 0 and 3 are both kept, 0.1 else: removed 0.8 - 1.6, kept 0.8 - 0."""
    both = frozenset({0, 3})
    kept = {frozenset(): 0.1, frozenset({0}): 0.1, frozenset({3}): 0.1, both: 0.9}
    removed = {frozenset({0}): 0.1, frozenset({3}): 0.1, both: 0.1}
    groups = groups_of({0, 3})
    assert effect(kept, groups, 4, "kept")["value"] == pytest.approx(0.8)
    assert effect(removed, groups, 4)["value"] == pytest.approx(-0.8)


def test_explanations_without_groups_have_no_effect() -> None:
    found = effect({}, None, 4)
    assert found["value"] is None
    assert found["n"] == 0
    alone = effect({frozenset({1}): 0.5}, groups_of({1}), 4)
    assert alone["value"] is None
    assert alone["n"] == 0


def test_more_groups_than_expected_are_named() -> None:
    metric = GroupEffect(side="kept", max_groups=1, max_words=1, **AGAIN)

    def masks(groups: Tensor | None) -> Tensor:
        valid, whole = torch.ones(1, 3, dtype=torch.bool), torch.ones(1)
        given = (valid, *rank_words(torch.zeros(1, 3), valid), whole, lambda keep: None)
        return metric.masks(RankedPairs(*given, groups))

    with pytest.raises(UserError, match="max_groups=2"):
        masks(torch.tensor([[0, 1, -1]]))
    with pytest.raises(UserError, match="max_words=2"):
        masks(torch.tensor([[0, 0, -1]]))
    with pytest.raises(ValueError, match="give the group of every word"):
        masks(None)
    with pytest.raises(UserError, match="side=both"):
        GroupEffect(side="both", max_groups=1, max_words=1, **AGAIN)


def test_the_share_of_groups_with_both_sides() -> None:
    metric = GroupSides(**AGAIN)
    example = make_example("a", "a man plays", "a woman sings")
    other = make_example("b", "she sleeps", "nobody sleeps")
    metric.update(explained(example, groups_of({0, 3}, {1, 2}, {4})), example)
    metric.update(explained(other, groups_of({0, 1}, {2, 3})), other)
    metric.update(explained(make_example("c", "x", "y"), None), make_example("c", "x", "y"))
    found = metric.compute(("no", "yes"))
    assert found is not None
    assert found["value"] == pytest.approx(1 / 4)
    assert found["n"] == 2
    assert found["size"] == pytest.approx(9 / 5)
    assert GroupSides(**AGAIN).compute(("no", "yes")) is None


def test_the_rand_index_of_planted_groups() -> None:
    evidence = (frozenset({0, 5}), frozenset({2, 6}))
    assert rand_index(groups_of({0, 5}, {2, 6}, {1, 7}), evidence) == pytest.approx(1)
    assert rand_index(groups_of({0, 2, 1}, {5, 6, 7}), evidence) < 0.1
    none = (0.0, 0.0)
    with_others = Groups((0, 1, 2, 5, 6), ((1, 0), none, (0, 1), (1, 0), (0, 1)), (0.6, 0.4))
    assert rand_index(with_others, evidence) == pytest.approx(1)
    assert rand_index(Groups((0, 1), ((), ()), ()), evidence) == 0
    example = make_example("a", "a man plays music", "a man sings songs")
    planted = replace(example, evidence=evidence)
    metric = GroupEvidence(**AGAIN)
    metric.update(explained(planted, groups_of({0, 5}, {2, 6}, {1, 7})), planted)
    metric.update(explained(example, groups_of({0, 5})), example)
    found = metric.compute(())
    assert found is not None
    assert (found["value"], found["n"]) == (pytest.approx(1), 1)


def test_aligned_words_in_one_group_by_hand() -> None:
    """Of six grouped words three stand on each side: 9 pairs across, 3 of them gold."""
    example = make_example("a", "one two three four", "uno dos tres")
    gold = frozenset({(0, 0), (1, 1), (2, 2), (3, 2)})
    aligned = PairExample(
        example.id, example.text1, example.text2, example.spans1, example.spans2, alignments=gold
    )
    metric = AlignmentAgreement(**AGAIN)
    # Pairs in one group: (0, 0); (1, 1), (1, 2), (2, 1), (2, 2).
    metric.update(explained(aligned, groups_of({0, 4}, {1, 2, 5, 6})), aligned)
    found = metric.compute(("no", "yes"))
    assert found is not None
    precision, recall = 3 / 5, 3 / 3
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(recall)
    assert found["value"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert found["chance_precision"] == pytest.approx(3 / 9)
    assert found["chance_recall"] == pytest.approx((5 * 3 / 9) / 3)
    assert found["identity"] == 0
    assert not AlignmentAgreement(**AGAIN).knows(example)


def test_the_same_words_stand_beside_alignments() -> None:
    """Candidates of no group count: of 2 x 3 pairs 2 are gold, 2 the same word and 1 is both."""
    example = make_example("a", "the Man ran", "a man ran the race")
    aligned = replace(example, alignments=frozenset({(1, 1), (2, 4), (0, 3)}))
    metric = AlignmentAgreement(**AGAIN)
    groups = Groups((1, 2, 4, 5, 7), ((0.0,), (1.0,), (0.0,), (0.0,), (1.0,)), (1.0,))
    metric.update(explained(aligned, groups), aligned)
    found = metric.compute(())
    assert found is not None
    assert (found["precision"], found["recall"]) == (1, 1 / 2)
    assert (found["identity_precision"], found["identity_recall"]) == (1 / 2, 1 / 2)
    assert found["identity"] == pytest.approx(1 / 2)


def test_chance_is_what_random_pairs_find() -> None:
    """A group of all words joins all pairs, so it is no better than chance."""
    example = make_example("a", "one two", "uno dos")
    aligned = PairExample(
        "a", example.text1, example.text2, example.spans1, example.spans2,
        alignments=frozenset({(0, 0), (1, 1)}),
    )  # fmt: skip
    metric = AlignmentAgreement(**AGAIN)
    metric.update(explained(aligned, groups_of({0, 1, 2, 3})), aligned)
    found = metric.compute(())
    assert found is not None
    assert found["value"] == pytest.approx(found["chance"])


def line(**changes: object) -> str:
    given = {"id": "x", "text1": "After the rain , it snowed .", "text2": "it  snowed",
             "alignments_sure": [[4, 0], [5, 1], [3, 0]]}  # fmt: skip
    return json.dumps({**given, **changes})


def test_alignments_are_of_the_words_that_cleaning_leaves(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(line() + "\n", "utf-8")
    (example,) = MWAMTRef(name="mwa_mtref", path=str(tmp_path), clean=True).load("test")
    assert example.label is None
    assert example.alignments is not None
    joined = {(example.words1[i], example.words2[j]) for i, j in example.alignments}
    assert {("it", "it"), ("snowed", "snowed")} <= joined
    assert all(w1 in {"it", "snowed", ","} for w1, _ in joined)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alignments_sure": [[0, 9]]}, "highlighted word 9"),
        ({"alignments_sure": [[0]]}, "not a list of"),
        ({"alignments_sure": None}, "not a list of"),
        ({"text2": 3}, "not a string"),
    ],
)
def test_bad_alignments_are_named(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(line(**changes) + "\n", "utf-8")
    with pytest.raises(UserError, match=message):
        MWAMTRef(name="mwa_mtref", path=str(tmp_path), clean=True).load("test")


def test_groups_without_worth_weigh_alike() -> None:
    """A model that answers everything alike: no group does anything."""
    explainer = explainer_of("random_groups", "explainer.k=2")
    shape = GroupShape(torch.tensor([[0, 1]]), torch.tensor([2]))
    tables = ResponseTables(None, torch.tensor([[0, 1]]), "drop")  # type: ignore[arg-type]
    tables.kept, tables.removed = torch.full((1, 4), math.log(2)), torch.full((1, 4), 0.5)  # type: ignore[misc]
    _, psi = explainer.groups(tables, shape, [torch.Generator().manual_seed(0)])
    assert psi.tolist() == [[0.5, 0.5]]


def test_the_shares_of_groups_by_hand() -> None:
    """Words 0 and 2 decide together; word 1 leaves the answer as it is, and word 3 harms it.

    The model holds to its answer at 0.4 without any word, so no group has that on its account.
    """
    bits = all_coalitions(4)
    alone = 0.4 + 0.3 * (bits[:, 0] & bits[:, 2]) - 0.1 * bits[:, 3]
    removed = 0.8 - 0.5 * (bits[:, 0] | bits[:, 2]) + 0.1 * bits[:, 3]
    tables = ResponseTables(None, torch.arange(4)[None], "drop")  # type: ignore[arg-type]
    tables.kept, tables.removed = -alone.log()[None], removed[None]  # type: ignore[misc]
    shape = GroupShape(torch.tensor([[0, 0, 1, 1]]), torch.tensor([4]))

    def shares(*groups: int) -> list[float]:
        phi = torch.nn.functional.one_hot(torch.tensor([groups]), 4).float()
        return worth_shares(tables, phi, shape)[0].tolist()

    assert shares(0, 1, 0, 2) == pytest.approx([1, 0, 0, 0])
    # Apart: alone neither does anything, and without either the answer is lost.
    assert shares(0, 1, 2, 3) == pytest.approx([0.5, 0, 0.5, 0])
    # With the harmful word 0.2 + 0.4 of 0.3 + 0.5 are left.
    assert shares(0, 1, 0, 0) == pytest.approx([1, 0, 0, 0])
    assert shares(0, 0, 1, 1) == pytest.approx([0.5 / 0.8, 0.3 / 0.8, 0, 0])
