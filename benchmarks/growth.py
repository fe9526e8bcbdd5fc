"""How GMASK's seconds grow with pairs, their length, k words and t groups, and memory with pairs.

    python -m benchmarks.growth --pairs 16 model=bert dataset=esnli dataset.path=... weights=...

Longer pairs are pairs whose sides are said several times over. The pairs themselves say how many
groups they have, so t is given another value in the learning alone, of tables made before: its
seconds are of that part. Overrides are those of explain.py.
Memory is the peak of an explain.py process of its own (explainer=occlusion) for ever more pairs.
Figures are medians of the repeats; they also go to <output>/benchmarks/growth.json.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.common import Bench, medians, prepared, report, seconds
from gmask_pl.explainers._coalition import choose_candidates
from gmask_pl.explainers.explainer import example_generators
from gmask_pl.explainers.gmask import GMask, ResponseTables, group_shape
from gmask_pl.identity.parts import CONF
from gmask_pl.types import PairExample, Span

PEAK = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("peak", peak // 1024, file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--k", type=numbers, default=[4, 6, 8, 10])
    parser.add_argument("--groups", type=numbers, default=[2, 5, 10, 20])
    parser.add_argument("--times", type=numbers, default=[1, 2, 4], help="as long, as in 1,2,4")
    parser.add_argument("--memory-pairs", type=numbers, default=[50, 500])
    parser.add_argument("--repeats", type=int, default=3)
    options, overrides = parser.parse_known_args()
    bench = prepared(overrides, options.pairs)
    n = len(bench.examples)
    rows: list[dict[str, Any]] = []
    cells = [("pairs", n // part, 1, 10) for part in (4, 2, 1) if n // part]
    cells += [("length", n, times, 10) for times in options.times]
    cells += [("k", n, 1, k) for k in options.k]
    for what, pairs, times, k in tqdm(cells, desc="growth"):
        batches = bench.batches([said(e, times) for e in bench.examples[:pairs]])
        explainer = bench.explainer("gmask", k=k)
        found = medians([bench.explain(explainer, batches)[0] for _ in range(options.repeats)])
        tokens = sum(int(batch.attention.sum()) for batch in batches) / pairs
        rows.append(
            {"grows": what, "pairs": pairs, "tokens_a_pair": tokens, "k": k}
            | {"seconds_a_pair": found["seconds"], "evaluations": found["evaluations"]}
        )
    for groups in tqdm(options.groups, desc="groups"):
        learnt = learning_seconds(bench, groups, options.repeats)
        rows.append({"grows": "t", "pairs": n, "k": 10, "t": groups, "seconds_a_pair": learnt})
    rows += [
        {"grows": "memory", "pairs": pairs, "peak_mb": peak_memory(bench, pairs)}
        for pairs in tqdm(options.memory_pairs, desc="memory")
    ]
    report(bench, "growth", rows)


def learning_seconds(bench: Bench, groups: int, repeats: int) -> float:
    """Seconds a pair of learning the memberships of the first words in so many groups."""
    explainer = bench.explainer("gmask", k=10)
    assert isinstance(explainer, GMask)
    tables = []
    for batch in bench.batches(bench.examples):
        masked = bench.bind(batch, bench.cfg.explainer.removal)
        position = torch.arange(batch.word_valid.shape[1], device=batch.device)
        first = -position.expand(len(batch), -1).double()
        candidates = choose_candidates(first, batch, explainer.k)
        shape = group_shape(candidates, batch)
        shape = replace(shape, groups=torch.full_like(shape.groups, groups))
        asked = ResponseTables(masked, candidates, explainer.context)
        assert asked.kept.isfinite().all()  # asks for the table
        tables.append((asked, shape, batch.keys))

    def learn() -> None:
        for asked, shape, keys in tables:
            explainer.groups(asked, shape, example_generators(explainer.seed, keys))

    return seconds(learn, repeats, bench.device) / len(bench.examples)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def said(example: PairExample, times: int) -> PairExample:
    """The pair with both sides said several times over."""

    def repeat(text: str, spans: Sequence[Span]) -> tuple[str, tuple[Span, ...]]:
        step = len(text) + 1
        found = [(a + i * step, b + i * step) for i in range(times) for a, b in spans]
        return " ".join([text] * times), tuple(found)

    text1, spans1 = repeat(example.text1, example.spans1)
    text2, spans2 = repeat(example.text2, example.spans2)
    return replace(example, text1=text1, text2=text2, spans1=spans1, spans2=spans2)


def peak_memory(bench: Bench, pairs: int) -> int:
    """Megabytes, of a process that explains so many pairs."""
    weights = bench.cfg.weights or bench.cfg.weights_dir
    with TemporaryDirectory() as folder:
        given = [part for part in bench.overrides if not part.startswith(("weights=", "limit="))]
        own = ["explainer=occlusion", f"limit={pairs}", f"output={folder}", f"weights={weights}"]
        script = str(Path(CONF).parent / "explain.py")
        command = [sys.executable, "-c", PEAK, script, *given, *own]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"^peak (\d+)$", done.stderr, re.MULTILINE)
    return int(found[-1])


if __name__ == "__main__":
    main()
