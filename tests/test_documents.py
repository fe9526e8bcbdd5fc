"""What the documents say holds: links lead somewhere, commands compose, the Python runs."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
import yaml
from conftest import OPTIMIZER, ROOT, TEXTS
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

import gmask_pl
from gmask_paper.collector import Collect
from gmask_paper.run_query import OWN
from gmask_pl.commands.dashboard import dashboard_settings
from gmask_pl.identity.parts import CONF
from gmask_pl.models.bert_tiny import TinyBert
from gmask_pl.pipeline.hydra_setup import choices, register
from gmask_pl.pipeline.one_pair import pair_of
from gmask_pl.pipeline.own_things import implied
from gmask_pl.pipeline.settings_check import check_settings
from gmask_pl.pipeline.settings_schema import Explain, Train

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
RESULTS = sorted((ROOT / "gmask_paper").rglob("*.md"))
DOCUMENTS = [README, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md"))]
DOCUMENTS += [*PAGES, *RESULTS]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def source(path: Path) -> str:
    """The text of a document; of a notebook that of its cells."""
    text = path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    told = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return "\n\n".join(told)


def without_code(text: str) -> str:
    text = FENCE.sub("", text)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.M)
    return re.sub(r"(`+).+?\1", lambda code: "" if "](" in code[0] else code[0], text)


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub and the site name them, and of the names of an API page."""
    found: set[str] = set(re.findall(r"^::: (\S+)$", source(path), re.M))
    for title in re.findall(r"^#+ +(.+)$", FENCE.sub("", source(path)), re.M):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        assert slug not in found, f"{path.name}: two headings are called {title}"
        found.add(slug)
    return found


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").split()) <= 700


@pytest.mark.parametrize("path", [*DOCUMENTS, *NOTEBOOKS], ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in LINK.findall(without_code(source(path))):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", target):
            continue
        place = (path.parent / unquote(target)).resolve() if target else path
        assert place.is_relative_to(ROOT), link
        assert place.exists(), link
        assert not anchor or anchor in anchors(place), link


def test_no_document_names_a_file_that_is_gone() -> None:
    written = re.compile(r"`((?:gmask_pl|gmask_paper|conf|tests|docs|benchmarks)/[\w./-]+)`")
    for path in [README, *PAGES, ROOT / "CHANGELOG.md"]:
        for name in written.findall(path.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_every_page_is_in_the_navigation() -> None:
    lines = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2].splitlines()
    listed = {
        line.split()[-1]
        for line in lines
        if line.endswith((".md", ".ipynb")) and not line.lstrip().startswith("#")
    }
    own = {str(path.relative_to(ROOT / "docs")) for path in [*PAGES, *NOTEBOOKS]}
    added = {"index.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    added |= {f"results/{path.name}" for path in RESULTS}
    assert listed == own | added


def test_every_exported_name_is_on_an_api_page() -> None:
    told = [name for path in PAGES for name in re.findall(r"^::: (\S+)$", source(path), re.M)]
    assert len(told) == len(set(told))
    exported = {name for name in told if name.count(".") == 1}
    assert exported == {f"gmask_pl.{name}" for name in gmask_pl.__all__}


@pytest.mark.parametrize("group", ["explainer", "model", "dataset", "metric"])
def test_every_part_is_on_the_page_of_parts(group: str) -> None:
    told = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "parts.md").read_text("utf-8")))
    assert {path.stem for path in (CONF / group).glob("*.yaml")} <= told


def test_the_citation_is_of_this_version() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert found["cff-version"] == "1.2.0"
    assert found["version"] == gmask_pl.__version__
    assert found["license"] == "Apache-2.0"
    (paper,) = found["references"]
    assert (paper["title"] in README.read_text("utf-8"), paper["year"]) == (True, 2021)
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in README.read_text("utf-8")


COMMAND = re.compile(
    r"(?:^|\s)(?:python (?:explain|train|collect)\.py"
    r"|gmask-(?:explain|train|collect|check|dashboard)\b"
    r"|(?:\S*python) -m (?:gmask_paper|benchmarks)\.|torchrun )"
)


def shell_lines(text: str) -> Iterator[str]:
    """Every command of a document, as one line: of its blocks and within its text."""
    blocks = [code for kind, code in FENCE.findall(text) if kind in ("", "bash", "sh", "shell")]
    prose = FENCE.sub("", text)
    blocks += re.findall(r"(?:^ {4}.*\S.*\n)+", prose, re.M)
    set_before: dict[str, str] = {}
    for block in blocks:
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            line = re.sub(r"\$([A-Z]+)\b", lambda name: set_before.get(name[1], name[0]), line)
            if assigned := re.fullmatch(r'\s*([A-Z]+)="(.*)"', line):
                set_before[assigned[1]] = assigned[2]
            elif COMMAND.search(line):
                yield line.strip()
    for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"^ {4}.*$", "", prose, flags=re.M)):
        line = " ".join(code.split())
        if COMMAND.match(line) and len(line.split()) > 2:
            yield line


def commands() -> list[tuple[str, str]]:
    """Where each first stands; CONTRIBUTING.md has a test of its own."""
    found: dict[str, str] = {}
    for path in [README, *PAGES, *NOTEBOOKS]:
        for line in shell_lines(source(path)):
            found.setdefault(line, name_of(path))
    return [(place, line) for line, place in found.items()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with the weights and pairs that commands name."""
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "FOLDER" / "config.json").write_text('{"model_type": "bert"}', "utf-8")
    (tmp_path / "my.csv").write_text("text1,text2\na,b\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("place", "line"), commands())
def test_every_command_composes(place: str, line: str, folder: Path) -> None:
    words = [word for word in shlex.split(line, comments=True) if "..." not in word]
    while not re.search(r"(?:explain|train|collect)\.py$|^gmask-|^-m$", words[0]):
        words.pop(0)  # variables, python, torchrun and its options
    script, *arguments = words
    if script == "-m":
        assert importlib.util.find_spec(arguments[0]) is not None
        options = [a for a in arguments[1:] if re.match(r"[\w.@]+=", a)]
        if not options:
            return
        script, arguments = "explain.py", options
    script = re.sub(r"\.py$|^gmask-", "", script)
    if script == "dashboard":
        dashboard_settings(arguments)
        return
    typed = [word for word in arguments if word not in ("-m", "--multirun")]
    if script == "explain" and pair_of(typed):
        typed = [word for word in typed if not word.startswith("pair=")]
    several = "-m" in arguments or "--multirun" in arguments or script == "collect"
    check(script, [*implied(typed), *typed] if script == "explain" else typed, several=several)


def check(script: str, overrides: list[str], *, several: bool) -> None:
    """Raises for settings that cannot be, of the first job of a sweep, and for unknown choices."""
    kinds = {"train": Train, "collect": Collect}.get(script, Explain)
    config = "train" if script == "train" else "explain"
    own = list(OWN) if script == "collect" else []
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        first, swept = once(overrides)
        cfg = compose(config, [*own, *first], return_hydra_config=True)
        several |= cfg.hydra.mode == RunMode.MULTIRUN
        assert several or not swept, f"several at once need -m: {', '.join(swept)}"
        typed = {text.partition("=")[0].lstrip("+") for text in overrides}
        params = cfg.hydra.sweeper.params or {}
        added = [f"{key}={value}" for key, value in params.items() if key not in typed]
        if added:
            cfg = compose(config, [*own, *first, *once(added)[0]])
        check_settings(cfg, kinds)


def once(overrides: list[str]) -> tuple[list[str], list[str]]:
    """The overrides of the first job, and what has several values."""
    first, swept = [], []
    for override in OverridesParser.create().parse_overrides(overrides):
        text = override.input_line or ""
        if override.is_sweep_override():
            key, values = override.get_key_element(), list(override.sweep_string_iterator())
            known = choices(key.lstrip("+").partition("@")[0])
            assert not known or set(values) <= set(known), text
            swept.append(key)
            text = f"{key}={values[0]}"
        first.append(text)
    return first, swept


def test_every_target_that_is_named_is_made() -> None:
    made = re.findall(r"^([a-z][\w.%-]*):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    patterns = [name.replace("%", "*") for name in made]
    for path in (README, *PAGES, ROOT / "CONTRIBUTING.md"):
        for name in re.findall(r"(?:`|^ {4})make ([a-z][\w.-]*)", source(path), re.M):
            assert any(fnmatch(name, pattern) for pattern in patterns), f"{path.name}: make {name}"


def tiny_bert(folder: Path) -> None:
    """Weights of a small random model of two classes."""
    torch.manual_seed(0)
    model = TinyBert.from_data(
        labels=("no", "yes"),
        word_counts=Counter(word for pair in TEXTS for text in pair for word in text.split()),
        vocabulary_size=60,
        hidden_size=16,
        layers=2,
        heads=2,
        intermediate_size=32,
        dropout=0.0,
        initializer_range=0.3,
        max_length=64,
        **OPTIMIZER,
    )
    model.save(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md", "docs/python.md"])
def test_the_python_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_bert(tmp_path / "FOLDER")
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    blocks = [code for kind, code in FENCE.findall(source(ROOT / name)) if kind == "python"]
    assert blocks
    for code in blocks:
        exec(compile(code, name, "exec"), known)
