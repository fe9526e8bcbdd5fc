"""The store gives back exactly what was put in, and never half a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gmask_pl import store
from gmask_pl.explanation import Explanation
from gmask_pl.store import (
    check_stored,
    read_costs,
    read_explanations,
    read_failed,
    read_labels,
    read_pair_scores,
    write_explanations,
    write_pair_scores,
)
from gmask_pl.types import Groups, Interactions, PairScore, UserError

LABELS = ("entailment", "neutral", "contradiction")
GROUPED = Explanation(
    id="pair-1",
    words1=("a", "😀", "ذهب"),
    words2=("b\u0301", '"<'),
    label=2,
    prediction=0,
    probabilities=(0.1 + 0.2, 1 / 3, 1e-300),
    scores=(1 / 7, -math.pi, 0.0, 5e-324, 0.1),
    groups=Groups(candidates=(4, 0), phi=((1 / 3, 2 / 3), (0.9, 0.1)), psi=(0.7, 0.3)),
    evaluations=1024,
    gradients=7,
    seconds=0.1,
    labels=LABELS,
)
PLAIN = replace(GROUPED, id="pair-2", label=None, groups=None)
PAIRED = replace(PLAIN, id="pair-4", interactions=Interactions(((0, 4), (2, 3)), (1 / 3, -1e-9)))
EMPTY_SIDE = replace(PLAIN, id="pair-3", words2=(), scores=(1.0, 2.0, 3.0))


def test_reads_back_exactly_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run" / "explanations.parquet"
    written = [GROUPED, PLAIN, EMPTY_SIDE, PAIRED]
    assert write_explanations(path, iter(written), LABELS) == 4
    assert list(read_explanations(path)) == written
    assert read_labels(path) == LABELS


def test_more_rows_than_one_chunk_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ROWS_PER_GROUP", 2)
    written = [
        replace(GROUPED, id=str(i), groups=None if i % 2 else GROUPED.groups) for i in range(5)
    ]
    write_explanations(tmp_path / "e.parquet", written, LABELS)
    assert list(read_explanations(tmp_path / "e.parquet")) == written
    assert pq.ParquetFile(tmp_path / "e.parquet").num_row_groups == 3


def test_no_explanation_is_a_readable_file(tmp_path: Path) -> None:
    write_explanations(tmp_path / "e.parquet", [], LABELS)
    assert list(read_explanations(tmp_path / "e.parquet")) == []
    assert read_labels(tmp_path / "e.parquet") == LABELS


def test_rows_hold_names_and_group_words_for_other_tools(tmp_path: Path) -> None:
    write_explanations(tmp_path / "e.parquet", [GROUPED, PLAIN], LABELS)
    grouped, plain = pq.read_table(tmp_path / "e.parquet").to_pylist()
    assert (grouped["label_name"], grouped["prediction_name"]) == ("contradiction", "entailment")
    assert grouped["group_words"] == ['"<', "a"]
    assert plain["label"] is plain["label_name"] is None
    assert [plain[name] for name in ("candidates", "group_words", "phi", "psi")] == [None] * 4


@pytest.mark.parametrize("before", [None, [PLAIN]])
def test_a_failure_leaves_what_was_there(tmp_path: Path, before: list[Explanation] | None) -> None:
    def failing() -> Iterator[Explanation]:
        yield GROUPED
        raise RuntimeError("out of memory")

    path = tmp_path / "e.parquet"
    if before is not None:
        write_explanations(path, before, LABELS)
    with pytest.raises(RuntimeError, match="out of memory"):
        write_explanations(path, failing(), LABELS)
    assert [file.name for file in tmp_path.iterdir()] == ([] if before is None else ["e.parquet"])
    if before is not None:
        assert list(read_explanations(path)) == before


@pytest.mark.parametrize("broken", [{"prediction": 3}, {"label": -1}])
def test_a_class_without_a_name_is_refused(tmp_path: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"pair-1.*(3|-1).*contradiction"):
        write_explanations(tmp_path / "e.parquet", [replace(GROUPED, **broken)], LABELS)


def test_scores_that_do_not_match_the_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pair-1: 1 scores for 5 words"):
        write_explanations(tmp_path / "e.parquet", [replace(GROUPED, scores=(1.0,))], LABELS)


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.parquet: no such file"):
        next(read_explanations(tmp_path / "none.parquet"))
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match=r"text\.parquet: not a Parquet file"):
        next(read_explanations(tmp_path / "text.parquet"))
    pq.write_table(pa.table({"other": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"other\.parquet: its columns are other"):
        read_labels(tmp_path / "other.parquet")


PAIR_SCORES = [
    PairScore("pair-1", "pad", "aopc", (0.1 + 0.2,)),
    PairScore("pair-2", "pad", "post_hoc_accuracy", (1.0, 0.0)),
    PairScore("pair-1", None, "evidence", ()),
]


def test_pair_scores_read_back_exactly_and_are_never_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "pair_scores.parquet"
    assert write_pair_scores(path, iter(PAIR_SCORES)) == 3
    assert list(read_pair_scores(path)) == PAIR_SCORES
    table = pq.read_table(path)
    assert [str(field.type) for field in table.schema][:3] == ["string"] * 3
    assert table["row"].to_pylist() == [[0.1 + 0.2], [1.0, 0.0], []]

    def failing() -> Iterator[PairScore]:
        yield PAIR_SCORES[0]
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        write_pair_scores(path, failing())
    assert list(read_pair_scores(path)) == PAIR_SCORES
    assert [file.name for file in path.parent.iterdir()] == ["pair_scores.parquet"]


def test_the_two_kinds_of_file_are_told_apart(tmp_path: Path) -> None:
    write_pair_scores(tmp_path / "p.parquet", PAIR_SCORES)
    write_explanations(tmp_path / "e.parquet", [PLAIN], LABELS)
    with pytest.raises(UserError, match=r"p\.parquet: its columns are id, removal"):
        next(read_explanations(tmp_path / "p.parquet"))
    with pytest.raises(UserError, match=r"e\.parquet: .* of a file of pair scores"):
        next(read_pair_scores(tmp_path / "e.parquet"))


def test_a_file_of_before_a_column_that_may_be_null_is_read(tmp_path: Path) -> None:
    write_explanations(tmp_path / "e.parquet", [GROUPED, PLAIN], LABELS)
    kept = {store.LABELS_KEY: b'["entailment", "neutral", "contradiction"]'}  # and no seal
    table = pq.read_table(tmp_path / "e.parquet").replace_schema_metadata(kept)
    pq.write_table(table.drop_columns(["truncated"]), tmp_path / "old.parquet")
    assert list(read_explanations(tmp_path / "old.parquet")) == [GROUPED, PLAIN]
    for name, wrong in (
        ("none", table.drop_columns(["scores"])),
        ("more", table.append_column("x", [table["id"]])),
    ):
        pq.write_table(wrong, tmp_path / f"{name}.parquet")
        with pytest.raises(UserError, match="make it again"):
            next(read_explanations(tmp_path / f"{name}.parquet"))


@pytest.mark.parametrize("scores", [False, True])
def test_every_bit_that_is_altered_is_noticed(tmp_path: Path, scores: bool) -> None:
    path, read = tmp_path / "a.parquet", read_pair_scores if scores else read_explanations
    if scores:
        write_pair_scores(path, PAIR_SCORES, {"pair-3": "too long"})
    else:
        write_explanations(path, [GROUPED, PLAIN], LABELS, {"pair-3": "too long"})
    data = path.read_bytes()
    expected = list(read(path)), read_failed(path)
    unnoticed = 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        try:
            check_stored(path, (), scores=scores)
        except UserError as error:
            assert str(path) in str(error)
        else:  # of the mark of the seal
            unnoticed += 1
            assert (list(read(path)), read_failed(path)) == expected
    assert unnoticed < 20


@pytest.mark.parametrize("value", [b"entailment", b"pair-1", "ذهب".encode()])
def test_a_text_that_is_none_is_one_message(tmp_path: Path, value: bytes) -> None:
    """In a file without a seal, as earlier versions wrote them."""
    path = tmp_path / "e.parquet"
    table = pa.Table.from_pylist(
        [store._to_row(GROUPED, LABELS)],
        schema=store.SCHEMA.with_metadata({store.LABELS_KEY: b'["a", "b", "c"]'}),
    )
    pq.write_table(table, path, compression="none")
    check_stored(path, ["pair-1"])
    path.write_bytes(path.read_bytes().replace(value, b"\xff" + value[1:]))
    for read in (read_explanations, read_costs, lambda file: check_stored(file, ())):
        try:
            list(read(path) or ())
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert read is read_costs
            assert value != b"pair-1"


def test_pairs_that_a_file_neither_holds_nor_names_are_missed(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    write_explanations(path, [GROUPED, PLAIN], LABELS, {"pair-3": "too long"})
    check_stored(path, ["pair-1", "pair-2", "pair-3"])
    with pytest.raises(UserError, match=r"e\.parquet: it lacks 2 of 4 pairs"):
        check_stored(path, ["pair-1", "pair-4", "pair-3", "pair-5"])
