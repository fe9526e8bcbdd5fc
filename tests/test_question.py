"""What is asked about a masked pair: every question by every explainer, against plain loops."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from conftest import TEXTS, untrained
from torch import Tensor, nn

import benchmarks.kinds
from gmask_pl.api import PairExplainer
from gmask_pl.explainers.methods import METHODS
from gmask_pl.explainers.shapley import Shapley
from gmask_pl.explanation import Explanation
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.question import (
    PREDICTED,
    SCORE,
    SIGMOID,
    SOFTMAX,
    ClassProbability,
    LogOdds,
    Score,
    question_about,
)
from gmask_pl.types import PairExample, UserError

PAIRS = TEXTS[1:]  # a pair of 9 words and one of 5
LEARNING = ("iba", "l2x")
ASKING = sorted({*METHODS} - {*LEARNING})
FREE = ("gradient_x_input", "imask_released", "gmask_released", "integrated_gradients", "attention")


def head(outputs: int, **config: Any) -> BertPairClassifier:
    """A small BERT, of one body, with another head."""
    torch.manual_seed(0)
    body = untrained("bert_tiny")
    network = copy.deepcopy(body.network)
    network.classifier = nn.Linear(network.config.hidden_size, outputs)
    network.num_labels = outputs
    names = {i: f"L{i}" for i in range(outputs)}
    for key, value in ({"id2label": names, "problem_type": None} | config).items():
        setattr(network.config, key, value)
    return BertPairClassifier.from_network(network.eval(), body.tokenizer, max_length=64)


def explained(model: BertPairClassifier, method: str, **asked: Any) -> list[Explanation]:
    explain = PairExplainer(model, method=method, budget=400, **asked)
    return explain.many(PAIRS)


def same(one: Explanation, other: Explanation, abs: float = 2e-4) -> None:
    assert one.scores == pytest.approx(other.scores, abs=abs)
    assert (one.groups is None) == (other.groups is None)
    if one.groups and other.groups:
        assert one.groups.candidates == other.groups.candidates
        assert one.groups.members == other.groups.members


@pytest.fixture(scope="module")
def two_classes() -> BertPairClassifier:
    return head(2, id2label={0: "no", 1: "yes"})


@pytest.fixture(scope="module")
def one_logit(two_classes: BertPairClassifier) -> BertPairClassifier:
    """The same model: its one logit is the difference of the two."""
    model = head(1, id2label={0: "LABEL_0"})
    with torch.no_grad():
        for name in ("weight", "bias"):
            whole = getattr(two_classes.network.classifier, name)
            getattr(model.network.classifier, name).copy_(whole[1:] - whole[:1])
    return model


@pytest.fixture(scope="module")
def three_classes() -> BertPairClassifier:
    return head(3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ASKING)
def test_one_logit_is_two_classes(
    method: str, two_classes: BertPairClassifier, one_logit: BertPairClassifier
) -> None:
    assert (one_logit.labels, one_logit.outputs) == (("no", "yes"), SOFTMAX)
    both = (explained(model, method) for model in (two_classes, one_logit))
    for one, other in zip(*both, strict=True):
        assert one.prediction == other.prediction
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
        same(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("method", ASKING)
def test_to_name_the_predicted_class_asks_the_same(
    method: str, three_classes: BertPairClassifier
) -> None:
    for pair in PAIRS:
        explain = PairExplainer(three_classes, method=method, budget=400)
        usual = explain(*pair)
        named = explain(*pair, target=explain.labels[usual.prediction])
        same(usual, named)
        assert named.value == pytest.approx(usual.value)
        assert named.question == f"p(L{usual.prediction})"


def logits_without(model: BertPairClassifier, example: PairExample, keep: Tensor) -> Tensor:
    """The model's own call on the pair with the other words hidden, (M,)."""
    batch = model.encoder("word")([example])
    owners = batch.word_of_token[0]
    gone = (owners >= 0) & ~keep[owners.clamp_min(0)]
    found: Tensor = model.direct(example, "pad", gone)
    return found


KINDS: dict[str, tuple[int, dict[str, Any], dict[str, Any], Any]] = {
    "predicted": (3, {}, {}, lambda z, w: z.softmax(-1)[w.argmax()]),
    "named": (3, {}, {"target": "L2"}, lambda z, w: z.softmax(-1)[2]),
    "contrast": (3, {}, {"target": "L2", "against": "L0"}, lambda z, w: z[2] - z[0]),
    "label": (
        3,
        {"problem_type": "multi_label_classification"},
        {"target": "L1"},
        lambda z, w: z.sigmoid()[1],
    ),
    "likeliest label": (
        3,
        {"problem_type": "multi_label_classification"},
        {},
        lambda z, w: z.sigmoid()[w.argmax()],
    ),
    "two labels": (
        3,
        {"problem_type": "multi_label_classification"},
        {"target": "L1", "against": "L2"},
        lambda z, w: z[1] - z[2],
    ),
    "regression": (1, {"problem_type": "regression"}, {}, lambda z, w: z[0]),
    "re-ranker's score": (
        1,
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
        {"threshold": 0.1},
        lambda z, w: z[0],
    ),
    "one logit": (1, {}, {"target": "not L0"}, lambda z, w: (-z[1]).sigmoid()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_masked_pair_has_the_number_of_the_models_own_call(
    kind: str, examples: list[PairExample]
) -> None:
    """Against a loop over its own call; so have the exact Shapley values of all words."""
    outputs, config, asked, number = KINDS[kind]
    model = head(outputs, **config)
    question = question_about(model.labels, model.outputs, **asked)
    example = examples[2]
    batch = model.encoder("word")([example])
    masked = MaskedModel(model, batch, "pad", question=question, token_budget=512)
    n = int(batch.word_valid.sum())
    keeps = torch.tensor(list(itertools.product([False, True], repeat=n)))
    with torch.no_grad():
        logits = [logits_without(model, example, keep) for keep in keeps]
    expected = torch.stack([number(z, logits[-1]) for z in logits])
    torch.testing.assert_close(masked.values(keeps[None])[0], expected, atol=1e-5, rtol=1e-5)
    shares = (-masked.loss(keeps[None])[0]).exp()
    assert ((shares > 0) & (shares < 1)).all()
    apart = expected[:, None] - expected > 1e-4
    assert (shares[:, None] - shares)[apart].min() >= 0  # they rise with the number
    found = Shapley(k=n, context="keep", word_filter=METHODS["occlusion"]())(masked).scores[0]
    by_hand = [
        sum(
            math.factorial(int(s.sum()))
            * math.factorial(n - 1 - int(s.sum()))
            / math.factorial(n)
            * float(expected[index + 2 ** (n - 1 - word)] - expected[index])
            for index, s in enumerate(keeps)
            if not s[word]
        )
        for word in range(n)
    ]
    assert found.tolist() == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *itertools.product(("contrast", "likeliest label", "regression"), ASKING),
        *itertools.product(KINDS, ("gmask", "gradient_x_input", "lime")),
    ],
)
def test_every_explainer_answers_every_question(kind: str, method: str) -> None:
    """And says what the number of the whole pair is."""
    outputs, config, asked, number = KINDS[kind]
    model = head(outputs, **config)
    for pair, found in zip(PAIRS, explained(model, method, **asked), strict=True):
        (example,) = [e for e in _examples() if (e.text1, e.text2) == pair]
        with torch.no_grad():
            whole = model.direct(example)
        assert found.value == pytest.approx(float(number(whole, whole)), abs=1e-5)
        assert all(map(math.isfinite, found.scores))
        if model.outputs == SCORE:
            limit = asked.get("threshold", 0.0)
            assert (found.prediction, found.probabilities) == (float(whole[0]) >= limit, ())


def _examples() -> list[PairExample]:
    from gmask_pl.data.in_memory import Given, texts_of

    return Given(texts_of(PAIRS), ("a", "b"), clean=False).pairs


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in ASKING if name not in FREE])
def test_scores_are_in_the_unit_of_the_number(method: str) -> None:
    """Ten times the score, from another zero: the same groups and order, in another unit."""
    model = head(1, problem_type="regression")
    larger = head(1, problem_type="regression")
    with torch.no_grad():
        larger.network.classifier.weight.copy_(10 * model.network.classifier.weight)
        larger.network.classifier.bias.copy_(10 * model.network.classifier.bias + 3)
    both = (explained(one, method) for one in (model, larger))
    for one, other in zip(*both, strict=True):
        assert [w for w, _ in one.top(99)] == [w for w, _ in other.top(99)]
        if one.groups and other.groups:
            assert one.groups.members == other.groups.members
        in_unit = method in ("occlusion", "kernel_shap", "shapley", "one_word", "gmask_two_sided")
        if in_unit:
            assert other.scores == pytest.approx([10 * s for s in one.scores], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", benchmarks.kinds.KINDS)
def test_every_kind_of_model_is_explained_as_it_answers(kind: str) -> None:
    """The benchmark compares each with its own call, and would raise an error."""
    assert benchmarks.kinds.row(kind).startswith(f"| {kind} |")


def test_decisions() -> None:
    outputs = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [1.5, 1.0, 0.0]]])
    aim = torch.zeros(1, 3, dtype=torch.int64)
    assert PREDICTED.decision(outputs, aim).tolist() == [[0, 2, 0]]
    assert ClassProbability(1).decision(outputs, aim + 1).tolist() == [[0, 0, 0]]
    assert ClassProbability(0).decision(outputs, aim).tolist() == [[1, 0, 1]]
    assert ClassProbability(0, SIGMOID).decision(outputs - 1, aim).tolist() == [[1, 0, 1]]
    assert LogOdds(1, 0).decision(outputs, aim).tolist() == [[0, 1, 0]]
    assert Score(threshold=1.6).decision(outputs, aim).tolist() == [[1, 0, 0]]


def test_a_scores_share_lies_between_the_empty_and_the_whole_pair() -> None:
    ends = torch.tensor([[-1.0, 3.0], [5.0, 3.0]])
    at_ends = torch.tensor([[-1.0], [3.0]])
    aim = torch.zeros(2, dtype=torch.int64)
    low, high = (Score().log_share(z.expand(2, 1), aim, ends).exp() for z in at_ends)
    assert float(low[0]) == pytest.approx(1 / (1 + math.e**2))
    assert float(high[0]) == pytest.approx(1 / (1 + math.e**-2))
    assert float(high[1]) == pytest.approx(1 / (1 + math.e**2))  # the lower one of the two
    fixed = Score(reference=1.0).log_share(at_ends[1].expand(2, 1), aim, ends)
    assert fixed.exp().tolist() == pytest.approx([1 / (1 + math.e**-2)] * 2)


@pytest.mark.parametrize(
    ("meaning", "asked", "said"),
    [
        (SOFTMAX, {"target": "c"}, "target=c: the model's labels are a, b"),
        (SOFTMAX, {"against": "a"}, "against=a: it needs target=LABEL"),
        (SOFTMAX, {"target": "a", "against": "a"}, "against=a: it is the target itself"),
        (SOFTMAX, {"threshold": 0.5}, "threshold=0.5: it is of a score"),
        (SIGMOID, {"reference": 0.5}, "reference=0.5: it is of a score"),
        (SCORE, {"target": "a"}, "target=a: the model has one score"),
    ],
)
def test_what_cannot_be_asked_is_told(meaning: str, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        question_about(("a", "b"), meaning, **asked)
