"""The notebooks of docs/notebooks run, and what is stored in them can be shown as it is."""

from __future__ import annotations

import ast
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from gmask_pl.process_switches import apart

# What stands in the place of a notebook's own sizes.
TINY: dict[str, dict[str, Any]] = {
    "black_box": {"budget": 120, "repeats": 1},
    "compare_explainers": {
        "train_pairs": 40,
        "epochs": 1,
        "explained": 2,
        "explainers": "gmask,random",
    },
    "explain_your_model": {"train_pairs": 40, "epochs": 1, "explained": 1},
    "reproduce_a_table": {"resamples": 20, "permutations": 20},
    "reranker": {
        "train_pairs": 40,
        "epochs": 1,
        "score_pairs": 32,
        "embedder_pairs": 32,
        "embedder_epochs": 1,
    },
}
BOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
OF_A_MACHINE = re.compile(r"(?<![\w.<])/(?:tmp|home|root|usr|opt|var|work|Users)/|site-packages")
NOISE = re.compile(r"Warning|it/s|%\||\x1b|\r|GPU available|object at 0x")

every_book = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)


def cells_of(path: Path, kind: str = "code") -> list[dict[str, Any]]:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def is_parameters(cell: dict[str, Any]) -> bool:
    return "parameters" in cell["metadata"].get("tags", ())


def texts_of(output: dict[str, Any]) -> list[str]:
    return ["".join(text) for text in (output.get("text", ""), *output.get("data", {}).values())]


@pytest.mark.slow
@every_book
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names: dict[str, Any] = {"__name__": "__main__"}
    with apart():
        for cell in cells_of(path):
            if is_parameters(cell):
                names |= TINY[path.stem]
            else:
                exec(compile("".join(cell["source"]), f"{path.name}:{cell['id']}", "exec"), names)


def test_every_notebook_has_tiny_sizes() -> None:
    assert sorted(TINY) == [path.stem for path in BOOKS]


@every_book
def test_its_form(path: Path) -> None:
    """As nbformat 4.5 has it, and as make notebooks writes it: nothing of a kernel or a run."""
    text = path.read_text("utf-8")
    book = json.loads(text)
    assert text == json.dumps(book, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    assert set(book) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert book["metadata"] == {"kernelspec": kernel, "language_info": {"name": "python"}}
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", id) for id in ids)
    assert book["cells"][0]["source"][0].startswith("# ")
    for cell in book["cells"]:
        keys = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            keys |= {"execution_count", "outputs"}
        assert set(cell) == keys
        assert cell["cell_type"] in ("code", "markdown")
        assert set(cell["metadata"]) <= {"tags"}
        assert isinstance(cell["source"], list)
        assert "".join(cell["source"]).strip()


@every_book
def test_its_parameters(path: Path) -> None:
    """One cell holds them, values alone, and the tiny ones have the same names and types."""
    (cell,) = filter(is_parameters, cells_of(path))
    own = {}
    for line in ast.parse("".join(cell["source"])).body:
        assert isinstance(line, ast.Assign)
        (name,) = line.targets
        assert isinstance(name, ast.Name)
        own[name.id] = ast.literal_eval(line.value)
    tiny = TINY[path.stem]
    assert {name: type(value) for name, value in own.items()} == {
        name: type(value) for name, value in tiny.items()
    }


@every_book
def test_its_stored_outputs(path: Path) -> None:
    """They are of one run from top to bottom, without errors, noise or paths of a machine."""
    cells = cells_of(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        outputs = cell["outputs"]
        last = ast.unparse(ast.parse("".join(cell["source"])).body[-1])
        silent = not last.startswith(("print(", "found")) or "=" in last.partition("(")[0]
        assert outputs or silent, f"{cell['id']} shows something, and nothing is stored"
        for output in outputs:
            assert output["output_type"] in ("stream", "execute_result", "display_data")
            assert output.get("name", "stdout") == "stdout"
            assert output.get("metadata", {}) == {}
            assert output.get("execution_count", cell["execution_count"]) == cell["execution_count"]
            for text in texts_of(output):
                assert not OF_A_MACHINE.search(text), OF_A_MACHINE.search(text)
                assert not NOISE.search(text), NOISE.search(text)


def test_what_is_no_output_is_found() -> None:
    """The patterns above find what they are for, and take HTML and words for what they are."""
    for text in ("saved in /tmp/x/one.svg", "('/root/a', 1)", "lib/site-packages/torch"):
        assert OF_A_MACHINE.search(text)
    for text in ("</tmp>", "and/or /10", "gmask_paper/results/runs"):
        assert not OF_A_MACHINE.search(text)
    for text in ("UserWarning: a", "1/2 [00:01, 3.2it/s]", " 50%|#", "<f object at 0x7f>"):
        assert NOISE.search(text)
