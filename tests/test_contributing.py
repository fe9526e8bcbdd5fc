"""The parts that CONTRIBUTING.md adds as examples work as it says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CONF, HANG
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from test_examples import run as run_examples
from test_report_media import logged_points

from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.pipeline.build import fresh_classifier
from gmask_pl.pipeline.settings_check import check_settings

ROOT = CONF.parent
BLOCK = re.compile(r"^`([\w/]+\.(?:py|yaml))`.*?\n\n```(?:python|yaml)\n(.*?)^```$", re.M | re.S)


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The printed files: modules that can be imported, and a folder that Hydra can search."""
    for name, text in BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8")):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        if file.suffix == ".py":
            module = name.removesuffix(".py").replace("/", ".")
            spec = importlib.util.spec_from_file_location(module, file)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            monkeypatch.setitem(sys.modules, module, loaded)
            package, _, own = module.rpartition(".")
            monkeypatch.setattr(sys.modules[package], own, loaded, raising=False)
    return tmp_path


@pytest.mark.parametrize("explainer", ["one_out", "gmask", "iba", "gmask_released"])
def test_the_printed_parts_go_with_the_others(explainer: str, guide: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "explain",
            [
                f"hydra.searchpath=[file://{guide / 'conf'}]",
                *("model=bow", f"explainer={explainer}", "metric=[aopc,decision_flip]"),
                *("dataset.train_size=40", "dataset.dev_size=4", "dataset.test_size=4"),
            ],
        )
        check_settings(cfg)
        source = instantiate(cfg.dataset)
        classifier = fresh_classifier(cfg, source).eval()
        batch = classifier.encoder("word")(source.load("test"))
        masked = MaskedModel(classifier, batch, cfg.explainer.removal, token_budget=4096)
        found = instantiate(cfg.explainer)
        metric = instantiate(cfg.metric.decision_flip)
    if explainer in ("one_out", "gmask"):
        assert bool(found(masked).scores.isfinite().all())
    assert metric.words == 5
    folder = guide / "weights"
    classifier.save(folder)
    settings = {k: v for k, v in OmegaConf.to_container(cfg.model.net).items() if k != "_target_"}
    again = type(classifier).from_weights(
        folder, labels=source.labels, label_order=None, **settings
    )
    assert bool((again.eval().read(batch) == classifier.read(batch)).all())


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the two files of the printed metric, and nothing else changed."""
    copy = tmp_path_factory.mktemp("project")
    unread = shutil.ignore_patterns("__pycache__", "results")
    for name in ("gmask_pl", "gmask_paper", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=unread)
    for name in ("explain.py", "train.py"):
        shutil.copy(ROOT / name, copy)
    for name, text in BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8")):
        if "decision_flip" in name:
            (copy / name).write_text(text, "utf-8")
    return copy


def run(copy: Path, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    environment |= {"HF_HUB_OFFLINE": "1", "NETRC": os.devnull, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_printed_metric_is_shown_everywhere(added: Path) -> None:
    sizes = ("dataset.train_size=60", "dataset.dev_size=9", "dataset.test_size=9")
    settings = (*sizes, "model=bert_tiny", "dataset=planted", "metric=[aopc,decision_flip]")
    small = ("model.fit.max_epochs=1", "metric.decision_flip.words=3", "limit=5")
    told = run(
        added, "explain.py", *settings, *small, "explainer=random", "logger=[csv,wandb]", "seed=0"
    )
    table = told[told.index("\nrun ") :].splitlines()
    assert table[1].split()[-4:] == ["flips", "u=1", "evaluations", "seconds"]
    (metrics,) = added.glob("outputs/explain/*/random/*/metrics.json")
    folder = metrics.parent
    found = json.loads(metrics.read_text("utf-8"))["decision_flip"]
    assert len(found["by_u"]) == 3
    assert f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]" in table[3]
    page = (folder / "report.html").read_text("utf-8")
    assert "Decision flips" in page
    assert "without the top u words, u from 1 to 3" in page
    assert 'aria-label="Changed predictions by the number of words removed"' in page
    curves = (folder / "curves.csv").read_text("utf-8").splitlines()
    points = [(1, found["by_u"][0]), (2, found["by_u"][1]), (3, found["by_u"][2])]
    assert [line.split(",")[:3] for line in curves[1:]] == [
        ["decision_flip", str(x), str(y)] for x, y in points
    ]
    assert "decision_flip/u1" in (folder / "csv" / "metrics.csv").read_text("utf-8")
    (log,) = (folder / "wandb").rglob("*.wandb")
    assert logged_points(log, "words_removed", "curves/decision_flip") == points
    run(added, "-m", "gmask_pl.commands.dashboard", "entity=me", "out=board.json")
    board = (added / "board.json").read_text("utf-8")
    for name in ("decision_flip/value", "curves/decision_flip", "Decision flips"):
        assert f'"{name}"' in board

    collecting = ("-m", "gmask_paper.collecting", *settings, *small, "explainer=random", "seed=0")
    quick = ("collect.metric=decision_flip", "collect.table=none", "collect.resamples=50")
    for experiment in ("table2", "figure3"):
        run(added, *collecting, f"experiment={experiment}", *quick, "collect.permutations=50")
    made = added / "outputs" / "paper"
    cells = (made / "table2" / "table2.csv").read_text("utf-8")
    assert str(found["value"])[:8] in cells
    assert "changed predictions" in (made / "figure3" / "figure3.svg").read_text("utf-8")
    drawn = (made / "figure3" / "figure3_curves.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[-4] for line in drawn[1:]] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "part", ["data.sick", "models.bow", "explainers.one_out", "metrics.decision_flip"]
)
def test_the_printed_examples_are_right(part: str, guide: Path) -> None:
    typed, wrong = run_examples(f"gmask_pl.{part}")
    assert not wrong, wrong
    assert typed


def test_the_printed_data_set(guide: Path) -> None:
    lines = (
        "pair_ID\tsentence_A\tsentence_B\tentailment_judgment",
        "7\tA man sleeps\tA man is awake\tCONTRADICTION",
    )
    (guide / "SICK_train.txt").write_text("\n".join(lines) + "\n", "utf-8")
    sick = instantiate(OmegaConf.load(guide / "conf/dataset/sick.yaml"), path=str(guide))
    (pair,) = sick.load("train")
    assert (pair.id, pair.words1, pair.label) == ("7", ("a", "man", "sleeps"), 2)
