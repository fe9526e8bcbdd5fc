"""GMASK's three estimators on the same pairs: seconds and model evaluations a pair, side by side.

    python benchmarks/estimators.py --pairs 20 --sampled-pairs 2 \
        model=bert dataset=esnli dataset.path=... weights=...

What is not an option is an override of explain.py's configuration; without any, a small BERT on
the planted pairs is measured. All estimators study the same candidates of the same filter.
``sampled`` is slow: all three are compared on the first pairs only, and the two fast ones are
measured on all pairs too. Figures are medians of the repeats; they also go to
<output>/benchmarks/estimators.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from gmask_pl.config import register
from gmask_pl.data.datamodule import draw
from gmask_pl.engine.study import make_study
from gmask_pl.engine.weights import classifier_to_explain
from gmask_pl.explainers.gmask import GMask
from gmask_pl.explainers.study import Study
from gmask_pl.masking import MaskedModel
from gmask_pl.types import PairBatch

CONF = Path(__file__).resolve().parents[1] / "conf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--sampled-pairs", type=int, default=2, help="on which all are compared")
    parser.add_argument("--repeats", type=int, default=3)
    options, overrides = parser.parse_known_args()
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", overrides=overrides)
    source = instantiate(cfg.dataset)
    classifier = classifier_to_explain(cfg, source, Path(cfg.output) / "benchmarks")
    examples = draw(source.load(cfg.split), options.pairs, cfg.limit_seed)
    encode = classifier.encoder(cfg.unit)
    study = make_study(cfg, source, classifier)
    few = min(options.sampled_pairs, len(examples))
    fast = ("exact", "straight_through")
    runs = dict.fromkeys(
        [*((name, len(examples)) for name in fast), *((name, few) for name in (*fast, "sampled"))]
    )
    found: dict[tuple[str, int], list[dict[str, float]]] = {run: [] for run in runs}
    # Round by round, so that a slow spell of the machine falls on all of them.
    for name, n in tqdm([*runs] * options.repeats, desc="estimators"):
        batches = [
            encode(examples[i : min(i + cfg.batch_size, n)]) for i in range(0, n, cfg.batch_size)
        ]
        found[name, n].append(measure(cfg, study, name, batches))
    results: list[dict[str, Any]] = [
        {"estimator": name, "pairs": n}
        | {key: statistics.median(run[key] for run in measured) for key in measured[0]}
        for (name, n), measured in found.items()
    ]
    slowest = results[-1]
    for row in results:
        if row["pairs"] == few:
            row["times_faster_than_sampled"] = slowest["seconds"] / row["seconds"]
    report(cfg, results, overrides)


def measure(
    cfg: DictConfig, study: Study, estimator: str, batches: list[PairBatch]
) -> dict[str, float]:
    """Means over the pairs; the filter's share of seconds and evaluations is in them."""
    explainer: GMask = instantiate(cfg.explainer, estimator=estimator)
    explainer.prepare(study)
    pairs = sum(map(len, batches))
    evaluations = gradients = 0
    start = time.perf_counter()
    for batch in batches:
        masked = MaskedModel(
            study.classifier, batch, explainer.removal, token_budget=cfg.token_budget
        )
        explainer(masked)
        evaluations += int(masked.evaluations.sum())
        gradients += int(masked.gradients.sum())
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds / pairs,
        "evaluations": evaluations / pairs,
        "gradients": gradients / pairs,
    }


def report(cfg: DictConfig, results: list[dict[str, Any]], overrides: list[str]) -> None:
    columns = list(results[-1])
    print("".join(column.rjust(max(18, len(column) + 2)) for column in columns))
    for row in results:
        cells = (row.get(column, "–") for column in columns)
        texts = (f"{cell:,.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
        widths = (max(18, len(column) + 2) for column in columns)
        print("".join(text.rjust(width) for text, width in zip(texts, widths, strict=True)))
    facts: dict[str, Any] = {
        "overrides": overrides,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "estimators": results,
    }
    file = Path(cfg.output) / "benchmarks" / "estimators.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    print(f"results: {file}")


if __name__ == "__main__":
    main()
