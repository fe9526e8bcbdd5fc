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
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from safetensors.torch import load_file

from gmask_pl.engine.checkpoint import SafeCheckpoints
from gmask_pl.engine.session import plain
from gmask_pl.engine.train import CRITERION, BestWeights, train
from gmask_pl.engine.weights import check_training
from gmask_pl.identity.of_result import Identity
from gmask_pl.models.base import PairClassifier
from gmask_pl.processes import alone
from gmask_pl.types import UserError

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
    assert sorted(left) == [f".planted_{model}.lock", f"planted_{model}"]


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


def test_one_run_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "new" / ".lock"
    began, goes = threading.Event(), threading.Event()

    def another() -> None:
        began.set()
        with alone(lock, processes=1):
            goes.set()

    thread = threading.Thread(target=another)
    with alone(lock, processes=1):
        thread.start()
        assert began.wait(10) and not goes.wait(0.3)
        with alone(lock, processes=2):
            pass  # these do it together
    thread.join()
    assert goes.is_set()


@pytest.mark.slow
def test_a_training_that_is_complete_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command again trains nothing; other settings, or reuse=false, do."""
    fitted = []
    monkeypatch.setattr(Trainer, "fit", _counted(Trainer.fit, fitted))
    cfg = configured(tmp_path, "dattn")
    first = train(cfg, instantiate(cfg.dataset))
    assert train(cfg, instantiate(cfg.dataset)) == first
    assert "were there already" in capsys.readouterr().out
    assert len(fitted) == 1
    trained(tmp_path, "dattn", "reuse=false")
    trained(tmp_path, "dattn", "seed=1")
    assert len(fitted) == 3


def _counted(call: Any, calls: list[Any]) -> Any:
    def counted(*args: Any, **named: Any) -> Any:
        calls.append(call)
        return call(*args, **named)

    return counted


def test_weights_are_not_taken_for_those_of_other_settings(tmp_path: Path) -> None:
    """What is asked for must be what the weights were made with; what nobody names may differ."""
    trained = configured(tmp_path, "bert_tiny", "model.fit.max_epochs=7")
    Identity(plain(trained), {}, "").write(tmp_path)
    cfg = configured(tmp_path, "bert_tiny", "model.net.layers=2", "model.fit.batch_size=64")
    check_training(cfg, tmp_path, ["model=bert_tiny", "seed=4", "model.removal=mask"])
    check_training(cfg, tmp_path, ["++model.net.layers=2"])
    check_training(cfg, tmp_path / "elsewhere", ["model.fit.batch_size=64"])
    with pytest.raises(UserError, match="batch_size=64, but .* was trained with 40"):
        check_training(cfg, tmp_path, ["model.net.layers=2", "model.fit.batch_size=64"])
