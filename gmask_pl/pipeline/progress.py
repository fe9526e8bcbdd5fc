"""What a run has done so far: a file for every batch, so that it can be killed and go on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from gmask_pl.files import damaged, remove_ours, set_aside, write_text
from gmask_pl.identity.of_result import IDENTITY, Identity
from gmask_pl.store import (
    check_stored,
    read_explanations,
    read_failed,
    read_pair_scores,
    write_explanations,
    write_pair_scores,
)
from gmask_pl.types import JSON, Explanation, PairScore, UserError

EXPLAINED, SCORED = "explained", "scored"
UNFINISHED = "unfinished-"
PREPARATION = "preparation.json"  # what learning from training pairs cost
_NAME = re.compile(r"(explained|scored)-(\d+)-\d+\.parquet")


class Progress:
    """The finished batches of one run, below its folder and named by its identity.

    A batch is explained and then scored; each leaves one file that appears whole or not at all,
    named by the batch and by the process that wrote it. Batch i holds the same pairs however
    many processes there are and whichever of them takes it, so a run that goes on, on as many
    processes as it likes, gives what an uninterrupted one gives.

    rank: of this process. labels: names of the classes.
    """

    def __init__(
        self, folder: Path, identity: Identity, *, rank: int, labels: Sequence[str]
    ) -> None:
        self.folder = folder / f"{UNFINISHED}{identity.digest}"
        self.identity = identity
        self.rank = rank
        self.labels = labels

    def begin(self, *, afresh: bool) -> None:
        """Makes the folder; afresh: without what an earlier run has left there.

        What cannot be read of that does not count, is named, and goes.
        """
        if afresh:
            self.end()
        self.identity.write(self.folder)
        for file in sorted(self.folder.iterdir()):
            try:
                if name := _NAME.fullmatch(file.name):
                    check_stored(file, scores=name[1] == SCORED)
                elif file.name == PREPARATION:
                    _read_preparation(file)
            except UserError as error:
                damaged(file, error)
                set_aside(file, kept=os.path.isfile)
                file.unlink(missing_ok=True)

    def end(self) -> None:
        """Removes what the run has made of the folder."""
        remove_ours(
            self.folder, lambda name: name in (IDENTITY, PREPARATION) or bool(_NAME.fullmatch(name))
        )

    @property
    def prepared(self) -> bool:
        """Whether it is known what learning from training pairs cost, if only that it was none."""
        return (self.folder / PREPARATION).is_file()

    @property
    def preparation(self) -> JSON:
        """What learning from training pairs cost, empty where nothing was learnt."""
        return _read_preparation(self.folder / PREPARATION)

    def prepared_at(self, cost: JSON) -> None:
        """Keeps what learning from training pairs cost."""
        write_text(self.folder / PREPARATION, json.dumps(cost))

    def adopt(
        self, file: Path, failed: Mapping[str, str], batches: Iterable[Sequence[str]]
    ) -> None:
        """Takes explanations of the same pairs from a file, as batches of these ids.

        failed: why a pair has none.
        """
        found = read_explanations(file)
        for index, ids in enumerate(batches):
            lacking = {id: failed[id] for id in ids if id in failed}
            self.explained(index, islice(found, len(ids) - len(lacking)), lacking)

    def explained(
        self, batch: int, explanations: Iterable[Explanation], failed: Mapping[str, str]
    ) -> None:
        """Keeps the explanations of a batch, and why pairs of it have none."""
        write_explanations(self._file(EXPLAINED, batch), explanations, self.labels, failed)

    def scored(self, batch: int, scores: Iterable[PairScore], failed: Mapping[str, str]) -> None:
        """Keeps the scores of a batch, and why pairs of it have none."""
        write_pair_scores(self._file(SCORED, batch), scores, failed)

    def failed(self, what: str) -> dict[str, str]:
        """The pairs that could not be explained, or not be scored, and why, by id."""
        every: dict[str, str] = {}
        for file in self.done(what).values():
            every |= read_failed(file)
        return every

    def done(self, what: str) -> dict[int, Path]:
        """The files of the batches that are explained, or scored, by batch in order."""
        found: dict[int, Path] = {}
        for file in sorted(self.folder.glob(f"{what}-*.parquet")):
            if name := _NAME.fullmatch(file.name):
                found.setdefault(int(name[2]), file)
        return dict(sorted(found.items()))

    def left(self, what: str, batches: int) -> list[int]:
        """Which of so many batches are not explained, or not scored."""
        done = self.done(what)
        return [number for number in range(batches) if number not in done]

    def explanations(self) -> Iterator[Explanation]:
        """All explanations so far, in the order of their batches."""
        for file in self.done(EXPLAINED).values():
            yield from read_explanations(file)

    def scores(self) -> Iterator[list[PairScore]]:
        """The scores so far, batch by batch."""
        for file in self.done(SCORED).values():
            yield list(read_pair_scores(file))

    def _file(self, what: str, batch: int) -> Path:
        return self.folder / f"{what}-{batch:07d}-{self.rank:04d}.parquet"


def _read_preparation(file: Path) -> JSON:
    try:
        cost = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: {error}") from error
    if not isinstance(cost, dict):
        raise UserError(f"{file}: it holds {type(cost).__name__}")
    return cost
