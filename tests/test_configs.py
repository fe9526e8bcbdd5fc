"""Every YAML fits the constructor that it names, and every combination composes."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import CONF
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class, get_method, instantiate
from omegaconf import DictConfig, OmegaConf

from gmask_pl.config import register, run_key
from gmask_pl.models.base import PairClassifier

register()


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(script: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            script,
            overrides=["hydra.runtime.output_dir=out", *overrides],
            return_hydra_config=True,
        )
    HydraConfig.instance().set_config(cfg)  # for ${hydra:...}
    return cfg


@pytest.fixture(autouse=True)
def forget_hydra() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


def targets(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from targets(value)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (group, name)
        for group in ("dataset", "explainer", "metric", "trainer", "logger")
        for name in choices(group)
    ],
)
def test_yaml_binds_to_its_target(group: str, name: str) -> None:
    override = f"{group}=[{name}]" if group in ("metric", "logger") else f"{group}={name}"
    cfg = composed("explain", override)
    found = list(targets(OmegaConf.to_container(cfg[group], resolve=True)))
    assert found
    for settings in found:
        target = settings.pop("_target_")
        signature = inspect.signature(get_method(target))
        signature.bind(**settings)
        if target.startswith("gmask_pl"):
            defaults = [p.name for p in signature.parameters.values() if p.default is not p.empty]
            assert not defaults, f"{target} holds defaults that belong in conf/: {defaults}"


@pytest.mark.parametrize("name", ["dattn", "bert_tiny"])
def test_a_model_is_made_from_its_yaml(name: str) -> None:
    cfg = composed("train", f"model={name}")
    settings: Any = OmegaConf.to_container(cfg.model.net, resolve=True)
    model = get_class(settings.pop("_target_"))
    made = model.from_data(labels=("yes", "no"), word_counts=Counter("ab"), **settings)
    assert isinstance(made, PairClassifier)
    assert made.labels == ("yes", "no")


def test_all_models_share_what_the_other_groups_read() -> None:
    keys = [
        set(composed("train", f"model={name}").model) - {"pretrained", "embeddings"}
        for name in choices("model")
    ]
    assert all(k == keys[0] for k in keys)


def test_the_filter_of_gmask_is_a_choice() -> None:
    cfg = composed("explain", "explainer=gmask", "explainer@explainer.word_filter=random")
    assert type(instantiate(cfg.explainer).word_filter).__name__ == "Random"


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ("", "default"),
        ("explainer=imask", "default"),
        ("explainer=imask,limit=5", "limit=5"),
        ("limit=5,explainer=imask,seed=1", "limit=5,seed=1"),
        ("experiment=demo,explainer=imask", "experiment=demo"),
        ("explainer.k=4", "explainer.k=4"),
    ],
)
def test_the_folder_of_a_run_names_its_settings(overrides: str, folder: str) -> None:
    assert run_key(overrides) == folder


def test_different_commands_have_different_folders() -> None:
    commands = ("", "explainer@explainer.word_filter=random", "experiment=demo", "limit=5", "a=b/c")
    assert len({run_key(command) for command in (*commands, "a=b-c")}) == len(commands) + 1


@pytest.mark.parametrize("name", choices("experiment"))
def test_experiments_compose(name: str) -> None:
    cfg = composed("explain", f"experiment={name}")
    assert cfg.dataset.name
