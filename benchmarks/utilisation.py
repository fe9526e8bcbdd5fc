"""What share of the device's matrix throughput coalition tables reach.

    python -m benchmarks.utilisation --pairs 8 model=bert dataset=esnli dataset.path=... weights=...

The floor of a table is counted: 2 x parameters x tokens for the linear layers of the encoder and
4 x hidden size x layers x (tokens of the input) for each of its tokens in attention; of the last
layer only what the head needs, keys and values of every token and the rest of the first one. It is
set against the time a table takes, and against a large matrix product in the same precision on the
same device. Overrides are those of explain.py, for a transformer. Figures are medians of the
repeats; they also go to <output>/benchmarks/utilisation.json.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.common import Bench, prepared, report, seconds
from gmask_pl.explainers._coalition import choose_candidates, value_table
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.first_token import last_layer
from gmask_pl.types import ModelInput, UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--matrix", type=int, default=4096, help="rows of the large product")
    parser.add_argument("--repeats", type=int, default=3)
    options, overrides = parser.parse_known_args()
    bench = prepared(overrides, options.pairs)
    if not isinstance(bench.classifier, BertPairClassifier):
        raise UserError(f"model={bench.cfg.model.name}: a transformer is measured here")
    peak = matrix_throughput(options.matrix, options.repeats, bench.device)
    rows: list[dict[str, Any]] = []
    for context in tqdm(("drop", "keep"), desc="utilisation"):
        counter = Counted(bench.classifier)
        tables(bench, options.k, context)
        counter.remove()
        work = partial(tables, bench, options.k, context)
        spent = seconds(work, options.repeats, bench.device)
        rows.append(
            {
                "context": context,
                "pairs": len(bench.examples),
                "tokens_a_pair": counter.tokens / len(bench.examples),
                "padding": 1 - counter.tokens / counter.padded,
                "seconds_a_pair": spent / len(bench.examples),
                "floor_seconds_a_pair": counter.operations / peak / len(bench.examples),
                "GFLOP_per_second": counter.operations / spent / 1e9,
                "matrix_GFLOP_per_second": peak / 1e9,
                "share": counter.operations / spent / peak,
            }
        )
    report(bench, "utilisation", rows)


def tables(bench: Bench, k: int, context: str) -> None:
    """The tables of all pairs over k words, the first ones of both sides."""
    for batch in bench.batches(bench.examples):
        masked = bench.bind(batch, "pad")
        position = torch.arange(batch.word_valid.shape[1], device=batch.device)
        order = -position.expand_as(batch.word_valid).float()
        candidates = choose_candidates(order, batch, k)
        value_table(masked, candidates, context=context, value="probability")


class Counted:
    """Counts tokens and operations of what a classifier is asked, until it is removed."""

    def __init__(self, classifier: BertPairClassifier) -> None:
        network = classifier.network
        layers, width = network.config.num_hidden_layers, network.config.hidden_size
        last = last_layer(network) if classifier.reading().first_token else None
        self.parameters = linear_weights(network, ".layer")
        self.first_only, self.last_width = 0, 0
        if last is not None:
            self.first_only = linear_weights(last) - linear_weights(last, "key", "value")
            layers, self.last_width = layers - 1, width
        self.width = width * layers
        self.tokens = self.padded = 0
        self.operations = 0.0
        self.handle = classifier.register_forward_pre_hook(self.count)

    def count(self, module: nn.Module, arguments: tuple[ModelInput]) -> None:
        lengths = arguments[0].attention.bool().sum(1).double()
        self.tokens += int(lengths.sum())
        self.padded += arguments[0].attention.numel()
        attention = 4 * (self.width * (lengths**2).sum() + self.last_width * lengths.sum())
        everywhere = (self.parameters - self.first_only) * lengths.sum()
        self.operations += float(2 * (everywhere + self.first_only * len(lengths)) + attention)

    def remove(self) -> None:
        self.handle.remove()


def linear_weights(network: nn.Module, *parts: str) -> int:
    """How many weights the linear layers have whose names hold one of the parts; none: all."""
    return sum(
        module.weight.numel()
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and (not parts or any(part in name for part in parts))
    )


def matrix_throughput(rows: int, repeats: int, device: torch.device) -> float:
    """Operations a second of a large product, the best that the device does here."""
    one, other = torch.randn(2, rows, rows, device=device).unbind()

    def product() -> Tensor:
        return one @ other

    product()
    return 2 * rows**3 / seconds(product, max(5, repeats), device)


if __name__ == "__main__":
    main()
