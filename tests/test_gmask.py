"""GMASK: Eqs. 2 to 8, its estimators, and what its explanations must hold."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONF, context_of, explainer_of, make_example

from gmask_pl.explainers._coalition import (
    all_coalitions,
    choose_candidates,
    coalition_index,
    merge_scores,
    multilinear_extension,
    word_masks,
)
from gmask_pl.explainers._group_mask import (
    ExactLoss,
    Fit,
    GroupMask,
    GroupShape,
    Objective,
    SampledLoss,
    Sampling,
    entropy,
    fit_groups,
    table_answer,
)
from gmask_pl.explainers.explainer import example_generators
from gmask_pl.explainers.gmask import ResponseTables, group_shape
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import PairExample

EXPLAINERS = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml"))
FREE = Objective(logit_bound=None)


def shape_of(side: list[int], t: int) -> GroupShape:
    return GroupShape(torch.tensor([side]), torch.tensor([t]))


def test_multilinear_extension_is_the_expectation() -> None:
    generator = torch.Generator().manual_seed(0)
    table, p = torch.rand(2, 8, generator=generator), torch.rand(2, 3, 3, generator=generator)
    for b, group in itertools.product(range(2), range(3)):
        expected = 0.0
        for bits in itertools.product((0, 1), repeat=3):
            weight = 1.0
            for j, bit in enumerate(bits):
                weight *= float(p[b, group, j]) if bit else 1 - float(p[b, group, j])
            expected += weight * float(table[b, bits[0] * 4 + bits[1] * 2 + bits[2]])
        assert float(multilinear_extension(table, p)[b, group]) == pytest.approx(expected)


def test_coalition_rows_count_up() -> None:
    assert coalition_index(all_coalitions(4)).tolist() == list(range(16))


def test_objective_by_hand() -> None:
    """Eq. 7 on two words a side and two groups."""
    table = torch.rand(1, 16, generator=torch.Generator().manual_seed(3))
    masks = GroupMask(
        shape_of([0, 0, 1, 1], 2), ExactLoss(table), example_generators(0, ["x"]), FREE, Fit()
    )
    with torch.no_grad():
        masks.z_raw.copy_(torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(4)))
        masks.g_raw.copy_(torch.tensor([[0.3, -0.5]]))
    phi, psi = masks.z_raw.detach()[0].softmax(-1), masks.g_raw.detach()[0].softmax(-1)
    expected = 0.0
    for group in range(2):
        for row, bits in enumerate(itertools.product((0, 1), repeat=4)):
            p = float(psi[group])
            for j, bit in enumerate(bits):
                p *= float(phi[j, group]) if bit else 1 - float(phi[j, group])
            expected += p * float(table[0, row])
    upper, lower = phi[:2].mean(0), phi[2:].mean(0)
    h = [float(-(d * d.log()).sum()) for d in (upper, lower, psi)]
    expected += -10.0 * (h[0] + h[1]) + h[2]
    assert float(masks.objective().detach()) == pytest.approx(expected, rel=1e-5)


def test_entropy_of_a_certain_outcome_is_zero_with_a_finite_gradient() -> None:
    p = torch.tensor([1.0, 0.0], requires_grad=True)
    value = entropy(p)
    value.backward()
    assert float(value.detach()) == 0.0
    assert p.grad is not None
    assert bool(p.grad.isfinite().all())


def test_samples_have_the_exact_expectation() -> None:
    table = torch.rand(1, 32, generator=torch.Generator().manual_seed(5))
    shape = shape_of([0, 0, 1, 1, 1], 3)
    z = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(6))
    g = torch.randn(1, 3, generator=torch.Generator().manual_seed(7))
    samples = 200_000
    sampled = SampledLoss(
        table_answer(table, torch.zeros(1, 32, 5)),
        shape,
        example_generators(0, ["x"]),
        Sampling(samples=samples),
    )
    # A loss in [0, 1] has a standard error of at most 0.5 / sqrt(samples).
    difference = float(sampled(z, g) - ExactLoss(table)(z, g))
    assert abs(difference) < 4 * 0.5 / samples**0.5


def test_planted_and_across_the_sides_is_one_group_and_the_first() -> None:
    """p = 0.95 when word 2 of side one and word 7 of side two are kept, 0.05 otherwise."""
    bits = all_coalitions(10)
    p = torch.where(bits[:, 2] & bits[:, 7], 0.95, 0.05)
    shape = shape_of([0] * 5 + [1] * 5, 5)
    masks = GroupMask(
        shape,
        ExactLoss(-p.log()[None]),
        example_generators(1, ["x"]),
        Objective(),
        Fit(),
    )
    phi, psi, _ = fit_groups(masks, Fit())
    top = int(psi[0].argmax())
    assert int(phi[0, 2].argmax()) == int(phi[0, 7].argmax()) == top
    theta = (phi[0] * psi[0]).sum(-1)
    assert set(theta.topk(2).indices.tolist()) == {2, 7}


def test_stable_pairs_keep_what_they_had_and_stop_early() -> None:
    table = torch.rand(1, 16, generator=torch.Generator().manual_seed(8))

    def fitted(tables: torch.Tensor, ids: list[str]) -> Any:
        shape = GroupShape(torch.tensor([[0, 0, 1, 1]] * len(ids)), torch.tensor([2] * len(ids)))
        masks = GroupMask(shape, ExactLoss(tables), example_generators(0, ids), FREE, Fit())
        return fit_groups(masks, Fit(epochs=300))

    alone = fitted(table, ["a"])
    together = fitted(torch.cat([table, 5 * table]), ["a", "b"])
    assert int(alone[2][0]) < 300
    assert int(alone[2][0]) == int(together[2][0])
    torch.testing.assert_close(alone[0][0], together[0][0], atol=1e-5, rtol=1e-5)


def test_candidates_come_from_both_sides(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    batch = classifier.encoder("word")(examples)
    scores = torch.arange(batch.word_valid.shape[1], 0, -1).float().expand(3, -1)
    candidates = choose_candidates(scores * batch.word_valid, batch, 4)
    for row, chosen in enumerate(candidates.tolist()):
        sides = batch.word_side[row, chosen].tolist()
        assert set(sides) == {0, 1}
        if row == 0:  # its four best words all stand on side one
            assert sides.count(0) == 2


def test_the_number_of_groups_follows_the_smaller_side(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """t = min(k_1, k_2), but at least 2: one group ranks nothing."""
    batch = classifier.encoder("word")(examples)
    n = len(batch.words1[0])
    candidates = torch.tensor(
        [[0, 1, 2, n, n + 1, n + 2], [0, 1, 2, 3, 4, -1], [0, 1, 2, 3, 4, -1]]
    )
    assert [len(words) for words in batch.words1] == [9, 3, 2]
    shape = group_shape(candidates, batch)
    assert shape.groups.tolist() == [3, 2, 2]
    assert shape.side[1].tolist() == [0, 0, 0, 1, 1, -1]
    assert shape.used.sum(1).tolist() == [6, 5, 5]


def test_a_number_of_groups_that_is_given(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """As many as that, where a pair has as many candidates."""
    batch = classifier.encoder("word")(examples)
    candidates = torch.tensor([[0, 1, 2, 9, 10, 11], [0, 1, 2, 3, 9, -1], [0, 2, -1, -1, -1, -1]])
    assert group_shape(candidates, batch, 5).groups.tolist() == [5, 5, 2]
    assert group_shape(candidates, batch, 2).groups.tolist() == [2, 2, 2]


@pytest.mark.parametrize("lowest", [0.2, 0.0, -0.4])
def test_the_other_words_follow_the_candidates_in_the_filters_order(lowest: float) -> None:
    """Strictly, whatever the sizes of the scores; equals of the filter keep their positions."""
    theta = torch.tensor([[0.9, lowest, 0.3, 7.0]])
    candidates = torch.tensor([[4, 1, 0, -1]])
    filtered = torch.tensor([[3.0, 2.0, 1e9, -5.0, 4.0, 1.0, 1.0, 99.0]])
    valid = torch.tensor([[True] * 7 + [False]])
    scores = merge_scores(theta, candidates, filtered, valid)[0]
    assert scores[[4, 1, 0]].tolist() == theta.double()[0, :3].tolist()
    assert float(scores[7]) == 0.0
    followers = scores[[2, 5, 6, 3]].tolist()
    assert len(set(followers)) == 4
    assert [lowest, *followers] == pytest.approx(sorted([lowest, *followers], reverse=True))
    if lowest > 0:
        assert min(followers) > 0


@pytest.mark.parametrize("context", ["drop", "keep"])
def test_the_context_is_dropped_or_kept(
    context: str, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """What the table of a pair asks the model, against masks written out by hand."""
    masked = MaskedModel(
        classifier, classifier.encoder("word")(examples[1:2]), "pad", token_budget=4096
    )
    candidates = torch.tensor([[5, 1]])
    table = ResponseTables(masked, candidates, context).kept
    for row, kept in enumerate([(), (1,), (5,), (1, 5)]):
        others = [word for word in range(9) if word not in (1, 5)] if context == "keep" else []
        keep = torch.zeros(1, 1, masked.batch.word_valid.shape[1], dtype=torch.bool)
        keep[0, 0, [*kept, *others]] = True
        torch.testing.assert_close(table[0, row], masked.loss(keep)[0, 0])


def test_a_pair_of_one_word_a_side_is_explained(classifier: PairClassifier) -> None:
    """Two candidates in two groups; the other removals and sides left empty give an answer too."""
    example = make_example("short", "stage", "banjo")
    for removal in ("zero", "pad", "mask", "delete"):
        masked = MaskedModel(
            classifier, classifier.encoder("word")([example]), removal, token_budget=64
        )
        found = explainer_of("gmask", "model=bert_tiny")(masked)
        assert bool(found.scores.isfinite().all())
        groups = found.groups[0]
        assert groups is not None
        assert (len(groups.candidates), len(groups.psi)) == (2, 2)
        empty = torch.zeros(1, 1, 2, dtype=torch.bool)
        assert bool(masked.logits(empty).isfinite().all())


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_explainer(
    name: str, classifier: PairClassifier, examples: list[PairExample], tmp_path: Path
) -> None:
    """Finite, zero on padding, alone = in a batch, repeatable, classifier unchanged."""
    small = [] if "gmask" not in name else ["explainer.k=4", "explainer.sampling.samples=20"]
    if name in ("shapley", "interaction"):
        small = ["explainer.k=4"]
    if name == "iba":  # its layer is the model's, and three pairs are few
        kind = "dattn" if isinstance(classifier, DecomposableAttention) else "bert_tiny"
        # These models are steep: over ten steps of lr=1 a difference in rounding grows to any size.
        small = [f"model={kind}", "explainer.tokens=20", "explainer.lr=0.1"]
    explainer = explainer_of(name, "explainer.removal=pad", *small)
    if hasattr(explainer, "word_filter"):
        explainer.word_filter.removal = "pad"
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    encode = classifier.encoder("word")
    explainer.prepare(context_of(classifier, encode, examples, tmp_path))

    def run(pairs: list[PairExample]) -> tuple[MaskedModel, Any]:
        masked = MaskedModel(classifier, encode(pairs), "pad", token_budget=256)
        return masked, explainer(masked)

    masked, found = run(examples)
    assert bool(found.scores.isfinite().all())
    assert bool(found.scores[~masked.batch.word_valid].eq(0).all())
    _, again = run(examples)
    torch.testing.assert_close(found.scores, again.scores)
    for row, example in enumerate(examples):
        alone_masked, alone = run([example])
        width = alone.scores.shape[1]
        torch.testing.assert_close(found.scores[row, :width], alone.scores[0], atol=1e-3, rtol=1e-3)
        assert int(masked.evaluations[row]) == int(alone_masked.evaluations[0])
    for key, value in classifier.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_table_read_twice_is_the_sampled_estimator(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """straight_through and sampled draw the same noise, so they walk the same path."""
    scores = []
    for estimator in ("straight_through", "sampled"):
        explainer = explainer_of(
            "gmask",
            "explainer.k=4",
            "explainer.sampling.samples=8",
            "explainer.fit.epochs=5",
            "explainer.removal=zero",
            "explainer.word_filter.removal=zero",
            f"explainer.estimator={estimator}",
        )
        masked = MaskedModel(
            classifier, classifier.encoder("word")(examples), "zero", token_budget=256
        )
        scores.append(explainer(masked).scores)
    torch.testing.assert_close(scores[0], scores[1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("value", ["log_probability", "probability"])
@pytest.mark.parametrize("estimator", ["straight_through", "sampled"])
def test_a_long_sampled_run_has_the_exact_loss(
    estimator: str, value: str, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """The estimators of one objective, on the answers of a model and not of a made-up table."""
    masked = MaskedModel(
        classifier, classifier.encoder("word")(examples), "zero", token_budget=4096
    )
    scores = torch.arange(masked.batch.word_valid.shape[1], 0, -1).float().expand(3, -1)
    candidates = choose_candidates(scores * masked.batch.word_valid, masked.batch, 4)
    shape = group_shape(candidates, masked.batch)
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(3, 4, int(shape.groups.max()), generator=generator)
    g = torch.randn(3, int(shape.groups.max()), generator=generator)
    samples = 4000

    def loss(name: str) -> torch.Tensor:
        explainer = explainer_of(
            "gmask",
            f"explainer.estimator={name}",
            f"explainer.sampling.samples={samples}",
            f"explainer.value={value}",
        )
        generators = example_generators(0, masked.batch.keys)
        tables = ResponseTables(masked, candidates, explainer.context)
        return explainer.expected_loss(tables, shape, generators)(z, g)

    bits = all_coalitions(4)[None]
    table = masked.loss(word_masks(bits, candidates, masked.batch.word_valid, "drop"))
    if value == "probability":
        table = (-table).exp()
    error = 4 * 0.5 * (table.amax(1) - table.amin(1)) / samples**0.5
    assert bool(((loss(estimator) - loss("exact")).abs() < error).all())
