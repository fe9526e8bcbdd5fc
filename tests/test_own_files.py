"""Pairs of one's own in every file form, and the command line that needs no more than them."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import CONF, LABELS, UNNAMED, untrained, within
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.utils import instantiate

from gmask_pl.api import PairExplainer
from gmask_pl.data.in_memory import Given
from gmask_pl.data.pairs import Pairs
from gmask_pl.explanation import Explanation
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.bert_tiny import TinyBert
from gmask_pl.pipeline.build import stored_classifier
from gmask_pl.pipeline.explaining import built
from gmask_pl.pipeline.one_pair import pair_of, shown
from gmask_pl.pipeline.own_things import implied
from gmask_pl.pipeline.settings_check import explain_settings
from gmask_pl.types import UserError

ROWS: list[dict[str, Any]] = [
    {"text1": 'A man, "asleep", rests.', "text2": "He is\nawake", "label": "no", "id": "x"},
    {"text1": "我喜欢 音乐", "text2": "café\u2028☕ \x85\x1e b", "label": None, "id": "y"},
    {"text1": "two dogs", "text2": "dogs", "label": "yes", "id": "z"},
]
ENDINGS = ("jsonl", "jsonl.gz", "json", "json.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet")


def content(rows: list[dict[str, Any]], ending: str) -> bytes:
    kind = ending.removesuffix(".gz")
    if kind == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        return buffer.getvalue()
    if kind == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif kind == "json":
        text = json.dumps(rows, ensure_ascii=False)
    else:
        out = io.StringIO()
        table = csv.DictWriter(out, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
        table.writeheader()
        table.writerows(rows)
        text = "\ufeff" + out.getvalue()  # as a spreadsheet writes it, and with CRLF
    data = text.encode()
    return gzip.compress(data) if ending.endswith(".gz") else data


def pairs(path: Path | str, **settings: Any) -> Pairs:
    given: dict[str, Any] = {"labels": ["no", "yes"]} | UNNAMED | settings
    return Pairs(name="pairs", path=str(path), clean=False, **given)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_form_holds_the_same_pairs(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"my.{ending}"
    file.write_bytes(content(ROWS, ending))
    found = pairs(file).load("test")
    assert [(e.id, e.text1, e.text2, e.label) for e in found] == [
        ("x", ROWS[0]["text1"], ROWS[0]["text2"], 0),
        ("y", ROWS[1]["text1"], ROWS[1]["text2"], None),
        ("z", "two dogs", "dogs", 1),
    ]
    own = {"text1": "premise", "text2": "hypothesis", "label": "gold", "id": "uid"}
    renamed = [{own[key]: value for key, value in row.items()} for row in ROWS]
    file.write_bytes(content(renamed, ending))
    again = pairs(file, **own).load("test")
    assert again == found


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_column_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"my.{ending}"
    file.write_bytes(content(ROWS, ending))
    for read in (Pairs.load, Pairs.check):
        with pytest.raises(
            UserError, match=rf"{file}: no column 'text_1'; did you mean text1.*There are 'text1', "
        ):
            read(pairs(file, text1="text_1"), "test")
        with pytest.raises(UserError, match="no column 'gold'"):
            read(pairs(file, label="gold"), "test")


def test_a_column_that_some_lines_have_is_there(tmp_path: Path) -> None:
    file = tmp_path / "my.jsonl"
    lines = [
        {"text1": "a", "text2": "b"},
        {"text2": "b"},
        {"text1": "c", "text2": "d", "gold": "no"},
    ]
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    source = pairs(file, label="gold")
    source.check("test")
    assert [e.label for e in source.load("test")] == [None, 0]
    assert len(source.failed("test")) == 1
    with typed_in(file.read_bytes()), pytest.raises(UserError, match="standard input: no column"):
        pairs("-", id="name").check("test")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_row_without_two_texts_is_left_out_and_told(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"my.{ending}"
    file.write_bytes(content([*ROWS, {**ROWS[0], "id": "w", "text2": None}], ending))
    source = pairs(file)
    assert len(source.load("test")) == 3
    ((place, reason),) = source.failed("test").items()
    assert place.startswith(str(file))
    assert reason == "text2 is empty: give a text"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("my.xlsx", b"", "files of pairs end in .jsonl, .jsonl.gz, .json"),
        ("my.json", b"{}", "holds no list of pairs"),
        ("my.json", b"[1]", "item 1: 1 is no JSON object"),
        ("my.json", b"[", "not JSON"),
        ("my.jsonl", b"\n", "holds no pair"),
        ("my.jsonl", b"[1]\n{", "holds no pair: .*my.jsonl:1: not a JSON object"),
        ("my.json", b"[]", "holds no pair"),
        ("my.json", b"", "not JSON"),
        ("my.csv", b"text1,text2\n", "holds no pair"),
        ("my.csv", b"", "no column 'text1'"),
        ("my.csv", b'text1,text2\n"a', "my.csv:.*cannot be read"),
        ("my.csv", "text1,text2\né,b".encode("latin-1"), "cannot be read"),
        ("my.parquet", b"PAR1 but not", "cannot be read as Parquet"),
        ("my.csv.gz", b"text1,text2\na,b", "cannot be read"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    for read in (Pairs.load, Pairs.check):
        with pytest.raises(UserError, match=said):
            read(pairs(tmp_path / name), "test")


def test_a_path_without_pairs_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for path, said in (
        (tmp_path / "x.xyz", "x.xyz: there is no such file or folder; pairs is read from"),
        (tmp_path, "no test split: no test.jsonl or test.jsonl.gz; pairs is read from"),
        (tmp_path / "empty.jsonl", "empty.jsonl: the test split holds no pair"),
    ):
        cfg = explain_settings(
            [*implied([f"dataset.path={path}"]), f"dataset.path={path}", "weights=nowhere"]
        )
        with pytest.raises(UserError, match=said):
            built(cfg, tmp_path)


def test_numbers_are_no_texts_and_rows_have_as_many_fields_as_columns(tmp_path: Path) -> None:
    file = tmp_path / "my.parquet"
    file.write_bytes(content([{"text1": 3.0, "text2": "a"}], "parquet"))
    with pytest.raises(UserError, match="row 1: text1 is 3.0, not a string"):
        pairs(file).load("test")
    file = tmp_path / "my.csv"
    file.write_text("text1,text2\na,b\na,b,c\n", "utf-8")
    source = pairs(file)
    assert len(source.load("test")) == 1
    assert list(source.failed("test").values()) == ["3 fields, and 2 columns: ['a', 'b', 'c']"]


def typed_in(data: bytes) -> Any:
    return mock.patch.object(sys, "stdin", mock.Mock(buffer=io.BytesIO(data)))


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv"])
def test_standard_input_is_the_same_for_every_run_of_a_process(ending: str) -> None:
    with typed_in(content(ROWS, ending)):
        found = pairs("-").load("test")
        assert pairs("-").load("test") == found
    assert [(e.id, e.text2) for e in found] == [(row["id"], row["text2"]) for row in ROWS]
    with typed_in(content(ROWS[:1], ending)):
        assert len(pairs("-").load("test")) == 1


@pytest.mark.parametrize("data", [b"", b" \n"])
def test_standard_input_that_another_process_has_read_is_told(data: bytes) -> None:
    said = "standard input is empty. Of several processes.* give a file"
    with typed_in(data), pytest.raises(UserError, match=said):
        pairs("-").load("test")
    with mock.patch.object(sys, "stdin", None), pytest.raises(UserError, match="cannot be read"):
        pairs("-").load("test")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("weights")
    untrained("bert_tiny").save(folder)
    return folder


def test_what_a_command_leaves_unsaid_follows_from_the_files(tmp_path: Path, weights: Path) -> None:
    file = tmp_path / "my.csv"
    file.write_bytes(content(ROWS, "csv"))
    own = [f"dataset.path={file}", f"weights={weights}"]
    assert implied(own) == ["dataset=pairs", "model=bert", "model.net.max_length=null"]
    assert implied(["dataset=esnli", "model=bert_tiny", *own]) == []
    assert implied([f"dataset.path={tmp_path}"]) == ["dataset=pairs"]
    assert implied([f"dataset.path={tmp_path}/x.xyz"]) == ["dataset=pairs"]
    assert implied(["experiment=table1", f"dataset.path={tmp_path}"]) == []
    assert implied(["dataset.path=null"]) == []
    assert implied(["dataset.path=-"]) == ["dataset=pairs"]
    words = tmp_path / "words"
    untrained("dattn").save(words)
    assert implied(["dataset=pairs", f"weights={words}"]) == ["model=dattn"]
    (words / "config.json").write_text("[", "utf-8")
    assert implied(["dataset=pairs", f"weights={words}"])[0] == "model=bert"
    assert implied([f"weights={words}"]) == []  # of another data set the model is named


def test_the_longest_input_is_the_models_own_where_nobody_says_less(weights: Path) -> None:
    cfg = explain_settings(
        [f"weights={weights}", "dataset=pairs", "model=bert", "model.net.max_length=null"]
    )
    model: Any = stored_classifier(cfg, instantiate(cfg.dataset), weights, None)
    own = model.tokenizer.model_max_length
    assert model.max_length == own == 64
    model.tokenizer.model_max_length = 10**30  # says nothing: so does the table of positions
    again = BertPairClassifier.from_network(model.network, model.tokenizer, max_length=None)
    assert again.max_length == 64
    with pytest.raises(UserError, match="max_length=null: it is of a model that is there"):
        TinyBert.from_data(labels=LABELS, word_counts={}, max_length=None)


CUTTING = """
def words(text):
    return text.split("{sign}")

not_one = 3
"""


@pytest.mark.slow
def test_a_segmentation_is_named_by_its_path(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "my.csv").write_text("text1,text2\nhe-does not,he-does\n", "utf-8")
    told = []
    for sign in ("-", " "):
        (tmp_path / "my_cutting.py").write_text(CUTTING.format(sign=sign), "utf-8")
        sys.modules.pop("my_cutting", None)
        importlib.invalidate_caches()
        given = [f"dataset.path={tmp_path}/my.csv", f"weights={weights}"]
        given += [
            "logger=[]",
            "run_name=x",
            f"log_dir={tmp_path}",
            "dataset.segment=my_cutting.words",
        ]
        given += ["explainer=occlusion", "metric=[aopc]"]
        run = built(explain_settings([*implied(given), *given]), tmp_path)
        (pair,) = run.data.explained
        assert pair.words1 == {"-": ("he", "does not"), " ": ("he-does", "not")}[sign]
        assert run.identity.settings["dataset"]["segment"]["kind"] == "my_cutting.words"
        told.append((run.identity.settings, run.training.identity))
    assert PairExplainer.from_config(*implied(given), *given).segment("a b") == ["a", "b"]
    assert told[0][0] != told[1][0]
    assert told[0][1] != told[1][1]
    given.remove("dataset.segment=my_cutting.words")
    plain = built(explain_settings([*implied(given), *given]), tmp_path)
    assert "dataset" not in plain.identity.settings
    assert "segment" not in plain.training.identity
    for path, said in (
        ("my_cutting.word", "there is no such function .AttributeError"),
        ("no_such_module.words", "there is no such function .ModuleNotFoundError.*PYTHONPATH"),
        ("words", "there is no such function"),
        ("my_cutting.not_one", "this is no function"),
    ):
        with pytest.raises(UserError, match=f"segment={path}: {said}"):
            pairs("my.csv", segment=path)
    with pytest.raises(UserError, match="clean=true cuts texts into words, too"):
        Given([], (), clean=True, segment=str.split)


@pytest.mark.slow
def test_a_file_and_weights_are_enough(tmp_path: Path, weights: Path) -> None:
    rows = [
        {"premise": r["text1"], "claim": r["text2"], "label": LABELS[i]} for i, r in enumerate(ROWS)
    ]
    (tmp_path / "my.tsv").write_bytes(content(rows, "tsv"))
    run = within(
        str(CONF.parent / "explain.py"),
        tmp_path,
        f"weights={weights}",
        "dataset.path=my.tsv",
        "dataset.text1=premise",
        "dataset.text2=claim",
        "explainer=occlusion",
        "metric=[aopc]",
    )
    assert run.returncode == 0, run.stderr
    (results,) = tmp_path.glob("outputs/explain/pairs_bert/occlusion/*/metrics.json")
    found = json.loads(results.read_text("utf-8"))
    assert found["model"]["n"] == 3  # labelled, by the labels of the model
    again = within(
        str(CONF.parent / "explain.py"), tmp_path, f"weights={weights}", "pair=['a man','two dogs']"
    )
    assert again.returncode == 0, again.stderr
    assert re.search(r"^a\([+-]\d\.\d\d\) man\(", again.stdout, re.MULTILINE)
    wrong = within(str(CONF.parent / "explain.py"), tmp_path, f"weights={weights}", "pair=[a]")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "pair=[a]: give two texts" in wrong.stderr


@pytest.mark.parametrize(
    "typed", ["a", "[a,b,c]", "[a", "{a:b}", "", "['a,b]", "['it's',b]", "['a' b,c]", "[a,b"]
)
def test_what_is_no_pair_is_told(typed: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"pair={typed}: give two texts, as in")):
        pair_of([f"pair={typed}"])


SIGNS = ("", ", ", "[=]", "$", "${x}", "\\", "\\\\", "\\'", '\\"', r"\\\'", "😀。")
ENDS = ("", r"\\", r"\\\\")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("[a man,two dogs]", ("a man", "two dogs")),
        ("['one, two',3]", ("one, two", "3")),
        ("[true, 1.50]", ("true", "1.50")),
        ("[我喜欢音乐。,你好！😀]", ("我喜欢音乐。", "你好！😀")),
        (
            "[I'm here,it costs $5 (a = b) [c] {d}: \\e]",
            ("I'm here", "it costs $5 (a = b) [c] {d}: \\e"),
        ),
        (r"""['it\'s ${x}', "say \"x\", y"]""", ("it's ${x}", 'say "x", y')),
        (r"['C:\dir\\', 'a\\b\nc']", ("C:\\dir\\", r"a\\b\nc")),
        (r"[one\, two,three]", ("one, two", "three")),
        ("[ ' a ' , b\nc ]", (" a ", "b\nc")),
        ("['नमस्ते, दुनिया','مرحبا، بك']", ("नमस्ते, दुनिया", "مرحبا، بك")),
    ],
)
def test_a_pair_of_any_script_and_signs_is_read(typed: str, expected: tuple[str, str]) -> None:
    assert pair_of([f"pair={typed}"]) == expected


def test_quoted_texts_are_read_as_hydra_reads_them() -> None:
    assert pair_of(["weights=x"]) is None
    quoted = [f"{quote}a{signs}b{end}{quote}" for quote in "'\"" for signs in SIGNS for end in ENDS]
    for text in quoted:
        typed = f"pair=[{text},c]"
        try:
            own = tuple(map(str, OverridesParser.create().parse_override(typed).value()))
        except HydraException:
            with pytest.raises(UserError, match="give two texts"):
                pair_of([typed])
        else:
            assert pair_of([typed]) == own, typed


@pytest.mark.parametrize("text", ["''", '""', "' '", "", '"\u3000"'])
def test_an_empty_text_of_a_pair_is_told(text: str) -> None:
    with pytest.raises(UserError, match="text 1 is empty: give two texts with words"):
        pair_of([f"pair=[{text},x]"])
    with pytest.raises(UserError, match="text 2 is empty"):
        pair_of([f"pair=[x,{text}]"])


def test_words_are_coloured_by_their_scores_and_text_stays_text() -> None:
    found = Explanation(
        id="1",
        words1=("good", "\x1b[2Jbad", "so"),
        words2=("x",),
        label=None,
        prediction=1,
        probabilities=(0.2, 0.8),
        scores=(1.0, -0.4, 0.01, 0.3),
        groups=None,
        evaluations=1,
        gradients=0,
        seconds=0.0,
        question="p(yes)",
        value=0.8,
    )
    coloured = shown(found, ("no", "yes"), colours=True)
    assert coloured.splitlines()[0] == "yes (p(yes) 0.800)"
    assert "\x1b[32;1mgood\x1b[0m" in coloured
    assert "\x1b[31m" in coloured
    assert " so\n" in coloured
    plain = shown(found, ("no", "yes"), colours=False)
    assert "\x1b" not in plain + coloured.replace("\x1b[32;1m", "").replace("\x1b[31m", "").replace(
        "\x1b[32m", ""
    ).replace("\x1b[0m", "")
    assert plain.splitlines()[2] == "x(+0.30)"
