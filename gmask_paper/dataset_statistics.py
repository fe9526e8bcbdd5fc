"""Table 5 for the data on disk: ``python -m gmask_paper.dataset_statistics dataset=mrpc``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gmask_pl.command_names import command_name
from gmask_pl.data.datamodule import word_counts
from gmask_pl.data.source import SPLITS
from gmask_pl.data.split_files import MissingSplit
from gmask_pl.escaping import terminal
from gmask_pl.identity.parts import CONF
from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.hydra_setup import register
from gmask_pl.pipeline.settings_check import check_settings
from gmask_pl.types import PairSource, UserError

_HEADER = ("dataset", "C", "L", "V", "#train", "#dev", "#test")


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
    lines = [_HEADER, *(_cells(name, row) for name, row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _cells(name: str, row: Statistics) -> tuple[str, ...]:
    counts = (row.vocabulary, *(row.sizes[split] for split in SPLITS))
    shown = ("-" if count is None else str(count) for count in counts)
    return (name, str(row.classes), f"{row.length:.1f}", *shown)


@command("explain")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    as_of = command_name("explain")
    parser.add_argument("overrides", nargs="*", help=f"as of {as_of}: dataset=mrpc")
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", parser.parse_args().overrides)
    check_settings(cfg)
    source: PairSource = instantiate(cfg.dataset)
    print(terminal(table([(cfg.dataset.name, statistics(source))])))


if __name__ == "__main__":
    main()
