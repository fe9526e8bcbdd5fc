"""GMASK's three estimators on the same pairs: seconds and model evaluations a pair, side by side.

    python -m benchmarks.estimators --pairs 20 --sampled-pairs 2 \
        model=bert dataset=esnli dataset.path=... weights=...

What is not an option is an override of explain.py's configuration; without any, a small BERT on
the planted pairs is measured. All estimators study the same candidates of the same filter.
``sampled`` is slow: all three are compared on the first pairs only, and the two fast ones are
measured on all pairs too. Figures are medians of the repeats; they also go to
<output>/benchmarks/estimators.json.
"""

from __future__ import annotations

import argparse
from typing import Any

from tqdm import tqdm

from benchmarks.common import medians, prepared, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--sampled-pairs", type=int, default=2, help="on which all are compared")
    parser.add_argument("--repeats", type=int, default=3)
    options, overrides = parser.parse_known_args()
    bench = prepared(overrides, options.pairs)
    few = min(options.sampled_pairs, len(bench.examples))
    fast = ("exact", "straight_through")
    everything = len(bench.examples)
    runs = dict.fromkeys(
        [*((name, everything) for name in fast), *((name, few) for name in (*fast, "sampled"))]
    )
    found: dict[tuple[str, int], list[dict[str, float]]] = {run: [] for run in runs}
    # Round by round, so that a slow spell of the machine falls on all of them.
    for name, n in tqdm([*runs] * options.repeats, desc="estimators"):
        explainer = bench.explainer("gmask", estimator=name)
        found[name, n].append(bench.explain(explainer, bench.batches(bench.examples[:n])))
    rows: list[dict[str, Any]] = [
        {"estimator": name, "pairs": n} | medians(measured) for (name, n), measured in found.items()
    ]
    for row in rows:
        if row["pairs"] == few:
            row["times_faster_than_sampled"] = rows[-1]["seconds"] / row["seconds"]
    report(bench, "estimators", rows)


if __name__ == "__main__":
    main()
