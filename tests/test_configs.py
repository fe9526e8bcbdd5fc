"""Every YAML fits the constructor that it names, and every combination composes."""

from __future__ import annotations

import errno
import inspect
import re
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

from gmask_pl.identity.setting_roles import seeds_of
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.hydra_setup import register, run_key, user_facing

register()


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(script: str, *overrides: str) -> DictConfig:
    register()  # other tests forget it
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
        # Metrics and explainers are complete from Python: tests hold both together.
        complete = group == "metric" or target.startswith("gmask_pl.explainers")
        if target.startswith("gmask_pl") and not complete:
            defaults = [p.name for p in signature.parameters.values() if p.default is not p.empty]
            assert not defaults, f"{target} holds defaults that belong in conf/: {defaults}"


@pytest.mark.parametrize("name", choices("dataset"))
def test_every_dataset_has_a_path(name: str) -> None:
    """Hydra composes a sweep of datasets over the default one, so this must have it as well."""
    assert "path" in composed("explain", f"dataset={name}").dataset


@pytest.mark.parametrize("name", ["dattn", "bert_tiny"])
def test_a_model_is_made_from_its_yaml(name: str) -> None:
    cfg = composed("train", f"model={name}")
    settings: Any = OmegaConf.to_container(cfg.model.net, resolve=True)
    model = get_class(settings.pop("_target_"))
    made = model.from_data(labels=("yes", "no"), word_counts=Counter("ab"), **settings)
    assert isinstance(made, PairClassifier)
    assert made.labels == ("yes", "no")


def test_all_models_share_what_the_other_groups_read() -> None:
    own = {"pretrained", "revision", "embeddings", "explainers"}
    keys = [set(composed("train", f"model={name}").model) - own for name in choices("model")]
    assert all(k == keys[0] for k in keys)


def test_the_filter_of_gmask_is_a_choice() -> None:
    cfg = composed("explain", "explainer=gmask", "explainer@explainer.word_filter=random")
    assert type(instantiate(cfg.explainer).word_filter).__name__ == "Random"


def folder(*overrides: str, script: str = "explain") -> str:
    """The folder of a run, without the hash of its settings."""
    return str(composed(script, *overrides).hydra.run.dir)


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        ([], "outputs/explain/planted_bert_tiny/gmask/limit=2000,seed=0-"),
        (
            ["explainer=imask", "limit=5", "seed=1"],
            "outputs/explain/planted_bert_tiny/imask/limit=5,seed=1-",
        ),
        (["limit=null"], "outputs/explain/planted_bert_tiny/gmask/limit=all,seed=0-"),
        (["experiment=demo"], "outputs/explain/planted_bert_tiny/gmask/limit=100,seed=0-"),
    ],
)
def test_the_folder_of_a_run_names_its_settings(overrides: list[str], start: str) -> None:
    name = folder(*overrides)
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{8}", name)
    assert folder(*overrides) == name


def test_the_folder_of_a_training_names_its_seed() -> None:
    pattern = r"outputs/train/planted_bert_tiny/seed=3-[0-9a-f]{8}"
    assert re.fullmatch(pattern, folder("seed=3", script="train"))


def test_other_settings_have_other_folders() -> None:
    commands = (
        [],
        ["explainer@explainer.word_filter=random"],
        ["experiment=demo"],
        ["limit=5"],
        ["limit_seed=1"],
        ["seed=1"],
        ["explainer.k=4"],
        ["explainer.word_filter.samples=20"],
        ["metric.removal=mask"],
        ["metric.removal=[mask,pad]"],
        ["metric=[aopc]"],
        ["split=dev"],
        ["weights=a/b"],
        ["weights=a-b"],
        ["dataset.seed=1"],
    )
    assert len({folder(*command) for command in commands}) == len(commands)


def test_the_same_settings_have_one_folder_however_they_are_asked_for() -> None:
    """So that two tables of the paper share the runs of their cells."""
    asked = (
        ["limit=100"],
        ["experiment=demo"],
        ["limit=100", "explainer.k=10", "seed=0"],
        ["limit=100", "logger=[csv,wandb]", "workers=2", "report.max_pairs=5", "reuse=true"],
        ["limit=100", "explainer.objective.gamma_z=10"],
    )
    assert len({folder(*overrides) for overrides in asked}) == 1
    assert folder("output=other").removeprefix("other") == folder().removeprefix("outputs")
    written = {folder(f"weights={place}") for place in ("W", "W/", "./W")}
    assert len(written) == 1
    bounds = {folder("metric=[naopc]", f"metric.naopc.cache={place}") for place in ("a", "null")}
    assert bounds == {folder("metric=[naopc]")}
    shared = {folder(f"experiment={name}") for name in ("table2", "table4", "table7", "figure3")}
    assert len(shared) == 1
    given = {folder("weights=W", f"weights_dir={place}") for place in ("a", "b")}
    assert len(given) == 1
    places = {folder(f"weights_dir={place}") for place in ("a", "b", "outputs/models/c")}
    assert len(places) == 3


def test_the_seed_takes_no_part_where_nothing_is_drawn() -> None:
    settings: Any = OmegaConf.to_container(composed("explain").explainer, resolve=True)
    assert seeds_of(settings) == (0, 0)  # its own and its filter's
    assert seeds_of({"removal": "pad", "parts": [{"seed": None}]}) == ()
    config = {"explainer": {"removal": "pad"}, "seed": 1, "limit": 5, "output": "o"}
    keys = [run_key(_root_=OmegaConf.create(config | {"seed": seed})) for seed in (1, 2)]
    assert keys[0] == keys[1]
    assert re.fullmatch(r"limit=5-[0-9a-f]{8}", keys[0])


def test_runs_of_an_experiment_are_one_group() -> None:
    assert composed("explain", "experiment=demo", "logger=wandb").logger.wandb.group == "demo"
    assert composed("explain", "logger=wandb").logger.wandb.group == "planted_bert_tiny"


@pytest.mark.parametrize("name", choices("experiment"))
def test_experiments_compose(name: str) -> None:
    cfg = composed("explain", f"experiment={name}")
    assert cfg.dataset.name


def test_what_is_scored_under_several_removals_can_be() -> None:
    """Not the oracles, which are made for one."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", ["experiment=removals"], return_hydra_config=True)
    names = cfg.hydra.sweeper.params.explainer.split(",")
    assert {"gmask", "lime", "random"} <= {*names}
    for name in names:
        cfg = composed("explain", "experiment=removals", f"explainer={name}")
        assert instantiate(cfg.explainer)


@pytest.mark.parametrize("name", choices("hydra/launcher"))
def test_a_launcher_is_the_plugins_with_other_settings(name: str) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    launcher = composed("explain", f"hydra/launcher={name}").hydra.launcher
    theirs = composed("explain", f"hydra/launcher=submitit_{name}").hydra.launcher
    assert launcher._target_ == theirs._target_
    assert launcher.timeout_min > theirs.timeout_min


def test_a_full_disk_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    composed("explain")

    @user_facing
    def main() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x.parquet")

    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "the disk is full" in said
    assert "/tmp/x.parquet" in said
    assert "Traceback" not in said

    @user_facing
    def faulty() -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "/tmp/x.parquet")

    with pytest.raises(FileNotFoundError):
        faulty()
