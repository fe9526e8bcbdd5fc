"""GMASK's three estimators on the same pairs: seconds and model evaluations a pair, side by side.

    python benchmarks/estimators.py --pairs 20 --sampled-pairs 2 \
        model=bert dataset=esnli dataset.path=... weights=...

What is not an option is an override of explain.py's configuration; without any, a small BERT on
the planted pairs is measured. All estimators study the same candidates of the same filter. The
table of results also goes to <output>/benchmarks/estimators.json.
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
from gmask_pl.engine.explain import classifier_to_explain
from gmask_pl.explainers.gmask import GMask
from gmask_pl.masking import MaskedModel
from gmask_pl.models.base import PairClassifier
from gmask_pl.types import PairBatch

CONF = Path(__file__).resolve().parents[1] / "conf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--sampled-pairs", type=int, default=2, help="sampled is slow")
    parser.add_argument("--repeats", type=int, default=3, help="of exact and straight_through")
    options, overrides = parser.parse_known_args()
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", overrides=overrides)
    source = instantiate(cfg.dataset)
    classifier = classifier_to_explain(cfg, source)
    examples = draw(source.load("test"), options.pairs, cfg.limit_seed)
    encode = classifier.encoder(cfg.unit)
    runs = {name: options.repeats for name in ("exact", "straight_through")} | {"sampled": 1}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    # Round by round, so that a slow spell of the machine falls on all of them.
    rounds = [(i, name) for i in range(options.repeats) for name, n in runs.items() if i < n]
    for _, name in tqdm(rounds, desc="estimators"):
        n = options.sampled_pairs if name == "sampled" else len(examples)
        batches = [
            encode(examples[i : min(i + cfg.batch_size, n)]) for i in range(0, n, cfg.batch_size)
        ]
        found[name].append(measure(cfg, classifier, name, batches))
    results = {
        name: {key: statistics.median(run[key] for run in measured) for key in measured[0]}
        for name, measured in found.items()
    }
    for values in results.values():
        values["times_faster_than_sampled"] = results["sampled"]["seconds"] / values["seconds"]
    report(cfg, results, overrides)


def measure(
    cfg: DictConfig, classifier: PairClassifier, estimator: str, batches: list[PairBatch]
) -> dict[str, float]:
    """Means over the pairs; the filter's share of seconds and evaluations is in them."""
    explainer: GMask = instantiate(cfg.explainer, estimator=estimator)
    pairs = sum(map(len, batches))
    evaluations = gradients = 0
    start = time.perf_counter()
    for batch in batches:
        masked = MaskedModel(classifier, batch, explainer.removal, token_budget=cfg.token_budget)
        explainer(masked)
        evaluations += int(masked.evaluations.sum())
        gradients += int(masked.gradients.sum())
    seconds = time.perf_counter() - start
    return {
        "pairs": pairs,
        "seconds": seconds / pairs,
        "evaluations": evaluations / pairs,
        "gradients": gradients / pairs,
    }


def report(cfg: DictConfig, results: dict[str, dict[str, float]], overrides: list[str]) -> None:
    columns = list(next(iter(results.values())))
    print("a pair".ljust(18) + "".join(column.rjust(27) for column in columns))
    for name, values in results.items():
        print(name.ljust(18) + "".join(f"{values[column]:27,.3f}" for column in columns))
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
