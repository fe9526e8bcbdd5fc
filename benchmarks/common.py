"""What the benchmarks share: model and pairs of explain.py's configuration, and the report."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from gmask_pl.data.datamodule import draw
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.training_context import TrainingContext
from gmask_pl.identity.of_model import identity_of_model
from gmask_pl.identity.parts import CONF
from gmask_pl.loops import removal_of
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.build import make_trainer, training_context
from gmask_pl.pipeline.hydra_setup import register
from gmask_pl.pipeline.model_weights import classifier_to_explain
from gmask_pl.types import Attributions, Classifier, PairBatch, PairExample


@dataclass(frozen=True, slots=True)
class Bench:
    """The configuration of a benchmark, its model, and pairs drawn as explain.py draws them.

    device: of the configured Trainer; the model and the batches are there.
    """

    overrides: tuple[str, ...]
    cfg: DictConfig
    device: torch.device
    classifier: PairClassifier
    training: TrainingContext
    examples: tuple[PairExample, ...]

    def batches(self, examples: Sequence[PairExample]) -> list[PairBatch]:
        encode, size = self.training.encode, self.cfg.batch_size
        starts = range(0, len(examples), size)
        return [encode(examples[i : i + size]).to(self.device) for i in starts]

    def explainer(self, name: str, **settings: Any) -> Explainer:
        """An explainer of ``conf/explainer`` with other settings, ready to explain."""
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("explain", [*self.overrides, f"explainer={name}"])
        found: Explainer = instantiate(cfg.explainer, **settings)
        found.prepare(self.training)
        self.classifier.to(self.device)  # a Trainer that learns from pairs takes it back in the end
        return found

    def bind(
        self, batch: PairBatch, removal: str, classifier: Classifier | None = None
    ) -> MaskedModel:
        budget = TokenBudget(self.cfg.token_budget)
        return MaskedModel(classifier or self.classifier, batch, removal, token_budget=budget)

    def explain(
        self,
        explainer: Explainer,
        batches: Sequence[PairBatch],
        classifier: Classifier | None = None,
    ) -> tuple[dict[str, float], list[Attributions]]:
        """Means over the pairs of seconds, evaluations, and evaluations with gradients; and what
        was found. classifier: another one than the benchmark's."""
        pairs = sum(map(len, batches))
        evaluations = gradients = 0
        found = []
        wait(self.device)
        start = time.perf_counter()
        for batch in batches:
            masked = self.bind(batch, removal_of(explainer, self.classifier), classifier)
            found.append(explainer(masked))
            evaluations += int(masked.evaluations.sum())
            gradients += int(masked.gradients.sum())
        wait(self.device)
        seconds = time.perf_counter() - start
        costs = {
            "seconds": seconds / pairs,
            "evaluations": evaluations / pairs,
            "gradients": gradients / pairs,
        }
        return costs, found


def prepared(overrides: Sequence[str], pairs: int) -> Bench:
    """The benchmark of ``pairs`` pairs; without weights the model is trained first."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", [*overrides, "run_name=benchmark"])
    cfg.log_dir = str(Path(cfg.output) / "benchmarks")  # of a training; Hydra makes none here
    source = instantiate(cfg.dataset)
    classifier = classifier_to_explain(cfg, source, Path(cfg.output) / "benchmarks")
    examples = draw(source.load(cfg.split), pairs, cfg.limit_seed)
    trainer = make_trainer(cfg)
    model = identity_of_model(classifier, str(trainer.precision))
    training = training_context(cfg, source, classifier, model)
    device = trainer.strategy.root_device
    return Bench(tuple(overrides), cfg, device, classifier.to(device), training, tuple(examples))


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked for: a GPU answers before it has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The median of the seconds of some work on the device."""
    found = []
    for _ in range(repeats):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def report(bench: Bench, name: str, rows: list[dict[str, Any]]) -> None:
    """Prints the rows and leaves them in <output>/benchmarks/<name>.json."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns]
    for row in rows:
        cells = [row.get(column, "–") for column in columns]
        lines.append([f"{cell:,.3f}" if isinstance(cell, float) else str(cell) for cell in cells])
    widths = [max(16, *(len(text) + 2 for text in column)) for column in zip(*lines, strict=True)]
    for texts in lines:
        print("".join(text.rjust(width) for text, width in zip(texts, widths, strict=True)))
    facts = {
        "overrides": bench.overrides,
        "device": device_name(bench.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": rows,
    }
    file = Path(bench.cfg.output) / "benchmarks" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    print(f"results: {file}")
