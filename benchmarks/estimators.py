"""GMASK against its authors' way of running it: seconds, model evaluations and AOPC, side by side.

    python -m benchmarks.estimators --pairs 20 --released-pairs 2 \
        model=bert dataset=esnli dataset.path=... weights=...

What is not an option is an override of explain.py's configuration; without any, a small BERT on
the planted pairs is measured. All filters are counted in.

The authors explain one pair at a time, ask the model anew about every sample, and hand it the
removed words as padding: that is ``released``, which is slow, so all are compared on the first few
pairs, and the others on all pairs too. ``gmask_released`` with straight_through reads the samples
of ``released`` from a table, so its AOPC on all pairs stands for both. Figures are medians of the
repeats; they also go to <output>/benchmarks/estimators.json.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from hydra.utils import instantiate
from tqdm import tqdm

from benchmarks.common import Bench, medians, prepared, report
from gmask_pl.metrics.pair_metric import evaluate
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import Classifier, ModelInput

RELEASED = "released"
FAST: dict[str, tuple[str, dict[str, Any]]] = {
    "gmask exact": ("gmask", {"estimator": "exact"}),
    "gmask straight_through": ("gmask", {"estimator": "straight_through"}),
    "gmask_two_sided": ("gmask_two_sided", {}),
    "gmask_two_sided, few": ("gmask_two_sided", {"k": 4, "word_filter": {"samples_per_word": 4}}),
    "gmask_released": ("gmask_released", {"estimator": "straight_through"}),
}


class Carrying:
    """A classifier that is handed the removed words, hidden, as if it could not do without."""

    skips_hidden = False

    def __init__(self, classifier: PairClassifier) -> None:
        self.classifier = classifier
        self.pad_token_id, self.mask_token_id = classifier.pad_token_id, classifier.mask_token_id

    def __call__(self, inputs: ModelInput) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(inputs)
        return logits


def measured(bench: Bench, name: str, pairs: int) -> dict[str, float]:
    """Costs and AOPC of one contender on the first pairs."""
    examples = bench.examples[:pairs]
    if name == RELEASED:
        explainer = bench.explainer("gmask_released", estimator="sampled")
        batches = [batch for example in examples for batch in bench.batches([example])]
        explaining: Classifier = Carrying(bench.classifier)
    else:
        kind, settings = FAST[name]
        explainer, batches = bench.explainer(kind, **settings), bench.batches(examples)
        explaining = bench.classifier
    costs, found = bench.explain(explainer, batches, explaining)
    metric, rows = instantiate(bench.cfg.metric.aopc), []
    for batch, attributions in zip(batches, found, strict=True):
        masked = bench.bind(batch, bench.cfg.metric.removal)
        answers = evaluate(
            {"aopc": metric},
            masked.answers,
            attributions.scores,
            batch.word_valid,
            masked.whole,
        )
        rows.append(answers["aopc"])
    aopc = metric.result(torch.cat(rows))
    return {**costs, "aopc": aopc["value"], "aopc_low": aopc["low"], "aopc_high": aopc["high"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--released-pairs", type=int, default=2, help="on which all are compared")
    parser.add_argument("--repeats", type=int, default=3)
    options, overrides = parser.parse_known_args()
    bench = prepared(overrides, options.pairs)
    few, everything = min(options.released_pairs, len(bench.examples)), len(bench.examples)
    runs = list(dict.fromkeys([(n, everything) for n in FAST] + [(n, few) for n in FAST]))
    runs.append((RELEASED, few))
    found: dict[tuple[str, int], list[dict[str, float]]] = {run: [] for run in runs}
    # Round by round, so that a slow spell of the machine falls on all of them.
    for name, n in tqdm(runs * options.repeats, desc="estimators"):
        found[name, n].append(measured(bench, name, n))
    rows: list[dict[str, Any]] = [
        {"explainer": name, "pairs": n} | medians(values) for (name, n), values in found.items()
    ]
    for row in rows:
        if row["pairs"] == few:
            row["times_faster_than_released"] = rows[-1]["seconds"] / row["seconds"]
    report(bench, "estimators", rows)


if __name__ == "__main__":
    main()
