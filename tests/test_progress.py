"""What a run has done so far: whose it is, what is left, and all of it in order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gmask_pl.identity.of_result import Identity
from gmask_pl.pipeline.explaining import earlier_results
from gmask_pl.pipeline.progress import EXPLAINED, Progress
from gmask_pl.pipeline.stages import by_batch
from gmask_pl.store import check_stored, read_explanations, write_explanations, write_pair_scores
from gmask_pl.types import Explanation, PairScore

LABELS = ("no", "yes")
ONE = Identity({"k": 10, "metric": {"aopc": 1}}, {"weights": "some"}, "pairs")


def explanation(name: str) -> Explanation:
    return Explanation(name, ("a",), ("b",), None, 0, (1.0, 0.0), (0.5, 0.1), None, 3, 0, 0.1)


def scores(name: str) -> list[PairScore]:
    return [PairScore(name, "pad", "aopc", (0.5,)), PairScore(name, "mask", "aopc", (0.25,))]


def explained(folder: Path, identity: Identity = ONE, rank: int = 0) -> Progress[Explanation]:
    return Progress(
        folder,
        identity,
        EXPLAINED,
        rank=rank,
        write=partial(write_explanations, labels=LABELS),
        read=read_explanations,
        check=check_stored,
        others={"explanations.parquet": check_stored},
    )


def ids(batches: Iterable[list[Explanation]]) -> list[str]:
    return ["".join(e.id for e in batch) for batch in batches]


def test_results_stand_only_when_they_are_whole_and_of_the_same_run(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    (tmp_path / "config.yaml").touch()
    write_explanations(tmp_path / "explanations.parquet", [explanation("a")], LABELS)
    write_pair_scores(tmp_path / "pair_scores.parquet", scores("a"))
    assert earlier_results(tmp_path, ONE) is None
    (tmp_path / "metrics.json").write_text('{"aopc": {"value": 1}}')
    assert earlier_results(tmp_path, ONE) == {"aopc": {"value": 1}}
    assert earlier_results(tmp_path, replace(ONE, model={"weights": "others"})) is None


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("metrics.json", "[]", "metrics.json: a list and no object"),
        ("metrics.json", '{"aopc', "metrics.json: Unterminated string"),
        ("identity.json", "[1]", "identity.json holds no identity"),
        ("identity.json", '{"settings": [], "model": {}, "pairs": ""}', "identity.json holds no"),
    ],
)
def test_results_that_are_damaged_are_named_and_made_again(
    tmp_path: Path, name: str, text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ONE.write(tmp_path)
    for other in ("config.yaml", "explanations.parquet", "pair_scores.parquet", "metrics.json"):
        (tmp_path / other).write_text("{}")
    (tmp_path / name).write_text(text)
    assert earlier_results(tmp_path, ONE) is None
    assert re.search(f"{re.escape(str(tmp_path))}: {why}.*: made again", capsys.readouterr().out)


def test_batches_of_several_processes_come_back_in_their_order(tmp_path: Path) -> None:
    first, second = (explained(tmp_path, rank=rank) for rank in (0, 1))
    first.begin(afresh=False)
    assert first.left(4) == [0, 1, 2, 3]
    for number, names in {2: "e", 0: "ab"}.items():
        first.keep(number, map(explanation, names), {})
    second.keep(1, map(explanation, "cd"), {})
    first.keep(2, map(explanation, "e"), {})  # twice the same batch
    second.keep(2, map(explanation, "e"), {})
    assert ids(second.rows()) == ["ab", "cd", "e"]
    assert second.left(4) == [3]


def test_what_was_cut_off_in_the_middle_does_not_count(tmp_path: Path) -> None:
    progress = explained(tmp_path)
    progress.begin(afresh=False)
    progress.keep(0, [explanation("a")], {})
    (tmp_path / ".explained-0000001-0000.parquet.77").write_bytes(b"PAR1")
    assert list(progress.batches()) == [0]

    def failing() -> Any:
        yield explanation("b")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        progress.keep(1, failing(), {})
    assert list(progress.batches()) == [0]


def test_what_is_of_another_identity_goes_and_what_is_kept_stays(tmp_path: Path) -> None:
    """Whatever the folder is called: two identities may share a short digest."""
    progress = explained(tmp_path / "own")
    progress.begin(afresh=False)
    progress.keep(0, [explanation("a")], {})
    write_explanations(tmp_path / "own" / "explanations.parquet", [explanation("a")], LABELS)
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    again = explained(tmp_path / "own")
    again.begin(afresh=False)
    assert again.left(1) == []
    again.drop_batches()
    assert again.left(1) == [0]
    assert (tmp_path / "own" / "explanations.parquet").is_file()
    other = explained(tmp_path / "own", replace(ONE, model={"weights": "others"}))
    other.begin(afresh=False)
    names = sorted(path.name for path in (tmp_path / "own").iterdir())
    assert names == ["identity.json", "thesis.txt"]
    other.keep(0, [explanation("a")], {})
    other.begin(afresh=True)
    assert other.left(1) == [0]


def test_explanations_come_back_by_the_batches_of_their_pairs(tmp_path: Path) -> None:
    """Of some pairs there are none, and of some batches."""
    file, batches = tmp_path / "found.parquet", ["ab", "cd", "ef", "g", "hi"]
    write_explanations(file, map(explanation, "abdghi"), LABELS)
    found = [(number, "".join(e.id for e in own)) for number, own in by_batch(file, batches)]
    assert found == [(0, "ab"), (1, "d"), (2, ""), (3, "g"), (4, "hi")]


def test_pairs_that_failed_are_told_batch_by_batch(tmp_path: Path) -> None:
    progress = explained(tmp_path)
    progress.begin(afresh=False)
    failed = {"a": "too long", "b\n\u202e": 'no "number"'}
    progress.keep(0, [], failed)
    progress.keep(1, [explanation("c")], {})
    assert progress.failed() == failed
    assert ids(progress.rows()) == ["", "c"]
    assert progress.left(2) == []
