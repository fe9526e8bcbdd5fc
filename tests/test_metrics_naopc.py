"""Normalised AOPC: bounds from every permutation, its rules, and what is kept between runs."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import explainer_of, kept, make_example
from pytorch_lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from gmask_pl.explanation import Explanation
from gmask_pl.identity.of_model import weights_digest
from gmask_pl.identity.of_pairs import pair_keys
from gmask_pl.loops import ExplainLoop, ScoreLoop
from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.metrics.faithfulness.naopc import BoundsCache, NormalisedAOPC
from gmask_pl.metrics.pair_metric import evaluate
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.scoring import Metrics, asked_results
from gmask_pl.types import PairExample, PairScore, UserError

SETTINGS: dict[str, Any] = {
    "max_removed": 3,
    "beam": 1,
    "exact_words": 6,
    "min_range": 0.01,
    "cache": None,
    "resamples": 50,
    "seed": 0,
}


class RandomModel:
    """Probabilities of two classes, drawn at random for every set of kept words."""

    def __init__(self, n_words: list[int], width: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.valid = torch.arange(width) < torch.tensor(n_words)[:, None]
        self.table = torch.rand(len(n_words), 2**width, generator=generator)
        self.asked = 0
        self.whole = self.ask(self.valid[:, None])[:, 0]

    def ask(self, keep: Tensor) -> Tensor:
        self.asked += keep.shape[1]
        codes = (keep.long() * 2 ** torch.arange(keep.shape[-1])).sum(-1)
        p = self.table.gather(1, codes)
        return torch.stack([p, 1 - p], -1)

    def scored(self, metric: Any, scores: Tensor, keys: Any = None) -> dict[str, Any]:
        rows = self.rows(metric, scores, keys)
        return metric.result(rows)

    def rows(self, metric: Any, scores: Tensor, keys: Any = None) -> Tensor:
        given = (self.ask, scores, self.valid, self.whole)
        return evaluate({"it": metric}, *given, keys=keys)["it"]

    def areas(self, row: int, max_removed: int) -> list[float]:
        """AOPC of every order of the words of one pair, by the metric AOPC itself."""
        n = int(self.valid[row].sum())
        found = []
        for order in itertools.permutations(range(n)):
            scores = torch.zeros(1, self.valid.shape[1])
            scores[0, list(order)] = torch.arange(n, 0, -1).float()
            metric = AOPC(max_removed=max_removed, resamples=1, seed=0)
            one = slice(row, row + 1)
            table, whole = self.table[one], self.whole[one]

            def ask(keep: Tensor, table: Tensor = table) -> Tensor:
                codes = (keep.long() * 2 ** torch.arange(keep.shape[-1])).sum(-1)
                p = table.gather(1, codes)
                return torch.stack([p, 1 - p], -1)

            rows = evaluate({"aopc": metric}, ask, scores, self.valid[one], whole)
            found.append(metric.result(rows["aopc"])["value"])
        return found


def test_it_is_the_place_between_the_worst_and_the_best_of_all_orders() -> None:
    model = RandomModel([5, 4, 2], 5)
    scores = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    found = model.scored(NormalisedAOPC(**SETTINGS), scores)
    expected, low, high = 0.0, 0.0, 0.0
    for row in range(3):
        areas = model.areas(row, 3)
        # the first order of `permutations` by descending score is the explained one
        n = int(model.valid[row].sum())
        order = tuple(sorted(range(n), key=lambda w, row=row: -float(scores[row, w])))
        own = areas[list(itertools.permutations(range(n))).index(order)]
        expected += (own - min(areas)) / (max(areas) - min(areas)) / 3
        low, high = low + min(areas) / 3, high + max(areas) / 3
    assert found["value"] == pytest.approx(expected, abs=1e-3)
    assert found["lowest"] == pytest.approx(low, abs=1e-4)
    assert found["highest"] == pytest.approx(high, abs=1e-4)
    assert (found["n"], found["exact"], found["widened"], found["flat"]) == (3, 3, 0, 0)
    assert found["low"] <= found["value"] <= found["high"]
    json.dumps(found, allow_nan=False)


def test_the_best_and_the_worst_order_are_one_and_zero() -> None:
    """A pair whose probability is carried by word 1 alone."""
    valid = torch.ones(1, 4, dtype=torch.bool)

    def ask(keep: Tensor) -> Tensor:
        p = torch.where(keep[..., 1], 0.9, 0.1)
        return torch.stack([p, 1 - p], -1)

    whole = ask(valid[:, None])[:, 0]
    for scores, expected in (([0, 1, 0, 0], 1.0), ([3, 0, 2, 1], 0.0), ([2, 1, 0, 0], 2 / 3)):
        metric = NormalisedAOPC(**SETTINGS)
        given = (torch.tensor([scores]).float(), valid, whole)
        found = metric.result(evaluate({"it": metric}, ask, *given)["it"])
        assert found["value"] == pytest.approx(expected, abs=1e-4)
        assert found["highest"] == pytest.approx(0.8 * 3 / 4, abs=1e-4)
        assert found["lowest"] == pytest.approx(0, abs=1e-4)


def test_an_order_beyond_a_searched_bound_moves_it_and_is_counted() -> None:
    """Greedy search is led astray: the first word alone does nothing, two together everything."""
    valid = torch.ones(1, 4, dtype=torch.bool)

    def ask(keep: Tensor) -> Tensor:
        p = torch.where(keep[..., 2] | keep[..., 3], 0.9, 0.0) - 0.1 * ~keep[..., 0]
        p = p.clamp_min(0)
        return torch.stack([p, 1 - p], -1)

    whole = ask(valid[:, None])[:, 0]
    scores = torch.tensor([[0.0, 0.0, 2.0, 1.0]])
    greedy, wide = (NormalisedAOPC(**SETTINGS | {"exact_words": e}) for e in (0, 4))
    found, exact = (
        metric.result(evaluate({"it": metric}, ask, scores, valid, whole)["it"])
        for metric in (greedy, wide)
    )
    # removed greedily: word 0, then the earlier of the equals, 1 and 2: 0.1 in every step
    assert found["highest"] == pytest.approx(0.3 / 4, abs=1e-4)
    assert exact["highest"] == pytest.approx((0 + 0.9 + 0.9) / 4, abs=1e-4)
    assert (found["widened"], found["exact"], found["value"]) == (1, 0, 1)
    assert (exact["widened"], exact["exact"]) == (0, 1)
    assert exact["value"] == pytest.approx(1, abs=1e-4)


def test_pairs_that_no_order_tells_apart_are_left_out_and_counted() -> None:
    model = RandomModel([4, 1, 0], 4, seed=2)
    found = model.scored(NormalisedAOPC(**SETTINGS), torch.rand(3, 4))
    assert (found["n"], found["flat"], found["exact"]) == (1, 2, 3)
    alone = RandomModel([1], 4).scored(NormalisedAOPC(**SETTINGS), torch.rand(1, 4))
    assert (alone["value"], alone["low"], alone["high"], alone["n"]) == (None, None, None, 0)
    json.dumps(alone, allow_nan=False)


def test_any_split_into_batches_gives_the_same_result() -> None:
    scores = torch.rand(4, 6, generator=torch.Generator().manual_seed(3))
    model = RandomModel([6, 3, 5, 2], 6)
    together = model.scored(NormalisedAOPC(**SETTINGS), scores)
    metric, rows = NormalisedAOPC(**SETTINGS), []
    for row in (2, 0, 3, 1):
        one = slice(row, row + 1)
        part = RandomModel([1], 6)
        part.table, part.valid, part.whole = model.table[one], model.valid[one], model.whole[one]
        rows.append(part.rows(metric, scores[one]))
    assert metric.result(torch.cat(rows)) == pytest.approx(together)


def test_bounds_are_searched_once_for_all_explainers(tmp_path: Path) -> None:
    settings = SETTINGS | {"cache": str(tmp_path / "bounds")}
    model = RandomModel([5, 4], 5)
    generator = torch.Generator().manual_seed(4)
    one, two = torch.rand(2, 2, 5, generator=generator)

    def keys() -> list[str]:
        return ["a", "b"]

    model.scored(NormalisedAOPC(**settings), one, keys)
    before = model.asked
    reused = model.scored(NormalisedAOPC(**settings), two, keys)
    assert model.asked - before == 3 + 1  # the masks of the order and the empty pair alone
    fresh = model.scored(NormalisedAOPC(**SETTINGS), two)
    assert reused == pytest.approx(fresh)
    # another search, another pair: nothing to reuse
    for other, names in ((settings | {"beam": 2}, ["a", "b"]), (settings, ["c", "b"])):
        before = model.asked
        model.scored(NormalisedAOPC(**other), two, lambda names=names: names)
        assert model.asked - before > 4
    assert len(list((tmp_path / "bounds").glob("*.jsonl"))) == 3
    assert not list((tmp_path / "bounds").glob(".*"))


@pytest.mark.parametrize(
    "line",
    [
        '{"key": "a"}',
        '{"key": "a", "lowest": "0", "highest": 1.0, "exact": true}',
        '{"key": "a", "lowest": 2.0, "highest": 1.0, "exact": true}',
        '{"key": "a", "lowest": NaN, "highest": 1.0, "exact": true}',
        '["key"]',
        '{"key": ',
    ],
)
def test_a_damaged_file_of_bounds_is_named_and_searched_again(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = '{"key": "b", "lowest": 0.0, "highest": 0.5, "exact": true}\n'
    (tmp_path / "x.jsonl").write_text(f"{good}{line}\n{good}", "utf-8")
    cache = BoundsCache(tmp_path)
    assert (cache.get("a"), cache.get("b")) == (None, (0.0, 0.5, True))
    assert f"{tmp_path}/x.jsonl, line 2: not a bound" in capsys.readouterr().err


def test_bounds_that_cannot_be_kept_end_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    cache = BoundsCache(tmp_path / "file")
    cache.add(["a"], [(0.0, 1.0, True)])
    assert cache.get("a") == (0.0, 1.0, True)
    assert "warning: bounds are not kept for other runs: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("max_removed", 0, "max_removed=0"),
        ("beam", 0, "beam=0"),
        ("exact_words", 1.5, "exact_words=1.5"),
        ("min_range", 0, "min_range=0"),
    ],
)
def test_settings_out_of_range_are_named(setting: str, value: Any, named: str) -> None:
    with pytest.raises(UserError, match=named):
        NormalisedAOPC(**SETTINGS | {setting: value})


def test_a_key_names_the_pair_as_it_is_read(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    encode = classifier.encoder("word")
    together = pair_keys(encode(examples), "model", "pad")
    assert len(set(together)) == len(examples)
    for example, key in zip(examples, together, strict=True):
        renamed = make_example("another id", example.text1, example.text2)
        assert pair_keys(encode([renamed]), "model", "pad") == [key]
        assert pair_keys(encode([renamed]), "model", "zero") != [key]


def test_a_fingerprint_follows_every_weight(classifier: PairClassifier) -> None:
    before = weights_digest(classifier)
    assert weights_digest(classifier) == before
    weight = list(classifier.parameters())[-1]
    with torch.no_grad():
        weight.view(-1)[0] += 1e-3
    assert weights_digest(classifier) != before


@pytest.mark.slow
def test_a_run_finds_the_bounds_that_another_has_left(
    tmp_path: Path, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """Through the loop that scores explanations; under another removal, other bounds."""
    batch = classifier.encoder("word")(examples)
    settings = SETTINGS | {"exact_words": 4, "min_range": 1e-9, "cache": str(tmp_path)}

    def bounds_after(removal: str, seed: int) -> list[str]:
        random = explainer_of("random", f"seed={seed}", f"explainer.removal={removal}")
        found: dict[int, list[Explanation]] = {}
        explain = ExplainLoop(classifier, random, [0], kept(found), token_budget=512)
        data = DataLoader([batch], batch_size=None)  # type: ignore[arg-type]
        trainer = Trainer(
            logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False
        )
        trainer.predict(explain, data)
        asked = {removal: {"naopc": NormalisedAOPC(**settings)}}
        rows: dict[int, list[PairScore]] = {}
        score = ScoreLoop(classifier, asked, [0], found.__getitem__, kept(rows), token_budget=512)
        trainer.predict(score, data)
        results = asked_results(Metrics(asked, {}), rows.values())
        assert 0 <= results["naopc"]["value"] <= 1
        lines = (file.read_text("utf-8").splitlines() for file in tmp_path.glob("*.jsonl"))
        return [json.loads(line)["key"] for line in itertools.chain(*lines)]

    first = bounds_after("pad", 0)
    assert len(set(first)) == len(examples)
    assert sorted(bounds_after("pad", 1)) == sorted(first)
    assert len(set(bounds_after("zero", 0))) == 2 * len(examples)
