"""Functions of pairs as models: what they are asked, what they may give, and how they fail."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEXTS

from gmask_pl.api import NotExplained, PairExplainer
from gmask_pl.data.in_memory import Given, texts_of
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.function import FunctionClassifier
from gmask_pl.types import NoAnswer, UserError

Pairs = list[tuple[str, str]]


def shared(pairs: Pairs) -> list[float]:
    """How many words of the first text the second has too."""
    return [float(len({*a.split()} & {*b.split()})) for a, b in pairs]


def chances(pairs: Pairs) -> np.ndarray:
    p = np.array([(1 + s) / 10 for s in shared(pairs)])
    return np.stack([1 - p, p], 1)


class Counting:
    """A function that keeps what it was asked."""

    def __init__(self, function: Any = shared) -> None:
        self.function, self.asked = function, list[Pairs]()

    def __call__(self, pairs: Pairs) -> Any:
        self.asked.append(pairs)
        return self.function(pairs)


PAIR = ("a big dog  runs, now", "the dog runs")


def test_it_is_asked_about_the_texts_without_the_removed_words() -> None:
    """Each word goes with the spaces behind it; the whole pair is asked about as it is."""
    function = Counting()
    found = PairExplainer(function, method="occlusion", batch_size=4)(*PAIR)
    asked = [pair for pairs in function.asked[2:] for pair in pairs]
    one, two = PAIR
    assert asked[0] == PAIR
    assert set(asked[1:]) == {
        *((text, two) for text in ("big dog  runs, now", "a dog  runs, now", "a big runs, now")),
        *((text, two) for text in ("a big dog  , now", "a big dog  runs now", "a big dog  runs,")),
        *((one, text) for text in ("dog runs", "the runs", "the dog")),
    }
    assert max(map(len, function.asked)) == 4
    assert found.value == shared([PAIR])[0]
    assert dict(found.top(2)) == {"dog": 1.0}


def test_every_answer_is_that_of_its_text() -> None:
    """Over all masks, against the function by itself."""
    model = FunctionClassifier(chances, labels=["no", "yes"])
    texts = ("two dogs run", "dogs run fast")
    (example,) = Given(texts_of([texts]), model.labels, clean=False).pairs
    batch = model.encoder("word")([example])
    masked = MaskedModel(model, batch, "delete", token_budget=64)
    keeps = list(itertools.product([False, True], repeat=6))
    sides = [text.split() for text in texts]
    kept = [
        (
            " ".join(itertools.compress(sides[0], keep)),
            " ".join(itertools.compress(sides[1], keep[3:])),
        )
        for keep in keeps
    ]
    expected = torch.from_numpy(chances(kept)).float()
    found = masked.logits(torch.tensor([keeps])).softmax(-1)[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("function", "labels", "outputs", "names"),
    [
        (shared, None, "score", ("below the threshold", "at least the threshold")),
        (chances, None, "softmax", ("0", "1")),
        (chances, ["no", "yes"], "softmax", ("no", "yes")),
        (lambda pairs: chances(pairs)[:, 1].tolist(), ["no", "yes"], "softmax", ("no", "yes")),
        (lambda pairs: torch.tensor(chances(pairs)), None, "softmax", ("0", "1")),
        (lambda pairs: np.array(shared(pairs))[:, None], None, "score", None),
    ],
)
def test_what_it_gives_says_what_it_means(
    function: Any, labels: list[str] | None, outputs: str, names: tuple[str, ...] | None
) -> None:
    model = FunctionClassifier(function, labels=labels)
    assert model.outputs == outputs
    assert names is None or model.labels == names
    found = PairExplainer(function, labels=labels, method="lime", budget=50)(*PAIR)
    expected = shared([PAIR])[0] if outputs == "score" else max(chances([PAIR])[0])
    assert found.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("gives", "labels", "said"),
    [
        (lambda pairs: None, None, "gave None: a function returns its numbers"),
        (lambda pairs: [1.0], None, r"gave numbers of shape \(1,\) for 2 pairs"),
        (lambda pairs: 1.0, None, r"gave numbers of shape \(\) for 2 pairs"),
        (lambda pairs: ["a"] * len(pairs), None, "gave a list that holds no numbers"),
        (
            lambda pairs: [[0.5, 0.6]] * len(pairs),
            None,
            r"\[0.5, 0.6\], which are no probabilities",
        ),
        (lambda pairs: [3.0] * len(pairs), ["no", "yes"], "which are no probabilities"),
        (lambda pairs: [[0.5, 0.5]] * len(pairs), ["a", "b", "c"], "the function gives 2 classes"),
        (lambda pairs: [[0.5, 0.5]] * len(pairs), ["a", "a"], "give each a name of its own"),
        (lambda pairs: 1 / 0, None, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_answer_is_told_at_once(gives: Any, labels: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        PairExplainer(gives, labels=labels)


def test_a_pair_that_it_fails_at_fails_alone() -> None:
    def picky(pairs: Pairs) -> list[float]:
        if any("cat" in a for a, _ in pairs):
            raise TimeoutError("no answer from the service")
        return shared(pairs)

    explain = PairExplainer(picky, method="occlusion", batch_size=8)
    with pytest.raises(NotExplained, match="pair 2: picky raised TimeoutError: no answer") as error:
        explain.many([PAIR, ("a cat", "a dog"), ("two dogs", "dogs")])
    assert [e is not None for e in error.value.explanations] == [True, False, True]
    numbers = [float("nan"), 1.0]
    explain = PairExplainer(lambda pairs: [numbers["cat" not in a] for a, _ in pairs])
    with pytest.raises(NotExplained, match="pair 1: the model's answer is not a finite number"):
        explain("a cat", "a dog")


@pytest.mark.parametrize(
    "method",
    [
        "lime",
        "kernel_shap",
        "gmask",
        "gmask_two_sided",
        "joint_groups",
        "shapley",
        "imask",
        "interaction",
    ],
)
@pytest.mark.parametrize("budget", [60, 500])
def test_no_pair_is_asked_about_more_than_the_budget(method: str, budget: int) -> None:
    function = Counting()
    explain = PairExplainer(function, method=method, budget=budget)
    long = ("one two three four five six seven eight nine ten", "one two four six seven nine x y z")
    before = sum(map(len, function.asked))
    found = explain(*long)
    assert found.evaluations <= budget
    assert sum(map(len, function.asked)) - before <= budget
    assert found.evaluations > min(budget, 400) / 4  # and it is made use of


def test_a_budget_that_is_too_small_is_told() -> None:
    least = "budget=10: JointGroups needs at least 32 calls a pair: give budget=32 or more"
    with pytest.raises(UserError, match=least):
        PairExplainer(shared, budget=10)
    explain = PairExplainer(shared, method="occlusion", budget=5)
    with pytest.raises(NotExplained, match="budget=5: more calls are needed than that") as told:
        explain(*PAIR)
    assert "give budget=10 or more" in str(told.value)  # each of 9 words, and the whole pair
    PairExplainer(shared, method="occlusion", budget=10)(*PAIR)


def test_an_answer_that_drifts_is_told() -> None:
    answers = itertools.count()

    def drifts(pairs: Pairs) -> list[float]:
        return [float(next(answers)) for _ in pairs]

    with pytest.warns(UserWarning, match=r"gave 0\.0 for a pair, and 2\.0 for the same pair"):
        PairExplainer(drifts, method="random")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PairExplainer(shared, method="random")
        PairExplainer(chances, labels=["no", "yes"], method="random")


def test_answers_are_kept_on_disk(tmp_path: Path) -> None:
    first, again = Counting(), Counting()
    for function in (first, again):
        explain = PairExplainer(function, method="lime", budget=40, cache=tmp_path)
        explain.many(TEXTS)
    assert len(first.asked) > 1
    # To see what it gives, and whether it still gives the same.
    assert again.asked[2:] == [[pair] for pair in TEXTS]
    changed = Counting(lambda pairs: [2 * s for s in shared(pairs)])
    found = PairExplainer(changed, method="lime", budget=40, cache=tmp_path)(*TEXTS[0])
    assert found.value == 2 * shared([TEXTS[0]])[0]  # it is another function


def test_a_mask_stands_in_the_place_of_words() -> None:
    function = Counting()
    PairExplainer(function, method="occlusion", mask="[MASK]", removal="mask")("a dog", "dogs")
    asked = {pair for pairs in function.asked[2:] for pair in pairs}
    assert asked == {
        ("a dog", "dogs"),
        ("[MASK] dog", "dogs"),
        ("a [MASK]", "dogs"),
        ("a dog", "[MASK]"),
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"removal": "zero"}, "removal=zero: .* a function has no embeddings"),
        ({"removal": "mask"}, "no mask is given"),
        ({"unit": "token"}, "unit=token: a function reads texts"),
        ({"method": "gradient_x_input"}, "a function has no embeddings|has no gradients"),
        ({"method": "attention"}, "does not tell its attention"),
        ({"max_length": 20}, "max_length: it is not of a function"),
        ({"method": "lyme"}, "method=lyme: there is no such method; did you mean lime"),
        ({"device": "gpu7"}, "device=gpu7: give a device such as cpu"),
    ],
)
def test_what_a_function_cannot_be_asked_is_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        PairExplainer(shared, **settings)


def test_what_is_no_model_is_told() -> None:
    for wrong in (3, "FOLDER", FunctionClassifier):
        with pytest.raises(UserError, match="is no model that is known here: give a Hugging Face"):
            PairExplainer(wrong)
    with pytest.raises(NoAnswer):
        FunctionClassifier(lambda pairs: [])


def test_answers_kept_are_of_the_texts_and_of_the_function_as_it_is(tmp_path: Path) -> None:
    """Token ids of a function are numbers in the order of its words; what it refers to changes."""
    weight = {"w": [1.0]}

    def length(pairs: list[tuple[str, str]]) -> list[float]:
        return [weight["w"][0] * len(a) for a, _ in pairs]

    def value(one: str, two: str) -> float | None:
        return PairExplainer(length, method="occlusion", cache=tmp_path)(one, two).value

    class Model:
        factor = 1.0

        def score(self, pairs: list[tuple[str, str]]) -> list[float]:
            return [self.factor * len(a) for a, _ in pairs]

    assert value("aa bb", "cc dd") == 5.0
    assert value("xxxx yyyy", "zz ww") == 9.0
    model = torch.nn.Linear(1, 1, bias=False)
    for factor in (1.0, 2.0):
        torch.nn.init.constant_(model.weight, factor)
        found = PairExplainer(
            lambda pairs: [float(model.weight) * len(a) for a, _ in pairs],
            method="occlusion",
            cache=tmp_path,
        )("aa bb", "cc dd")
        assert found.value == 5.0 * factor
        assert found.top(1)[0][1] == 3.0 * factor


def test_signs_that_no_word_holds_stay_where_nothing_is_removed() -> None:
    asked: list[tuple[str, str]] = []

    def read(pairs: list[tuple[str, str]]) -> list[float]:
        asked.extend(pairs)
        return [float(b.endswith("?")) for _, b in pairs]

    def words(text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+", text)]

    found = PairExplainer(read, method="occlusion", segment=words)("«He» is home.", "Is he home?")
    assert found.value == 1.0
    assert ("«He» is home.", "Is he home?") in asked


@pytest.mark.parametrize(
    "asked", [{"threshold": math.nan}, {"threshold": "x"}, {"reference": True}]
)
def test_numbers_of_a_question_are_checked_at_every_call(asked: dict[str, Any]) -> None:
    explain = PairExplainer(lambda pairs: [1.0 for _ in pairs], method="random")
    with pytest.raises(UserError, match=f"{next(iter(asked))}=.*: give a finite number"):
        explain("a", "b", **asked)


def test_what_learns_from_a_network_is_refused_of_a_function() -> None:
    with pytest.raises(UserError, match="L2X learns from what a network reads"):
        PairExplainer(lambda pairs: [1.0 for _ in pairs], method="l2x")
