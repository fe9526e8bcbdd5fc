"""The parts that CONTRIBUTING.md adds as examples work as it says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from conftest import CONF
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

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
    assert metric.words == 1
    folder = guide / "weights"
    classifier.save(folder)
    settings = {k: v for k, v in OmegaConf.to_container(cfg.model.net).items() if k != "_target_"}
    again = type(classifier).from_weights(
        folder, labels=source.labels, label_order=None, **settings
    )
    assert bool((again.eval().read(batch) == classifier.read(batch)).all())


def test_the_printed_data_set(guide: Path) -> None:
    lines = (
        "pair_ID\tsentence_A\tsentence_B\tentailment_judgment",
        "7\tA man sleeps\tA man is awake\tCONTRADICTION",
    )
    (guide / "SICK_train.txt").write_text("\n".join(lines) + "\n", "utf-8")
    sick = instantiate(OmegaConf.load(guide / "conf/dataset/sick.yaml"), path=str(guide))
    (pair,) = sick.load("train")
    assert (pair.id, pair.words1, pair.label) == ("7", ("a", "man", "sleeps"), 2)
