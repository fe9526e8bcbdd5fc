"""Training keeps the weights that were best on the dev split, and goes on where it was."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import CONF
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from gmask_pl.engine.checkpoint import SafeCheckpoints
from gmask_pl.engine.train import CRITERION, BestWeights, train
from gmask_pl.engine.weights import alone
from gmask_pl.models.base import PairClassifier

SMALL = (
    *("dataset.train_size=200", "dataset.dev_size=40", "dataset.test_size=40"),
    *("model.fit.batch_size=40", "model.fit.max_epochs=3", "logger=[]", "log_dir=logs"),
    *("run_name=x", "+trainer.enable_progress_bar=false"),
)


def test_the_best_weights_are_kept_not_the_last(classifier: PairClassifier, tmp_path: Path) -> None:
    keeper = BestWeights(tmp_path)
    parameter = next(p for name, p in classifier.named_parameters() if "classif" in name)
    name = next(n for n, p in classifier.named_parameters() if p is parameter)
    for epoch, accuracy in enumerate((0.5, 0.7, 0.7, 0.6)):
        with torch.no_grad():
            parameter.fill_(float(epoch))
        trainer: Any = SimpleNamespace(
            callback_metrics={CRITERION: torch.tensor(accuracy)},
            sanity_checking=False,
            is_global_zero=True,
        )
        keeper.on_validation_end(trainer, classifier)
    kept = load_file(tmp_path / "model.safetensors")[name.removeprefix("network.")]
    assert kept.unique().tolist() == [1.0]


def configured(output: Path, model: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [f"model={model}", f"output={output}", *SMALL, *overrides])


def trained(output: Path, model: str, *overrides: str) -> dict[str, torch.Tensor]:
    cfg = configured(output, model, *overrides)
    train(cfg, instantiate(cfg.dataset))
    return load_file(Path(cfg.weights_dir) / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dattn", "bert_tiny"])
def test_a_training_that_was_cut_off_ends_as_if_it_was_not(
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = trained(tmp_path / "whole", model)
    step, steps = PairClassifier.training_step, []

    def failing(self: PairClassifier, batch: Any, batch_idx: int) -> Any:
        steps.append((self.current_epoch, batch_idx))
        if steps[-1] == (2, 1):
            raise RuntimeError("killed")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PairClassifier, "training_step", failing)
    with pytest.raises(RuntimeError, match="killed"):
        trained(tmp_path / "cut", model)
    monkeypatch.setattr(PairClassifier, "training_step", step)
    assert not (tmp_path / "cut" / "models" / f"planted_{model}").exists()
    assert "the training goes on" not in capsys.readouterr().out
    found = trained(tmp_path / "cut", model)
    assert "the training goes on" in capsys.readouterr().out
    assert found.keys() == whole.keys()
    for name, weights in whole.items():
        assert torch.equal(found[name], weights), name
    left = [path.name for path in (tmp_path / "cut" / "models").iterdir()]
    assert left == [f"planted_{model}"]


@pytest.mark.slow
def test_another_training_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(self: BestWeights, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("killed")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        patched.setattr(BestWeights, "on_validation_end", failing)
        trained(tmp_path / "cut", "dattn")
    capsys.readouterr()
    other = trained(tmp_path / "cut", "dattn", "seed=1")
    assert "of other setting seed was interrupted there: begun anew" in capsys.readouterr().out
    fresh = trained(tmp_path / "fresh", "dattn", "seed=1")
    assert all(torch.equal(other[name], fresh[name]) for name in fresh)


def test_a_checkpoint_comes_back_without_a_pickle(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "epoch": 3,
        "loss": float("inf"),
        "optimizer": {0: {"step": torch.tensor(5), "betas": (0.9, 0.999)}, 1: {}},
        "nested": [None, True, "x", [shared, shared[2:4]], {"a": ()}],
    }
    checkpoints, path = SafeCheckpoints(), tmp_path / "state"
    checkpoints.save_checkpoint({"old": 1}, path)
    checkpoints.save_checkpoint(state, path)
    found = checkpoints.load_checkpoint(path)
    assert found["optimizer"][0]["betas"] == (0.9, 0.999)
    assert found["optimizer"][0]["step"].item() == 5
    assert found["optimizer"][1] == {}
    assert found["nested"][:3] == [None, True, "x"] and found["nested"][4] == {"a": ()}
    assert torch.equal(found["nested"][3][1], torch.tensor([2.0, 3.0]))
    assert (found["epoch"], found["loss"]) == (3, float("inf"))
    assert load_file(path).keys() == {"0", "1", "2"}  # safetensors, and nothing beside it
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(TypeError, match="Path"):
        checkpoints.save_checkpoint({"path": path}, path)
    assert checkpoints.load_checkpoint(path)["epoch"] == 3
    checkpoints.remove_checkpoint(path)
    assert not path.exists()


def test_one_run_trains_and_the_others_wait_for_its_weights(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"trainer": {"devices": 1}})
    began, trains = threading.Event(), threading.Event()

    def another() -> None:
        began.set()
        with alone(cfg, tmp_path / "model"):
            trains.set()

    thread = threading.Thread(target=another)
    with alone(cfg, tmp_path / "model"):
        thread.start()
        assert began.wait(10) and not trains.wait(0.3)
        (tmp_path / "model").mkdir()
    thread.join()
    assert trains.is_set()
    with alone(cfg, tmp_path / "model"), alone(cfg, tmp_path / "model"):
        pass  # there are weights: nobody waits
