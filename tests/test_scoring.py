"""The scoring pass: each masked pair asked about once, several removals, numbers by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import CONF, kept
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from gmask_pl.explanation import Explanation
from gmask_pl.loops import EVALUATIONS, ScoreLoop
from gmask_pl.metrics.floor import EMPTY
from gmask_pl.metrics.pair_metric import RankedPairs, rank_words
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.scoring import (
    Metrics,
    asked_results,
    configured_metrics,
    metric_removals,
    model_free_results,
)
from gmask_pl.types import Highlight, PairExample, PairScore, UserError

LABELS = ("entailment", "neutral", "contradiction")
ALL = "aopc,post_hoc_accuracy,degradation,comprehensiveness,sufficiency"


def configured(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("explain", list(overrides))


def explained(examples: Sequence[PairExample]) -> list[Explanation]:
    """Explanations with random scores."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for e in examples:
        scores = torch.randn(len(e.words1) + len(e.words2), generator=generator).tolist()
        found.append(
            Explanation(e.id, e.words1, e.words2, 0, 0, (1.0,), tuple(scores), None, 0, 0, 0.0)
        )
    return found


def scored(
    classifier: PairClassifier,
    examples: list[PairExample],
    metrics: str,
    removal: str,
    batch_size: int = 2,
) -> tuple[dict[str, Any], list[PairScore]]:
    """Results and the numbers of every pair, but for the counts of evaluations."""
    made = configured_metrics(configured(f"metric=[{metrics}]", f"metric.removal={removal}"))
    found, numbers = explained(examples), dict[int, list[PairScore]]()
    starts = range(0, len(examples), batch_size)
    loop = ScoreLoop(
        classifier,
        made.asked,
        [7 * start for start in starts],
        lambda number: found[number // 7 :][:batch_size],
        kept(numbers),
        token_budget=512,
    )
    for index, start in enumerate(starts):
        loop.predict_step(classifier.encoder("word")(examples[start:][:batch_size]), index)
    asked, (known, rows) = (
        asked_results(made, numbers.values()),
        model_free_results(made, found, examples, LABELS),
    )
    apart = (EVALUATIONS, EMPTY)
    own = [score for batch in numbers.values() for score in batch if score.metric not in apart]
    return asked | known, own + rows


def distinct_masks(
    classifier: PairClassifier, examples: list[PairExample], metrics: Metrics
) -> float:
    """Mean number of different masks that the metrics have of a pair, and of no word."""
    total = 0
    for example, found in zip(examples, explained(examples), strict=True):
        batch = classifier.encoder("word")([example])
        ranked = rank_words(torch.tensor([found.scores]).double(), batch.word_valid)
        (named,) = metrics.asked.values()
        pairs = RankedPairs(batch.word_valid, *ranked, torch.ones(1), lambda keep: None)
        masks = [metric.masks(pairs)[0] for metric in named.values()]
        masks.append(torch.zeros_like(batch.word_valid))  # what the empty pair gives
        kept = torch.cat(masks) & batch.word_valid
        total += len({tuple(mask) for mask in kept.tolist()})
    return total / len(examples)


def test_each_masked_pair_is_asked_about_once(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    counts = {}
    for chosen in (ALL, "aopc", "aopc,comprehensiveness"):
        metrics = configured_metrics(configured(f"metric=[{chosen}]"))
        results, _ = scored(classifier, examples, chosen, "pad")
        counts[chosen] = results["scoring"]["evaluations_per_pair"]
        # One more is the whole pair, whose prediction all metrics refer to.
        assert counts[chosen] == 1 + distinct_masks(classifier, examples, metrics)
    # 1 to 50 % of these pairs are at most ten words, so AOPC has asked about them already.
    assert counts["aopc,comprehensiveness"] == counts["aopc"] < counts[ALL]


def test_several_removals_are_the_single_ones_side_by_side(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    both, rows = scored(classifier, examples, ALL, "[pad,mask]")
    assert list(both["by_removal"]) == both["scoring"]["removals"] == ["pad", "mask"]
    evaluations = 0.0
    for removal in ("pad", "mask"):
        alone, own = scored(classifier, examples, ALL, removal)
        evaluations += alone.pop("scoring")["evaluations_per_pair"]
        assert "by_removal" not in alone
        assert both["by_removal"][removal] == alone
        assert [row for row in rows if row.removal == removal] == own
        if removal == "pad":
            assert {name: both[name] for name in alone} == alone
    assert both["scoring"]["evaluations_per_pair"] == pytest.approx(evaluations)
    assert both["aopc"] != both["by_removal"]["mask"]["aopc"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_rows_belong_to_their_pairs_in_any_batch(
    classifier: PairClassifier, examples: list[PairExample], batch_size: int
) -> None:
    results, rows = scored(classifier, examples, ALL, "[mask]", batch_size)
    lengths = {"aopc": 1, "post_hoc_accuracy": 10, "degradation": 19}
    for name in ALL.split(","):
        of_metric = [row for row in rows if row.metric == name]
        assert [row.id for row in of_metric] == [e.id for e in examples]
        assert {len(row.row) for row in of_metric} == {lengths.get(name, 5)}
    _, alone = scored(classifier, examples[:1], ALL, "mask")
    for one in alone:
        (same,) = (row for row in rows if (row.id, row.metric) == (one.id, one.metric))
        assert same.row == pytest.approx(one.row, abs=1e-5)
    mean = sum(row.row[0] for row in rows if row.metric == "aopc") / len(examples)
    assert results["aopc"]["value"] == pytest.approx(mean)


def test_what_is_known_of_pairs_needs_no_answers(
    classifier: PairClassifier,
    examples: list[PairExample],
    capsys: pytest.CaptureFixture[str],
) -> None:
    marked = replace(examples[0], highlights=(Highlight(None, frozenset({2})),))
    planted = replace(examples[1], evidence=(frozenset({1, 3}),))
    known = "evidence,rationale_agreement"
    results, rows = scored(classifier, [marked, planted, examples[2]], known, "[pad,mask]")
    assert list(results) == ["evidence", "rationale_agreement"]
    assert (results["evidence"]["n"], results["rationale_agreement"]["n"]) == (1, 1)
    assert results["rationale_agreement"]["kind"] == "rationale_agreement"
    assert {(row.id, row.removal, row.metric) for row in rows} == {
        (marked.id, None, "rationale_agreement"),
        (planted.id, None, "evidence"),
    }
    assert capsys.readouterr().out == ""
    results, _ = scored(classifier, examples, known, "pad")
    assert "evidence" not in results
    assert (results["rationale_agreement"]["n"], results["rationale_agreement"]["value"]) == (
        0,
        None,
    )


@pytest.mark.parametrize(
    ("removal", "named"),
    [("[pad,pad]", "pad,pad"), ("[]", "list"), ("shred", "shred"), ("[pad,shred]", "shred")],
)
def test_removals_that_cannot_be_are_refused(removal: str, named: str) -> None:
    with pytest.raises(UserError) as refused:
        configured_metrics(configured(f"metric.removal={removal}"))
    assert named in str(refused.value).replace("'", "").replace(", ", ",")


def test_a_single_removal_needs_no_list() -> None:
    assert metric_removals(configured("metric.removal=delete")) == ["delete"]
    assert metric_removals(configured("metric.removal=[mask,zero]")) == ["mask", "zero"]


def test_a_target_that_is_no_metric_is_named() -> None:
    cfg = configured("+metric.wrong._target_=fractions.Fraction")
    with pytest.raises(UserError, match=r"metric\.wrong\._target_=fractions\.Fraction"):
        configured_metrics(cfg)
