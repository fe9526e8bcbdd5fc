"""Table 5 for the data on disk: ``python -m gmask_paper.dataset_statistics dataset=mrpc``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.utils import instantiate

from gmask_pl.command_names import command_name
from gmask_pl.data.datamodule import word_counts
from gmask_pl.data.source import SPLITS
from gmask_pl.data.split_files import MissingSplit
from gmask_pl.escaping import terminal
from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.report.console_table import aligned
from gmask_pl.pipeline.settings_check import explain_settings
from gmask_pl.types import PairSource, UserError

COLUMNS = ("C", "L", "V", "#train", "#dev", "#test")


@dataclass(frozen=True, slots=True)
class Statistics:
    """A row of Table 5; None where a split is not there.

    classes: C. length: L, the average number of words of a sentence of any split. vocabulary: V,
    distinct words of the training split. sizes: pairs by split.
    """

    classes: int
    length: float
    vocabulary: int | None
    sizes: dict[str, int | None]


def statistics(source: PairSource) -> Statistics:
    """The row of a source. Raises UserError when it has no split at all, or a bad one."""
    sizes: dict[str, int | None] = dict.fromkeys(SPLITS)
    vocabulary = missing = None
    words = sentences = 0
    for split in SPLITS:
        try:
            examples = source.load(split)
        except MissingSplit as error:
            missing = error
            continue
        sizes[split] = len(examples)
        words += sum(len(example.spans1) + len(example.spans2) for example in examples)
        sentences += 2 * len(examples)
        if split == "train":
            vocabulary = len(word_counts(examples))
    if not sentences:
        raise missing or UserError("no pair in any split")
    return Statistics(len(source.labels), words / sentences, vocabulary, sizes)


def table(rows: Sequence[tuple[str, Statistics]]) -> str:
    """The rows under Table 5's header, aligned: names to the left, numbers to the right."""
    return "\n".join(aligned([("dataset", *COLUMNS), *(_cells(name, row) for name, row in rows)]))


def _cells(name: str, row: Statistics) -> tuple[str, ...]:
    shown = ("-" if n is None else str(n) for n in (row.vocabulary, *row.sizes.values()))
    return (name, str(row.classes), f"{row.length:.1f}", *shown)


@command("explain")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    as_of = command_name("explain")
    parser.add_argument("overrides", nargs="*", help=f"as of {as_of}: dataset=mrpc")
    cfg = explain_settings(parser.parse_args().overrides)
    source: PairSource = instantiate(cfg.dataset)
    print(terminal(table([(cfg.dataset.name, statistics(source))])))


if __name__ == "__main__":
    main()
