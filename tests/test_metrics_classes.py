"""The metric classes: state across batches and processes, rules, known answers, settings."""

from __future__ import annotations

import functools
import inspect
import json
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from torch import Tensor
from torchmetrics import MetricCollection

from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.metrics.faithfulness.comprehensiveness import Comprehensiveness
from gmask_pl.metrics.faithfulness.degradation import Degradation
from gmask_pl.metrics.faithfulness.post_hoc_accuracy import PostHocAccuracy
from gmask_pl.metrics.faithfulness.sufficiency import Sufficiency
from gmask_pl.metrics.pair_metric import PairMetric, evaluate, rank_words
from gmask_pl.metrics.torchmetric import ExplanationMetric
from gmask_pl.pipeline.hydra_setup import choices
from gmask_pl.types import JSON, UserError

CONF = Path(__file__).resolve().parents[1] / "conf"
NAMES = ("aopc", "post_hoc_accuracy", "degradation", "comprehensiveness", "sufficiency")
FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)


def all_metrics(resamples: int = 100) -> dict[str, PairMetric]:
    common = {"resamples": resamples, "seed": 0}
    return {
        "aopc": AOPC(max_removed=10, **common),
        "post_hoc_accuracy": PostHocAccuracy(max_words=10, **common),
        "degradation": Degradation(steps=10, min_denominator=0.05, **common),
        "comprehensiveness": Comprehensiveness(fractions=FRACTIONS, **common),
        "sufficiency": Sufficiency(fractions=FRACTIONS, **common),
    }


def counting(metrics: dict[str, PairMetric] | None = None) -> MetricCollection:
    """The metrics as those of torchmetrics, which keep what batches come to."""
    chosen = metrics or all_metrics()
    return MetricCollection({name: ExplanationMetric(metric) for name, metric in chosen.items()})


def results(metrics: MetricCollection) -> dict[str, Any]:
    return {name: metric.compute() for name, metric in metrics.items(copy_state=False)}


def result_of(metric: PairMetric, answers: Tensor, whole: Tensor, n_words: Tensor) -> JSON:
    """The result of a metric from the answers to its masks."""

    def ask(keep: Tensor) -> Tensor:
        return torch.cat([answers, answers[:, -1:]], 1)[:, : keep.shape[1]]

    valid = torch.arange(max(int(n_words.max()), 1)) < n_words[:, None]
    rows = evaluate({"it": metric}, ask, torch.zeros(valid.shape), valid, whole)
    return metric.result(rows["it"])


class LinearModel:
    """Softmax of word weights summed over the kept words: a cheap model that reads every mask."""

    def __init__(self, n: int, width: int, classes: int = 3, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.weights = torch.randn(n, width, classes, generator=generator)
        self.bias = torch.randn(classes, generator=generator)
        n_words = torch.randint(1, width + 1, (n,), generator=generator)
        self.valid = torch.arange(width) < n_words.unsqueeze(1)
        self.scores = torch.randn(n, width, generator=generator)

    def answer(self, masks: Tensor, rows: slice = slice(None)) -> Tensor:
        summed = torch.einsum("bsw,bwc->bsc", masks.float(), self.weights[rows])
        return (summed + self.bias).softmax(-1)

    def given(
        self, rows: slice = slice(None)
    ) -> tuple[Callable[[Tensor], Tensor], *tuple[Tensor, ...]]:
        """What `evaluate` takes of some pairs."""
        whole = self.answer(self.valid[rows].unsqueeze(1), rows).squeeze(1)
        ask = functools.partial(self.answer, rows=rows)
        return ask, self.scores[rows], self.valid[rows], whole

    def feed(self, metrics: MetricCollection, rows: slice = slice(None)) -> None:
        metrics.update(*self.given(rows))


def naive(model: LinearModel) -> dict[str, float]:
    """The values by loops over examples, words and the papers' equations."""
    n = len(model.scores)
    area, agreed = 0.0, 0.0
    without, alone = [0.0] * 5, [0.0] * 5
    curves = {"morf": [0.0] * 11, "lerf": [0.0] * 11}
    for b in range(n):
        words = [w for w in range(model.valid.shape[1]) if model.valid[b, w]]
        ranked = [w for _, w in sorted((-model.scores[b, w].item(), w) for w in words)]

        def ask(keep: list[int], b: int = b) -> list[float]:
            logits = model.bias.clone()
            for w in keep:
                logits = logits + model.weights[b, w]
            return logits.softmax(0).tolist()

        whole = ask(words)
        y = whole.index(max(whole))
        area += sum(whole[y] - ask(ranked[u:])[y] for u in range(1, 11)) / 11
        for v in range(1, 11):
            answer = ask(ranked[:v])
            agreed += (answer.index(max(answer)) == y) / 10
        for i, percent in enumerate((1, 5, 10, 20, 50)):
            top = -(-percent * len(words) // 100)
            without[i] += (whole[y] - ask(ranked[top:])[y]) / n
            alone[i] += (whole[y] - ask(ranked[:top])[y]) / n
        for i in range(11):
            gone = math.floor(i * len(words) / 10 + 0.5)
            curves["morf"][i] += ask(ranked[gone:])[y] / n
            curves["lerf"][i] += ask(ranked[: len(words) - gone])[y] / n
    score = 0.0
    for i in range(10):
        for j in (i, i + 1):
            score += (curves["lerf"][j] - curves["morf"][j]) / 20
    score /= curves["morf"][0] - curves["morf"][10]
    return {
        "aopc": area / n,
        "post_hoc_accuracy": agreed / n,
        "degradation": score,
        "comprehensiveness": sum(without) / 5,
        "sufficiency": sum(alone) / 5,
    } | {
        f"{name} {fraction}": value
        for name, values in (("comprehensiveness", without), ("sufficiency", alone))
        for fraction, value in zip(FRACTIONS, values, strict=True)
    }


def test_values_equal_plain_loops_over_the_paper() -> None:
    model = LinearModel(9, 14)
    metrics = counting()
    model.feed(metrics)
    computed = results(metrics)
    found = {name: result["value"] for name, result in computed.items()}
    for name in ("comprehensiveness", "sufficiency"):
        for fraction, part in computed[name]["by_fraction"].items():
            found[f"{name} {fraction}"] = part["value"]
    assert found == pytest.approx(naive(model), abs=1e-5)


def same(one: Any, two: Any) -> None:
    assert one.keys() == two.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            same(value, two[key])
        else:
            assert two[key] == pytest.approx(value, abs=1e-6), key


@pytest.mark.parametrize("size", [1, 2, 4, 10])
def test_any_split_into_batches_gives_the_same_result(size: int) -> None:
    model = LinearModel(10, 12)
    whole, split = counting(), counting()
    model.feed(whole)
    for start in reversed(range(0, 10, size)):
        model.feed(split, slice(start, start + size))
    same(results(whole), results(split))


def test_padding_the_words_changes_nothing() -> None:
    model, padded = LinearModel(6, 9), LinearModel(6, 9)
    padded.weights = torch.nn.functional.pad(padded.weights, (0, 0, 0, 5), value=7.0)
    padded.valid = torch.nn.functional.pad(padded.valid, (0, 5))
    padded.scores = torch.nn.functional.pad(padded.scores, (0, 5), value=99.0)
    one, two = counting(), counting()
    model.feed(one)
    padded.feed(two)
    same(results(one), results(two))


def test_reset_forgets_everything() -> None:
    metrics, fresh = counting(), counting()
    LinearModel(5, 8, seed=1).feed(metrics)
    results(metrics)
    metrics.reset()
    for target in (metrics, fresh):
        LinearModel(5, 8, seed=2).feed(target)
    assert results(metrics) == results(fresh)


def test_update_after_compute_is_counted() -> None:
    metrics = counting()
    model = LinearModel(4, 6)
    model.feed(metrics, slice(0, 2))
    assert {r["n"] for r in results(metrics).values()} == {2}
    model.feed(metrics, slice(2, 4))
    assert {r["n"] for r in results(metrics).values()} == {4}


def test_results_are_strict_json_with_the_promised_keys() -> None:
    metrics = counting()
    LinearModel(5, 12).feed(metrics)
    found = json.loads(json.dumps(results(metrics), allow_nan=False))
    headline = {"value", "low", "high", "n"}

    def told(*parts: str) -> set[str]:
        ends = {f"{part}{end}" for part in parts for end in ("", "_low", "_high")}
        return headline | ends | {"empty", "meaningful"}

    assert set(found["aopc"]) == told("all_at_once")
    lists = {"by_v", "low_by_v", "high_by_v"}
    assert set(found["post_hoc_accuracy"]) - {"why"} == told("floor", "above_floor") | lists
    assert set(found["degradation"]) == told("denominator") | {"percent", "morf", "lerf"}
    assert set(found["comprehensiveness"]) == told("all_at_once") | {"by_fraction"}
    assert set(found["sufficiency"]) == told("floor", "above_floor") | {"by_fraction"}
    for name in ("comprehensiveness", "sufficiency"):
        parts = found[name]["by_fraction"]
        assert list(parts) == ["0.01", "0.05", "0.1", "0.2", "0.5"]
        assert all(part["low"] <= part["value"] <= part["high"] for part in parts.values())
        assert found[name]["value"] == pytest.approx(sum(p["value"] for p in parts.values()) / 5)
    for result in found.values():
        assert result["low"] <= result["value"] <= result["high"]
    accuracy, curves = found["post_hoc_accuracy"], found["degradation"]
    assert accuracy["value"] == pytest.approx(sum(accuracy["by_v"]) / 10)
    assert len(accuracy["low_by_v"]) == len(accuracy["high_by_v"]) == 10
    assert curves["percent"] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert (curves["morf"][0], curves["morf"][-1]) == (1, 0)
    assert (curves["lerf"][0], curves["lerf"][-1]) == (1, 0)


def both_kept(masks: Tensor) -> Tensor:
    """The known answer: p = 0.95 when words 3 and 6 of ten are both kept, 0.05 otherwise."""
    p = torch.where(masks[..., 3] & masks[..., 6], 0.95, 0.05)
    return torch.stack([1 - p, p], dim=-1)


def known_answer(scores: list[float]) -> dict[str, Any]:
    metrics = counting()
    valid = torch.ones(2, 10, dtype=torch.bool)
    whole = both_kept(valid.unsqueeze(1)).squeeze(1)
    metrics.update(both_kept, torch.tensor([scores] * 2), valid, whole)
    return results(metrics)


def test_the_right_ranking_attains_the_analytic_optimum() -> None:
    found = known_answer([0, 0, 0, 9, 0, 0, 8, 0, 0, 0])
    assert found["aopc"]["value"] == pytest.approx(0.9 * 10 / 11)
    assert found["post_hoc_accuracy"]["by_v"] == [0, *[1] * 9]
    # MoRF falls to 0 with the first word; LeRF stays at 1 up to 80 % and falls to 0 at 90 %.
    assert found["degradation"]["morf"] == pytest.approx([1, *[0] * 10], abs=1e-6)
    assert found["degradation"]["lerf"] == pytest.approx([*[1] * 9, 0, 0], abs=1e-6)
    assert found["degradation"]["value"] == pytest.approx(0.8)
    assert found["degradation"]["denominator"] == pytest.approx(0.9)
    assert found["degradation"]["meaningful"] is True
    # Of ten words, 1, 5 and 10 % are one word, 20 % are the two that decide.
    assert found["comprehensiveness"]["value"] == pytest.approx(0.9)
    assert found["sufficiency"]["value"] == pytest.approx(0.9 * 3 / 5)


def test_the_reversed_ranking_is_the_worst() -> None:
    found = known_answer([0, 0, 0, -9, 0, 0, -8, 0, 0, 0])
    # The pair breaks when the ninth word goes; it is complete when the tenth is there.
    assert found["aopc"]["value"] == pytest.approx(0.9 * 2 / 11)
    assert found["post_hoc_accuracy"]["by_v"] == [*[0] * 9, 1]
    assert found["degradation"]["value"] == pytest.approx(-0.8)
    assert found["comprehensiveness"]["value"] == pytest.approx(0)
    assert found["sufficiency"]["value"] == pytest.approx(0.9)


def test_fewer_words_than_u() -> None:
    # One pair of two words: the empty pair's probability stands in for u = 3..10.
    p = {(True, True): 0.9, (False, True): 0.7, (True, False): 0.6, (False, False): 0.2}

    def ask(masks: Tensor) -> Tensor:
        values = [[p[tuple(row)] for row in example] for example in masks.tolist()]
        kept = torch.tensor(values)
        return torch.stack([kept, 1 - kept], dim=-1)

    metrics = counting()
    valid = torch.tensor([[True, True]])
    metrics.update(ask, torch.tensor([[2.0, 1.0]]), valid, torch.tensor([[0.9, 0.1]]))
    found = results(metrics)
    assert found["aopc"]["value"] == pytest.approx((0.2 + 9 * 0.7) / 11)
    assert found["post_hoc_accuracy"]["by_v"] == [1] * 10
    assert found["comprehensiveness"]["value"] == pytest.approx(0.2)
    assert found["sufficiency"]["value"] == pytest.approx(0.3)
    for result in found.values():
        assert result["low"] == result["value"] == result["high"]
        assert result["n"] == 1
    # Words gone at 0..100 %: 0 0 0 1 1 1 1 1 2 2 2; p MoRF 0.7, LeRF 0.6 with one gone.
    assert found["degradation"]["value"] == pytest.approx(5 * (0.6 - 0.7) / 0.7 / 10, abs=1e-6)


def test_a_whole_pair_agrees_by_definition() -> None:
    metric = PostHocAccuracy(max_words=3, resamples=10, seed=0)
    wrong = torch.tensor([[[0.4, 0.6]] * 3] * 2)
    found = result_of(metric, wrong, torch.tensor([[0.6, 0.4]] * 2), torch.tensor([2, 3]))
    assert found["by_v"] == [0, 0.5, 1]


def test_a_pair_without_words_counts_and_changes_no_answer() -> None:
    metrics = counting()
    valid = torch.tensor([[False, False], [True, True]])
    whole = torch.tensor([[0.7, 0.3], [0.9, 0.1]])

    def ask(masks: Tensor) -> Tensor:
        kept = 0.7 + 0.1 * masks.sum(-1)
        return torch.stack([kept, 1 - kept], dim=-1)

    metrics.update(ask, torch.zeros(2, 2), valid, whole)
    found = results(metrics)
    assert found["aopc"]["value"] == pytest.approx((0 + (0.1 + 9 * 0.2) / 11) / 2, abs=1e-6)
    assert found["post_hoc_accuracy"]["value"] == 1
    assert found["degradation"]["denominator"] == pytest.approx((0 + 0.2) / 2)
    assert found["degradation"]["n"] == 2


def degradation(whole: float, middle: tuple[float, float], empty: float) -> dict[str, Any]:
    """Degradation in two steps of three equal examples."""
    metric = Degradation(steps=2, min_denominator=0.05, resamples=20, seed=0)
    p = torch.tensor([[*middle, empty]] * 3)
    probabilities = torch.stack([p, 1 - p], dim=-1)
    given = torch.tensor([[whole, 1 - whole]] * 3), torch.tensor([4, 4, 4])
    return result_of(metric, probabilities, *given)


def test_degradation_with_a_near_zero_denominator_is_reported_and_marked() -> None:
    found = degradation(0.90, (0.80, 0.90), 0.88)
    assert found["meaningful"] is False
    assert found["denominator"] == pytest.approx(0.02, abs=1e-6)
    assert found["value"] == pytest.approx(0.5 * 0.10 / 0.02, rel=1e-4)


def test_degradation_with_a_negative_denominator_is_reported_and_marked() -> None:
    found = degradation(0.6, (0.5, 0.7), 0.9)
    assert found["meaningful"] is False
    assert found["denominator"] == pytest.approx(-0.3, abs=1e-6)
    assert found["value"] == pytest.approx(0.5 * 0.2 / -0.3, rel=1e-4)


@pytest.mark.parametrize("threshold", [0.0, 0.05])
def test_degradation_with_a_zero_denominator_has_no_value(threshold: float) -> None:
    metric = Degradation(steps=2, min_denominator=threshold, resamples=20, seed=0)
    answers = torch.tensor([[[0.5, 0.5], [0.7, 0.3], [0.9, 0.1]]])
    found = result_of(metric, answers, torch.tensor([[0.9, 0.1]]), torch.tensor([4]))
    assert (found["value"], found["low"], found["high"]) == (None, None, None)
    assert (found["denominator"], found["meaningful"]) == (0, False)
    assert found["morf"] == found["lerf"] == [None] * 3
    json.dumps(found, allow_nan=False)


def test_degradation_averages_before_it_normalises() -> None:
    metric = Degradation(steps=2, min_denominator=0.05, resamples=20, seed=0)
    p = torch.tensor([[0.2, 0.9, 0.1], [0.5, 0.6, 0.5]])  # MoRF, LeRF at 50 %, empty
    whole = torch.tensor([0.9, 0.6])
    found = result_of(
        metric,
        torch.stack([p, 1 - p], -1),
        torch.stack([whole, 1 - whole], -1),
        torch.tensor([4, 4]),
    )
    # Averages: whole 0.75, empty 0.3, MoRF 0.35, LeRF 0.75. (Normalised first: 0.4688.)
    assert found["value"] == pytest.approx(0.5 * (0.75 - 0.35) / 0.45, abs=1e-6)


def test_words_rank_by_signed_score_then_position() -> None:
    scores = torch.tensor([[0.0, 2.0, -1.0, 2.0, 5.0], [-0.0, 0.0, 0.0, torch.nan, 1.0]])
    valid = torch.tensor([[True, True, True, True, False], [True, True, True, False, False]])
    order, n_words = rank_words(scores, valid)
    assert order[0].tolist() == [1, 3, 0, 2, 4]
    assert order[1, :3].tolist() == [0, 1, 2]
    assert order[1, 3:].sort().values.tolist() == [3, 4]
    assert n_words.tolist() == [4, 3]


def test_many_ties_keep_the_order_of_positions() -> None:
    scores = torch.randint(0, 3, (2, 500), generator=torch.Generator().manual_seed(0)).float()
    order, _ = rank_words(scores, torch.ones(2, 500, dtype=torch.bool))
    for row, found in zip(scores.tolist(), order.tolist(), strict=True):
        assert found == [w for _, w in sorted((-row[w], w) for w in range(500))]


def test_infinite_scores_rank_within_the_words_that_exist() -> None:
    scores = torch.tensor([[-torch.inf, 9.0, torch.inf, 0.0]])
    order, _ = rank_words(scores, torch.tensor([[True, False, True, True]]))
    assert order.tolist() == [[2, 3, 0, 1]]


def test_a_score_that_is_not_a_number_is_refused() -> None:
    scores = torch.tensor([[0.0, 1.0], [0.0, torch.nan], [torch.nan, 0.0]])
    with pytest.raises(ValueError, match="word 1 in row 1"):
        rank_words(scores, torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="valid"):
        rank_words(scores, torch.ones(2, 3, dtype=torch.bool))


def test_the_model_is_asked_once_for_all_metrics() -> None:
    asked: list[tuple[int, ...]] = []
    model = LinearModel(3, 6)
    whole = model.answer(model.valid.unsqueeze(1)).squeeze(1)

    def ask(masks: Tensor) -> Tensor:
        asked.append(tuple(masks.shape))
        assert not (masks & ~model.valid.unsqueeze(1)).any()
        return model.answer(masks)

    metrics = all_metrics()
    evaluate(metrics, ask, model.scores, model.valid, whole)
    assert asked == [(3, 10 + 10 + 19 + 5 + 5 + 1, 6)]  # one: the empty pair


@pytest.mark.parametrize("name", NAMES)
def test_no_example_is_an_error_not_a_number(name: str) -> None:
    metric = ExplanationMetric(all_metrics()[name])
    with pytest.warns(UserWarning, match="before"), pytest.raises(UserError, match="no example"):
        metric.compute()
    none = torch.ones(0, 3, dtype=torch.bool)
    metric.update(lambda keep: torch.ones(*keep.shape[:2], 2), none.float(), none, torch.ones(0, 2))
    with pytest.raises(UserError, match="no example"):
        metric.compute()


def test_answers_that_do_not_fit_are_refused() -> None:
    metric = {"aopc": AOPC(max_removed=2, resamples=10)}
    scores, valid, whole = torch.zeros(1, 3), torch.ones(1, 3).bool(), torch.full((1, 2), 0.5)
    for shape in ((1, 4, 2), (1, 3, 3), (2, 3, 2)):
        with pytest.raises(ValueError, match="expected"):
            evaluate(metric, lambda keep, s=shape: torch.full(s, 0.5), scores, valid, whole)
    for wrong in (float("nan"), -2.0, 3.0):
        with pytest.raises(ValueError, match="probabilities"):
            evaluate(metric, lambda k, p=wrong: torch.full((1, 3, 2), p), scores, valid, whole)


def test_bfloat16_answers_are_averaged_in_full_precision() -> None:
    whole = torch.tensor([[0.75, 0.25]] * 2, dtype=torch.bfloat16)
    removed = torch.tensor([[[0.5, 0.5]], [[0.5078125, 0.4921875]]], dtype=torch.bfloat16)
    found = result_of(AOPC(max_removed=1, resamples=10), removed, whole, torch.tensor([3, 3]))
    assert found["value"] == pytest.approx((0.25 + 0.2421875) / 2 / 2)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: AOPC(max_removed=0, resamples=1, seed=0), "AOPC.max_removed=0"),
        (lambda: AOPC(max_removed=1, resamples=0, seed=0), "AOPC.resamples=0"),
        (lambda: AOPC(max_removed=1, resamples=1, seed=-1), "AOPC.seed=-1"),
        (
            lambda: PostHocAccuracy(max_words=2.5, resamples=1, seed=0),  # type: ignore[arg-type]
            "PostHocAccuracy.max_words=2.5",
        ),
        (
            lambda: Sufficiency(fractions=[0.5, 0.1], resamples=1, seed=0),
            r"Sufficiency.fractions=\[0.5, 0.1\]",
        ),
        (
            lambda: Comprehensiveness(fractions=[0.0, 0.1], resamples=1, seed=0),
            r"Comprehensiveness.fractions=\[0.0, 0.1\]",
        ),
        (
            lambda: Comprehensiveness(fractions=[1e-7, 0.1], resamples=1, seed=0),
            r"Comprehensiveness.fractions=\[1e-07, 0.1\]",
        ),
        (
            lambda: Comprehensiveness(fractions=[], resamples=1, seed=0),
            r"Comprehensiveness.fractions=\[\]",
        ),
        (
            lambda: Degradation(steps=1, min_denominator=0, resamples=1, seed=0),
            "Degradation.steps=1",
        ),
        (
            lambda: Degradation(steps=2, min_denominator=-0.1, resamples=1, seed=0),
            "Degradation.min_denominator=-0.1",
        ),
    ],
)
def test_settings_out_of_range_are_named(make: Any, setting: str) -> None:
    with pytest.raises(UserError, match=setting):
        make()


@pytest.fixture
def chosen() -> Iterator[Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield compose(overrides=[f"+metric=[{','.join(NAMES)}]"]).metric


def test_configured_metrics_are_the_papers(chosen: Any) -> None:
    metrics = instantiate(chosen)
    assert list(metrics) == list(NAMES)
    assert metrics["aopc"].max_removed == 10
    assert metrics["post_hoc_accuracy"].max_words == 10
    assert (metrics["degradation"].steps, metrics["degradation"].min_denominator) == (10, 0.05)
    for name in ("comprehensiveness", "sufficiency"):
        assert tuple(map(float, metrics[name].fractions)) == FRACTIONS
    assert {(metric.resamples, metric.seed) for metric in metrics.values()} == {(2000, 0)}


@pytest.mark.parametrize("name", choices("metric"))
def test_a_class_by_itself_is_as_its_yaml_says(name: str) -> None:
    """What YAML says and the defaults of the class are one, but for what is listed here."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(overrides=[f"+metric=[{name}]", "+output=outputs"]).metric[name]
    written = {k: v for k, v in OmegaConf.to_container(cfg, resolve=True).items() if k[0] != "_"}
    on_purpose = {"naopc": {"cache"}, "group_removed": {"side"}, "group_kept": {"side"}}
    own = get_class(cfg._target_)
    constructors = [base.__init__ for base in own.__mro__ if "__init__" in vars(base)]
    parameters = [p for init in constructors for p in inspect.signature(init).parameters.values()]
    taken = [p for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]
    named = {p.name: p.default for p in taken if p.kind is p.KEYWORD_ONLY}
    assert named.keys() >= written.keys()
    assert all(p.kind is p.KEYWORD_ONLY for p in taken[: len(named)])
    differing = {
        key
        for key, value in written.items()
        if (tuple(value) if isinstance(value, list) else value) != named[key]
    }
    assert differing == on_purpose.get(name, set())


def test_a_batch_has_its_own_value_and_counts_for_all() -> None:
    """`forward` of torchmetrics, of a collection of metrics."""
    metrics, model = counting(), LinearModel(6, 8)
    first = metrics(*model.given(slice(0, 4)))
    second = metrics(*model.given(slice(4, 6)))
    for found, rows in ((first, slice(0, 4)), (second, slice(4, 6))):
        alone = counting()
        model.feed(alone, rows)
        assert found["aopc_value"] == results(alone)["aopc"]["value"]
    whole = counting()
    model.feed(whole)
    same(results(whole), results(metrics))


def test_a_copy_goes_on_from_the_same_state() -> None:
    metrics, model = counting(), LinearModel(4, 6)
    model.feed(metrics, slice(0, 2))
    copies = metrics.clone(), pickle.loads(pickle.dumps(metrics))
    for found in (metrics, *copies):
        model.feed(found, slice(2, 4))
    assert results(metrics) == results(copies[0]) == results(copies[1])


def test_metrics_alike_at_first_stay_apart_in_a_collection() -> None:
    """Of two metrics whose first rows are equal torchmetrics must not update one alone."""
    settings = {"resamples": 10, "seed": 0}
    metrics = counting(
        {"one": AOPC(max_removed=1, **settings), "two": AOPC(max_removed=2, **settings)}
    )
    valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 2.0, 1.0]])
    sure = torch.tensor([[0.5, 0.5]])
    metrics.update(lambda keep: torch.full((*keep.shape[:2], 2), 0.5), scores, valid, sure)
    model = LinearModel(1, 3)
    model.feed(metrics)
    alone = counting({"two": AOPC(max_removed=2, **settings)})
    alone.update(lambda keep: torch.full((*keep.shape[:2], 2), 0.5), scores, valid, sure)
    model.feed(alone)
    assert len(metrics.compute_groups) == 2
    assert results(metrics)["two"] == results(alone)["two"]


def one_process(rank: int, folder: str) -> None:
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    try:
        torch.set_num_threads(1)
        model = LinearModel(7, 8)
        found = {}
        for label, cut in (("uneven", 5), ("one empty", 7)):
            metrics = counting()
            for row in range(cut) if rank == 0 else range(cut, 7):
                model.feed(metrics, slice(row, row + 1))
            found[label] = results(metrics)
        Path(folder, f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    mp.spawn(one_process, args=(str(tmp_path),), nprocs=2)
    single = counting()
    LinearModel(7, 8).feed(single)
    expected = results(single)
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        same(expected, found["uneven"])
        same(expected, found["one empty"])
