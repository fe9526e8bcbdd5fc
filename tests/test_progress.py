"""What a run has done so far: whose it is, what is left, and all of it in order."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.identity.of_result import Identity
from gmask_pl.pipeline.explaining import begin, earlier_results
from gmask_pl.pipeline.progress import EXPLAINED, SCORED, Progress
from gmask_pl.store import read_explanations, write_explanations, write_pair_scores
from gmask_pl.types import Explanation, PairScore

LABELS = ("no", "yes")
ONE = Identity({"k": 10, "metric": {"aopc": 1}}, {"weights": "some"}, "pairs")


def explanation(name: str) -> Explanation:
    return Explanation(name, ("a",), ("b",), None, 0, (1.0, 0.0), (0.5, 0.1), None, 3, 0, 0.1)


def scores(name: str) -> list[PairScore]:
    return [PairScore(name, "pad", "aopc", (0.5,)), PairScore(name, "mask", "aopc", (0.25,))]


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


def test_a_damaged_run_beside_it_stops_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Explanations come from the neighbour that is whole, whatever lies beside it."""
    for name in ("a", "b", "c", "whole"):
        replace(ONE, settings=ONE.settings | {"metric": {}}).write(tmp_path / name)
        for other in ("config.yaml", "pair_scores.parquet", "metrics.json"):
            (tmp_path / name / other).write_text("{}")
        write_explanations(tmp_path / name / "explanations.parquet", [explanation("1")], LABELS)
    (tmp_path / "a" / "metrics.json").write_text("[]")
    (tmp_path / "b" / "identity.json").write_text("[]")
    (tmp_path / "c" / "explanations.parquet").write_text("")
    (tmp_path / "file").touch()
    cfg = OmegaConf.create({"reuse": True})
    progress = Progress(tmp_path / "own", ONE, rank=0, labels=LABELS)
    data = SimpleNamespace(batch_ids=lambda: [["1"]])
    begin(cfg, tmp_path / "own", progress, cast(PairDataModule, data))
    told = capsys.readouterr().out
    damaged = {"a": "metrics.json", "b": "identity.json", "c": "explanations.parquet"}
    for name, file in damaged.items():
        assert f"left out: {tmp_path / name}: {file}" in told
    assert f"explanations are those of {tmp_path / 'whole'}" in told
    assert [e.id for e in progress.explanations()] == ["1"]


def test_batches_of_several_processes_come_back_in_their_order(tmp_path: Path) -> None:
    first, second = (Progress(tmp_path, ONE, rank=rank, labels=LABELS) for rank in (0, 1))
    first.begin(afresh=False)
    assert first.left(EXPLAINED, 4) == [0, 1, 2, 3]
    for number, names in {2: "e", 0: "ab"}.items():
        first.explained(number, map(explanation, names), {})
    second.explained(1, map(explanation, "cd"), {})
    first.explained(2, map(explanation, "e"), {})  # twice the same batch
    second.explained(2, map(explanation, "e"), {})
    assert [e.id for e in second.explanations()] == list("abcde")
    assert second.left(EXPLAINED, 4) == [3]
    first.scored(0, scores("a"), {})
    assert second.left(SCORED, 4) == [1, 2, 3]
    assert list(second.scores()) == [scores("a")]


def test_what_was_cut_off_in_the_middle_does_not_count(tmp_path: Path) -> None:
    progress = Progress(tmp_path, ONE, rank=0, labels=LABELS)
    progress.begin(afresh=False)
    progress.explained(0, [explanation("a")], {})
    (tmp_path / progress.folder.name / ".explained-0000001-0000.parquet.77").write_bytes(b"PAR1")
    assert list(progress.done(EXPLAINED)) == [0]

    def failing() -> Any:
        yield explanation("b")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        progress.explained(1, failing(), {})
    assert list(progress.done(EXPLAINED)) == [0]


def test_another_run_does_not_go_on_where_this_one_was(tmp_path: Path) -> None:
    progress = Progress(tmp_path, ONE, rank=0, labels=LABELS)
    progress.begin(afresh=False)
    progress.explained(0, [explanation("a")], {})
    other = Progress(tmp_path, replace(ONE, model={"weights": "others"}), rank=0, labels=LABELS)
    other.begin(afresh=False)
    assert other.left(EXPLAINED, 1) == [0]
    again = Progress(tmp_path, ONE, rank=0, labels=LABELS)
    again.begin(afresh=False)
    assert again.left(EXPLAINED, 1) == []
    again.begin(afresh=True)
    assert again.left(EXPLAINED, 1) == [0]
    again.end()
    assert not again.folder.exists()
    assert other.folder.is_dir()


def test_explanations_of_other_metrics_are_taken_as_batches(tmp_path: Path) -> None:
    names, failed = "abdfg", {"c": "no number", "e": "too long"}
    write_explanations(tmp_path / "found.parquet", map(explanation, names), LABELS)
    progress = Progress(tmp_path / "run", ONE, rank=0, labels=LABELS)
    progress.begin(afresh=False)
    progress.adopt(tmp_path / "found.parquet", failed, ["ab", "cd", "ef", "g"])
    assert progress.left(EXPLAINED, 4) == []
    batches = [list(read_explanations(file)) for file in progress.done(EXPLAINED).values()]
    assert [[e.id for e in batch] for batch in batches] == [["a", "b"], ["d"], ["f"], ["g"]]
    assert progress.failed(EXPLAINED) == failed


def test_pairs_that_failed_are_told_batch_by_batch(tmp_path: Path) -> None:
    progress = Progress(tmp_path, ONE, rank=0, labels=LABELS)
    progress.begin(afresh=False)
    progress.explained(0, [], {"a": "too long", "b\n\u202e": 'no "number"'})
    progress.explained(1, [explanation("c")], {})
    progress.scored(1, [], {"c": "no number"})
    assert progress.failed(EXPLAINED) == {"a": "too long", "b\n\u202e": 'no "number"'}
    assert progress.failed(SCORED) == {"c": "no number"}
    assert [e.id for e in progress.explanations()] == ["c"]
    assert progress.left(EXPLAINED, 2) == []
