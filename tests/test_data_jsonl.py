"""The project's own file form, and what every source does with rows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import UNNAMED

from gmask_pl.data.esnli import ESNLI
from gmask_pl.data.mrpc import MRPC
from gmask_pl.data.pairs import Pairs
from gmask_pl.types import Highlight, UserError

GOOD = {"id": "a", "text1": "A man sleeps.", "text2": "Nobody sleeps!", "label": "contradiction"}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def esnli(folder: Path, *, clean: bool = True) -> ESNLI:
    return ESNLI(name="esnli", path=str(folder), clean=clean)


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_reads_plain_and_gzipped(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"dev.{suffix}", GOOD, {**GOOD, "id": "b", "label": "entailment"})
    first, second = esnli(tmp_path).load("dev")
    assert (first.id, first.label, second.id, second.label) == ("a", 2, "b", 0)
    assert first.text1 == "a man sleeps ."
    assert first.words2 == ("nobody", "sleeps", "!")
    assert first.highlights == ()


def test_clean_false_keeps_the_text(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", {**GOOD, "text1": " A <b>man</b> "})
    (example,) = esnli(tmp_path, clean=False).load("test")
    assert example.text1 == "A <b>man</b>"
    assert example.words1 == ("A", "<", "b", ">", "man", "</", "b", ">")


def test_highlights_are_word_positions_per_annotator(tmp_path: Path) -> None:
    marked = {"highlights1": [[1, 2], []], "highlights2": [[0], [1]]}
    unknown = {"id": "b", "highlights1": None, "highlights2": [[1]]}
    write(tmp_path / "dev.jsonl", {**GOOD, **marked}, {**GOOD, **unknown})
    first, second = esnli(tmp_path).load("dev")
    assert first.highlights == (
        Highlight(frozenset({1, 2}), frozenset({0})),
        Highlight(frozenset(), frozenset({1})),
    )
    assert second.highlights == (Highlight(None, frozenset({1})),)


def test_rows_without_gold_label_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "dev.jsonl", {**GOOD, "label": "-"}, {**GOOD, "id": "b"})
    assert [example.id for example in esnli(tmp_path).load("dev")] == ["b"]


def test_a_split_is_read_once_and_its_list_is_the_callers(tmp_path: Path) -> None:
    path = write(tmp_path / "dev.jsonl", GOOD)
    source = esnli(tmp_path)
    source.load("dev").clear()
    path.unlink()
    assert [example.id for example in source.load("dev")] == ["a"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[1]", r"not a JSON object: '\[1\]'"),
        ({k: v for k, v in GOOD.items() if k != "text2"}, "no 'text2'"),
        ({k: v for k, v in GOOD.items() if k != "label"}, "no 'label'"),
        ({**GOOD, "label": "maybe"}, "label 'maybe' is unknown; there are entailment, neutral"),
        ({**GOOD, "label": 1}, "label '1' is unknown; there are entailment"),
        ({**GOOD, "label": True}, "label is True, not a string"),
        ("[" * 100_000, "not JSON"),
        ({**GOOD, "text1": None}, "text1 is empty: give a text"),
        ({**GOOD, "id": "first"}, "id 'first' is taken by .*dev.jsonl:1"),
        ({**GOOD, "highlights1": [[9]]}, "word 9 of a text of 3 words: 'A man sleeps.'"),
        ({**GOOD, "highlights1": [["x"]]}, r"highlights1 is \[\['x'\]\], not a list of lists"),
        ({**GOOD, "highlights1": [[1]], "highlights2": []}, "1 annotators in text 1, 0 in text 2"),
    ],
)
def test_bad_rows_name_file_line_and_value(
    tmp_path: Path, row: dict[str, Any] | str, message: str
) -> None:
    path = write(tmp_path / "dev.jsonl", {**GOOD, "id": "first"}, row)
    with pytest.raises(UserError, match=f"{path}:2: .*{message}"):
        esnli(tmp_path).load("dev")


def test_a_row_with_an_empty_side_is_left_out_and_told(tmp_path: Path) -> None:
    rows = ({**GOOD, "id": "b", "text1": " "}, {**GOOD, "id": "c", "text2": "<>"})
    path = write(tmp_path / "dev.jsonl", GOOD, *rows)
    source = esnli(tmp_path)
    assert source.failed("dev") == {
        f"{path}:2": "text 1 is empty: ' '",
        f"{path}:3": "text 2 is empty once cleaned (dataset.clean=false keeps all characters): "
        "'<>'",
    }
    assert [example.id for example in source.load("dev")] == ["a"]
    write(tmp_path / "test.jsonl", rows[0])
    with pytest.raises(UserError, match="the test split holds no pair: .*test.jsonl:1: text 1 is"):
        source.load("test")


def test_file_that_is_not_text_or_not_gzip(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_bytes(b"\xff\xfe\n")
    (tmp_path / "test.jsonl.gz").write_bytes(b"plain")
    for split in ("dev", "test"):
        with pytest.raises(UserError, match=rf"{split}.jsonl.*:1: cannot be read"):
            esnli(tmp_path).load(split)


def test_missing_split_folder_and_split_name(tmp_path: Path) -> None:
    write(tmp_path / "dev.jsonl", GOOD)
    with pytest.raises(UserError, match="no train split: no train.jsonl or train.jsonl.gz"):
        esnli(tmp_path).load("train")
    with pytest.raises(UserError, match="dataset.path=.*nowhere: there is no such file or"):
        esnli(tmp_path / "nowhere").load("dev")
    with pytest.raises(UserError, match="split='val': there are train, dev, test"):
        esnli(tmp_path).load("val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="mrpc is read from .*msr_paraphrase"):
        MRPC(name="mrpc", path=str(tmp_path / "empty"), clean=True).load("train")


def test_empty_split_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "dev.jsonl", "")
    with pytest.raises(UserError, match="the dev split holds no pair"):
        esnli(tmp_path).load("dev")


def pairs(path: Path | None, labels: list[str] | None) -> Pairs:
    place = None if path is None else str(path)
    return Pairs(name="pairs", path=place, clean=False, labels=labels, **UNNAMED)


def test_own_pairs_in_one_file_are_the_test_split(tmp_path: Path) -> None:
    path = write(
        tmp_path / "my.jsonl",
        {"text1": "a", "text2": "b"},
        {"id": 7, "text1": "a", "text2": "b", "label": "yes"},
        {"text1": "a", "text2": "b", "label": None},
    )
    source = pairs(path, ["no", "yes"])
    assert [(e.id, e.label) for e in source.load("test")] == [("1", None), ("7", 1), ("3", None)]
    with pytest.raises(UserError, match="no train split: the path is one file"):
        source.load("train")


def test_own_lines_without_two_texts_are_left_out_and_told(tmp_path: Path) -> None:
    lines = ('{"text1": "a"', '["a", "b"]', '{"text1": "a"}', '{"text1": "a", "text2": null}')
    path = write(tmp_path / "my.jsonl", *lines, {"text1": "a", "text2": "b", "label": 1})
    source = pairs(path, ["0", "1"])
    assert [(e.id, e.label) for e in source.load("test")] == [("5", 1)]
    told = source.failed("test")
    assert list(told) == [f"{path}:{line}" for line in (1, 2, 3, 4)]
    for why, expected in zip(
        told.values(),
        ("not JSON", "not a JSON object", "no 'text2' in", "text2 is empty"),
        strict=True,
    ):
        assert why.startswith(expected)


def test_own_pairs_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl.gz", {"text1": "a", "text2": "b", "label": "no"})
    source = pairs(tmp_path, ["no", "yes"])
    assert source.labels == ("no", "yes")
    assert source.load("train")[0].label == 0
    with pytest.raises(UserError, match="no test split"):
        source.load("test")


@pytest.mark.parametrize("labels", [[], ["one"], ["a", "a"], ["a", "a", "b"]])
def test_own_pairs_need_different_labels(tmp_path: Path, labels: list[str]) -> None:
    with pytest.raises(UserError, match="dataset.labels=.*at least two different"):
        pairs(tmp_path, labels)


def test_own_pairs_need_a_path() -> None:
    with pytest.raises(UserError, match="dataset=pairs needs dataset.path"):
        pairs(None, ["a", "b"]).load("test")
