"""What a run has done so far: whose it is, what is left, and all of it in order."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gmask_pl.explanation import Explanation
from gmask_pl.identity.of_result import Identity
from gmask_pl.pipeline.explaining import earlier_results
from gmask_pl.pipeline.progress import EXPLAINED, Progress
from gmask_pl.pipeline.stages import by_batch
from gmask_pl.store import check_stored, read_explanations, write_explanations, write_pair_scores
from gmask_pl.types import PairScore, UserError

LABELS = ("no", "yes")
ONE = Identity({"k": 10, "metric": {"aopc": 1}}, {"weights": "some"}, "pairs")


def explanation(name: str) -> Explanation:
    return Explanation(name, ("a",), ("b",), None, 0, (1.0, 0.0), (0.5, 0.1), None, 3, 0, 0.1)


def scores(name: str) -> list[PairScore]:
    return [PairScore(name, "pad", "aopc", (0.5,)), PairScore(name, "mask", "aopc", (0.25,))]


def explained(
    folder: Path, identity: Identity = ONE, rank: int = 0, ids: Iterable[Collection[str]] = ("a",)
) -> Progress[Explanation]:
    return Progress(
        folder,
        identity,
        EXPLAINED,
        rank=rank,
        ids=ids,
        write=partial(write_explanations, labels=LABELS),
        read=read_explanations,
        others={"explanations.parquet": partial(check_stored, ids=["a"])},
    )


def ids(batches: Iterable[list[Explanation]]) -> list[str]:
    return ["".join(e.id for e in batch) for batch in batches]


def test_results_stand_only_when_they_are_whole_and_of_the_same_run(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    (tmp_path / "config.yaml").touch()
    write_explanations(tmp_path / "explanations.parquet", [explanation("a")], LABELS)
    write_pair_scores(tmp_path / "pair_scores.parquet", scores("a"))
    assert earlier_results(tmp_path, ONE, ["a"]) is None
    (tmp_path / "metrics.json").write_text('{"aopc": {"value": 1}}')
    assert earlier_results(tmp_path, ONE, ["a"]) == {"aopc": {"value": 1}}
    assert earlier_results(tmp_path, replace(ONE, model={"weights": "others"}), ["a"]) is None


def test_results_of_some_of_the_pairs_do_not_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has an explanation and scores, or a reason why not."""
    ONE.write(tmp_path)
    (tmp_path / "config.yaml").touch()
    failed = '"failed": {"explaining": {"c": "too long"}, "scoring": {"b": "no numbers"}}'
    (tmp_path / "metrics.json").write_text(f'{{"scoring": {{}}, {failed}}}')
    reasons = {"c": "too long"}
    for explained, scored, whole in (("ab", "a", True), ("a", "a", False), ("ab", "b", False)):
        file = tmp_path / "explanations.parquet"
        write_explanations(file, map(explanation, explained), LABELS, reasons)
        write_pair_scores(tmp_path / "pair_scores.parquet", scores(scored))
        assert (earlier_results(tmp_path, ONE, "abc") is not None) == whole
        told = capsys.readouterr().out
        assert ("it lacks 1 of" in told) != whole


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
    assert earlier_results(tmp_path, ONE, []) is None
    assert re.search(f"{re.escape(str(tmp_path))}: {why}.*: made again", capsys.readouterr().out)


def test_batches_of_several_processes_come_back_in_their_order(tmp_path: Path) -> None:
    batches = ("ab", "cd", "e")
    first, second = (explained(tmp_path, rank=rank, ids=batches) for rank in (0, 1))
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
    progress = explained(tmp_path, ids=(["a", "b\n\u202e"], "c"))
    progress.begin(afresh=False)
    failed = {"a": "too long", "b\n\u202e": 'no "number"'}
    progress.keep(0, [], failed)
    progress.keep(1, [explanation("c")], {})
    assert progress.failed() == failed
    assert ids(progress.rows()) == ["", "c"]
    assert progress.left(2) == []


def test_a_batch_that_lacks_pairs_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = explained(tmp_path, ids=("ab", "cd", "e"))
    progress.begin(afresh=False)
    for number, names in enumerate("acde"[i : i + 2] for i in (0, 1, 3)):
        progress.keep(number, map(explanation, names), {})
    progress.begin(afresh=False)
    assert progress.left(3) == [0]
    assert "explained-0000000-0000.parquet is damaged" in capsys.readouterr().out


def test_what_another_run_has_taken_away_is_missed(tmp_path: Path) -> None:
    """Without a lock it removes the batches of both, once it is done."""
    first, second = (explained(tmp_path, ids=("a", "b")) for _ in range(2))
    first.begin(afresh=False)
    for number, name in enumerate("ab"):
        first.keep(number, [explanation(name)], {})
    assert second.left(2) == []
    found = second.rows()
    assert ids([next(found)]) == ["a"]
    first.drop_batches()
    with pytest.raises(UserError, match="no such file"):
        next(found)
    with pytest.raises(UserError, match=r"another run .* start the same command again"):
        list(second.rows())
