"""Each dataset in the file forms it is published in, and from the hub."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from gmask_pl.data.esnli import ESNLI
from gmask_pl.data.mrpc import MRPC
from gmask_pl.data.qqp import QQP
from gmask_pl.data.quora import Quora
from gmask_pl.data.source import Source
from gmask_pl.types import Highlight, UserError

MSR_HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
CSV_HEADER = ["pairID", "gold_label", "Sentence1", "Sentence2"]


def make(kind: type[Source], folder: Path | None, **settings: Any) -> Source:
    path = None if folder is None else str(folder)
    return kind(name=kind.__name__.lower(), path=path, clean=True, **settings)


def lines(path: Path, *rows: str, encoding: str = "utf-8") -> None:
    path.write_text("".join(row + "\n" for row in rows), encoding=encoding)


def write_csv(path: Path, *rows: list[str], annotators: int = 1) -> None:
    columns = [f"Sentence{s}_Highlighted_{a}" for a in range(1, annotators + 1) for s in (1, 2)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([CSV_HEADER + columns, *rows])


def test_esnli_csv(tmp_path: Path) -> None:
    premise = 'Two women, "friends", hug.'
    write_csv(
        tmp_path / "esnli_dev.csv",
        ["p1", "neutral", premise, "They are\nsisters.", "{}", "2", "3,1", "{}", "", "0"],
        ["p2", "-", premise, "Unclear.", "{}", "{}", "{}", "{}", "{}", "{}"],
        ["p3", "entailment", "Two  spaces.", "n/a", "2", "0", "", "", "", ""],
        annotators=3,
    )
    first, third = make(ESNLI, tmp_path).load("dev")
    assert (first.id, first.label) == ("p1", 1)
    assert first.words1 == ("two", "women", ",", "friends", ",", "hug", ".")
    assert first.highlights == (
        Highlight(None, frozenset({2})),  # the premise of a neutral pair was not to be marked
        Highlight(frozenset({1, 5}), frozenset()),
        Highlight(None, frozenset({0})),
    )
    # A position beyond the words of a side is not known; one empty annotator is not there.
    assert third.highlights == (Highlight(None, frozenset({0, 1})),)


def test_esnli_csv_train_is_both_parts(tmp_path: Path) -> None:
    write_csv(tmp_path / "esnli_train_1.csv", ["p1", "neutral", "a", "b", "{}", "0"])
    with pytest.raises(UserError, match="no train split: no esnli_train_2.csv"):
        make(ESNLI, tmp_path).load("train")
    write_csv(tmp_path / "esnli_train_2.csv", ["p2", "neutral", "a", "b", "{}", "0"])
    assert [example.id for example in make(ESNLI, tmp_path).load("train")] == ["p1", "p2"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["p2", "neutral", "a"], "not 6 comma-separated fields"),
        (["p2", "neutral", "a", "b", "x", "0"], "Sentence1_Highlighted_1 is 'x', not positions"),
        (["p2", "maybe", "a", "b", "{}", "0"], "label 'maybe' is unknown"),
        (["p1", "neutral", "a", "b", "{}", "0"], "id 'p1' is taken by .*:2"),
    ],
)
def test_esnli_csv_bad_rows(tmp_path: Path, row: list[str], message: str) -> None:
    path = tmp_path / "esnli_test.csv"
    write_csv(path, ["p1", "neutral", "a", "b", "{}", "0"], row)
    with pytest.raises(UserError, match=f"{path}:3: .*{message}"):
        make(ESNLI, tmp_path).load("test")


def test_esnli_csv_missing_column(tmp_path: Path) -> None:
    lines(tmp_path / "esnli_test.csv", "pairID,Sentence1,Sentence2", "p1,a,b")
    with pytest.raises(UserError, match="esnli_test.csv:2: no column 'gold_label'"):
        make(ESNLI, tmp_path).load("test")


def evidence(docid: str, start: int, end: int) -> dict[str, Any]:
    return {"docid": docid, "start_token": start, "end_token": end, "text": "unused"}


def write_eraser(folder: Path, *evidences: list[dict[str, Any]]) -> None:
    docs = {"x_premise": "A person, on a horse, jumps.", "x_hypothesis": "A person sits."}
    rows = [json.dumps({"docid": name, "document": text}) for name, text in docs.items()]
    lines(folder / "docs.jsonl", *rows)
    row = {"annotation_id": "x", "classification": "contradiction", "evidences": evidences}
    lines(folder / "val.jsonl", json.dumps(row))


def test_esnli_eraser(tmp_path: Path) -> None:
    write_eraser(
        tmp_path,
        [evidence("x_premise", 0, 2), evidence("x_premise", 5, 6), evidence("x_hypothesis", 2, 3)],
    )
    (example,) = make(ESNLI, tmp_path).load("dev")
    assert (example.id, example.label) == ("x", 2)
    assert example.words1 == ("a", "person", ",", "on", "a", "horse", ",", "jumps", ".")
    assert example.highlights == (Highlight(frozenset({0, 1, 7}), frozenset({2})),)
    with pytest.raises(UserError, match="no train.jsonl"):
        make(ESNLI, tmp_path).load("train")


def test_esnli_eraser_without_evidence_has_no_highlights(tmp_path: Path) -> None:
    write_eraser(tmp_path)
    assert make(ESNLI, tmp_path).load("dev")[0].highlights == ()


def test_esnli_eraser_errors(tmp_path: Path) -> None:
    write_eraser(tmp_path, [evidence("other_premise", 0, 1)])
    with pytest.raises(UserError, match="val.jsonl:1: not ERASER evidences of x_premise"):
        make(ESNLI, tmp_path).load("dev")
    lines(tmp_path / "docs.jsonl", json.dumps({"docid": "x_premise", "document": "a"}))
    with pytest.raises(UserError, match="val.jsonl:1: .*no docid 'x_hypothesis'"):
        make(ESNLI, tmp_path).load("dev")
    lines(tmp_path / "docs.jsonl", json.dumps({"docid": "x_premise"}))
    with pytest.raises(UserError, match="docs.jsonl:1: no text 'document'"):
        make(ESNLI, tmp_path).load("dev")


def test_quora_tsv(tmp_path: Path) -> None:
    lines(tmp_path / "dev.tsv", '1\tWhat "is" this ?\tWhat is that ?\t42', "0\ta\tb\t43")
    first, second = make(Quora, tmp_path).load("dev")
    assert (first.id, first.label, second.label) == ("42", 1, 0)
    assert first.words1 == ("what", "is", "this", "?")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\ta\tb", "3 tab-separated fields, not 4: .*"),
        ("2\ta\tb\t9", "label '2' is unknown; there are 0 and 1"),
    ],
)
def test_quora_tsv_bad_rows(tmp_path: Path, row: str, message: str) -> None:
    lines(tmp_path / "dev.tsv", "1\ta\tb\t1", row)
    with pytest.raises(UserError, match=f"dev.tsv:2: {message}"):
        make(Quora, tmp_path).load("dev")


def test_qqp_tsv(tmp_path: Path) -> None:
    lines(tmp_path / "train.tsv", QQP_HEADER, '7\t1\t2\t"Say ""a"" b?"\tIs "x" a "y"\t1')
    lines(tmp_path / "test.tsv", "id\tquestion1\tquestion2", "0\ta?\tb?")
    source = QQP(name="qqp", path=str(tmp_path), clean=False)
    (example,) = source.load("train")
    assert (example.id, example.label) == ("7", 1)
    assert (example.text1, example.text2) == ('Say "a" b?', 'Is "x" a "y"')
    assert source.load("test")[0].label is None


def test_qqp_broken_lines_are_left_out_and_told(tmp_path: Path) -> None:
    lines(
        *(tmp_path / "train.tsv", QQP_HEADER, "1\t1\t2\ta\tb\t0", '2\t3\t4\t"a question'),
        *('"\tin two lines\t0', "3\t5\t6\t\tb\t0", "4\t7\t8\tc\td\t1"),
    )
    source = make(QQP, tmp_path)
    assert [example.id for example in source.load("train")] == ["1", "4"]
    assert list(source.failed("train")) == [f"{tmp_path}/train.tsv:{line}" for line in (3, 4, 5)]
    first, *_, last = source.failed("train").values()
    assert first.startswith("4 tab-separated fields, not 6: ")
    assert last == "text 1 is empty: ''"


def test_qqp_unknown_label_is_never_left_out(tmp_path: Path) -> None:
    lines(tmp_path / "train.tsv", QQP_HEADER, "1\t1\t2\ta\tb\tyes")
    with pytest.raises(UserError, match="train.tsv:2: label 'yes' is unknown"):
        make(QQP, tmp_path).load("train")
    lines(tmp_path / "dev.tsv", "id\tquestion1\tquestion2", "1\ta\tb")
    with pytest.raises(UserError, match="dev.tsv:2: no column 'is_duplicate'"):
        make(QQP, tmp_path).load("dev")


def test_mrpc_glue_tsv(tmp_path: Path) -> None:
    lines(tmp_path / "dev.tsv", MSR_HEADER, '1\t10\t20\t"Quoted, he said.\tHe "said".')
    lines(tmp_path / "test.tsv", "index\t#1 ID\t#2 ID\t#1 String\t#2 String", "0\t1\t2\ta\tb")
    source = make(MRPC, tmp_path)
    (example,) = source.load("dev")
    assert (example.id, example.label) == ("10-20", 1)
    assert example.words1 == ("quoted", ",", "he", "said", ".")
    assert [(e.id, e.label) for e in source.load("test")] == [("1-2", None)]


def test_mrpc_raw_files(tmp_path: Path) -> None:
    rows = ["1\t1\t2\ta\tb", "0\t3\t4\tc\td", "1\t5\t6\te\tf"]
    lines(tmp_path / "msr_paraphrase_train.txt", MSR_HEADER, *rows, encoding="utf-8-sig")
    lines(tmp_path / "msr_paraphrase_test.txt", MSR_HEADER, "0\t7\t8\tg\th", encoding="utf-8-sig")
    lines(tmp_path / "test.tsv", "index\t#1 ID\t#2 ID\t#1 String\t#2 String", "0\t7\t8\tg\th")
    source = make(MRPC, tmp_path)
    for split in ("train", "dev"):
        with pytest.raises(UserError, match="msr_paraphrase_train.txt needs dev_ids.tsv"):
            source.load(split)
    lines(tmp_path / "dev_ids.tsv", "3\t4")
    assert [example.id for example in source.load("train")] == ["1-2", "5-6"]
    assert [(e.id, e.label) for e in source.load("dev")] == [("3-4", 0)]
    assert [(e.id, e.label) for e in source.load("test")] == [("7-8", 0)]  # with its label


def test_mrpc_needs_labels_in_train(tmp_path: Path) -> None:
    lines(tmp_path / "train.tsv", "index\t#1 ID\t#2 ID\t#1 String\t#2 String", "0\t1\t2\ta\tb")
    with pytest.raises(UserError, match="train.tsv:2: no column 'Quality'"):
        make(MRPC, tmp_path).load("train")


class FakeHub(types.ModuleType):
    """Stands in for the package ``datasets``: records by (repository, config, split)."""

    def __init__(self, records: dict[tuple[str, str | None, str], list[dict[str, Any]]]) -> None:
        super().__init__("datasets")
        self.records = records

    def load_dataset(self, path: str, name: str | None, split: str) -> list[dict[str, Any]]:
        if (path, name, split) not in self.records:
            raise ConnectionError("no network\nand a long story")
        return self.records[path, name, split]


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = {"sentence1": "A?", "sentence2": "B?", "question1": "A?", "question2": "B?"}
    snli = {"premise": "A", "hypothesis": "B"}
    hub = FakeHub(
        {
            ("nyu-mll/glue", "mrpc", "test"): [{**sides, "idx": 5, "label": 1}],
            ("nyu-mll/glue", "qqp", "test"): [{**sides, "idx": 6, "label": -1}],
            ("stanfordnlp/snli", None, "validation"): [
                {**snli, "label": -1},
                {**snli, "label": 2},
                {**snli, "label": 3},
            ],
        }
    )
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert [(e.id, e.label) for e in make(MRPC, None).load("test")] == [("5", 1)]
    assert [(e.id, e.label) for e in make(QQP, None).load("test")] == [("6", None)]
    with pytest.raises(UserError, match="stanfordnlp/snli dev 2: label 3 is unknown"):
        make(ESNLI, None).load("dev")
    hub.records["stanfordnlp/snli", None, "validation"].pop()
    assert [(e.id, e.label) for e in make(ESNLI, None).load("dev")] == [("dev-1", 2)]


def test_unreachable_hub_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", FakeHub({}))
    with pytest.raises(UserError, match=r"nyu-mll/glue.*no network\); set dataset.path") as caught:
        make(MRPC, None).load("test")
    assert isinstance(caught.value.__cause__, ConnectionError)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="set dataset.path .*or install the extra 'hub'"):
        make(MRPC, None).load("test")
    with pytest.raises(UserError, match="hub does not have .*; set dataset.path"):
        make(Quora, None).load("test")
