"""Training keeps the weights that were best on the dev split, and goes on where it was."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import CONF, DAMAGE
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from safetensors.torch import load_file

from gmask_pl import files
from gmask_pl.identity.of_result import IDENTITY, Identity
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline import training as train_module
from gmask_pl.pipeline.build import plain
from gmask_pl.pipeline.checkpoint import LastState, SafeCheckpoints
from gmask_pl.pipeline.model_weights import check_training
from gmask_pl.pipeline.training import CRITERION, STATE, BestWeights, Training
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
    kept = load_file(keeper.folder / "model.safetensors")[name.removeprefix("network.")]
    assert kept.unique().tolist() == [1.0]


def configured(output: Path, model: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [f"model={model}", f"output={output}", *SMALL, *overrides])


def trained(output: Path, model: str, *overrides: str) -> dict[str, torch.Tensor]:
    cfg = configured(output, model, *overrides)
    Training(cfg, instantiate(cfg.dataset)).run()
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
    assert found["nested"][:3] == [None, True, "x"]
    assert found["nested"][4] == {"a": ()}
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
        assert began.wait(10)
        assert not goes.wait(0.3)
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
    first = Training(cfg, instantiate(cfg.dataset)).run()
    assert Training(cfg, instantiate(cfg.dataset)).run() == first
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


TINY = (
    *("dataset.train_size=80", "dataset.dev_size=20", "dataset.test_size=20"),
    *("model.net.embedding_size=8", "model.net.hidden_size=8"),
)


def killed(output: Path, epoch: int, *overrides: str) -> Path:
    """A training that was killed at the end of an epoch, before its state was written."""

    def failing(self: LastState, trainer: Trainer, pl_module: Any) -> None:
        if trainer.current_epoch == epoch:
            raise RuntimeError("killed")
        on_end(self, trainer, pl_module)

    on_end = LastState.on_train_epoch_end
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(LastState, "on_train_epoch_end", failing)
        trained(output, "dattn", *TINY, *overrides)
    return output


@pytest.mark.slow
def test_a_training_goes_on_whatever_became_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut, whole = killed(tmp_path / "cut", 1), trained(tmp_path / "whole", "dattn", *TINY)
    draft = next((cut / "models").glob(".*.training"))
    left = sorted(path.relative_to(cut) for path in draft.rglob("*") if path.is_file())
    kept = SafeCheckpoints().load_checkpoint(draft / STATE)["callbacks"]["BestWeights"]["kept"]
    assert {path.name for path in left} == {
        *("identity.json", "state.safetensors", "config.json", "model.safetensors", "vocab.json")
    }
    for number, path in enumerate(left):
        kinds = DAMAGE if path.name == STATE else {name: DAMAGE[name] for name in ("half", "gone")}
        for kind, damage in kinds.items():
            output = tmp_path / f"{number}-{kind.replace(' ', '-')}"
            shutil.copytree(cut, output)
            damage(output / path)
            capsys.readouterr()
            files._WARNED.clear()
            found = trained(output, "dattn", *TINY)
            out = capsys.readouterr().out
            assert all(torch.equal(found[name], whole[name]) for name in whole), (path, kind)
            read = path.name in (IDENTITY, STATE) or path.parent.name == kept
            assert ("is damaged" in out) == ((read and kind != "gone") or path.parent.name == kept)
            assert ("the training goes on" in out) != read
            mine = [one.read_text() for one in output.rglob("thesis.txt")]
            assert mine == ["mine"] * (kind == "a folder")


@pytest.mark.slow
def test_what_is_not_ours_stays_beside_new_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path, "dattn", *TINY)
    weights = tmp_path / "models" / "planted_dattn"
    (weights / "notes").mkdir()
    for own in (weights, weights / "notes"):
        (own / "thesis.txt").write_text("mine")
    (weights / "vocab.json").write_text("damaged")
    others = ("vocab.txt", "tokenizer.json", "chat_template.jinja")  # which other models have
    for name in others:
        (weights / name).write_text("mine")
    first = {path.name for path in weights.iterdir()}
    put = train_module.put_folder
    monkeypatch.setattr(train_module, "put_folder", lambda *_: 1 / 0)  # a kill as it is put there
    with pytest.raises(ZeroDivisionError):
        trained(tmp_path, "dattn", *TINY, "seed=1", "reuse=false")
    monkeypatch.setattr(train_module, "put_folder", put)
    assert {path.name for path in weights.iterdir()} == first
    (draft,) = (tmp_path / "models").glob(".*.training")
    for name in (".tmpAb3xY9", ".state.safetensors.12-ab.draft"):  # of a kill as it is written
        (draft / name).write_text("half")
    (draft / ".best-0.12-ab.draft").mkdir()
    found = trained(tmp_path, "dattn", *TINY, "seed=1", "reuse=false")
    assert "the training goes on" in capsys.readouterr().out
    assert {(weights / name).read_text() for name in others} == {"mine"}
    fresh = trained(tmp_path / "fresh", "dattn", *TINY, "seed=1")
    assert all(torch.equal(found[name], fresh[name]) for name in fresh)
    assert {path.name for path in weights.iterdir()} == first
    assert [path.read_text() for path in weights.rglob("thesis.txt")] == ["mine", "mine"]
    left = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert left == [".planted_dattn.lock", "planted_dattn"]
    modes = {path.stat().st_mode & 0o777 for path in weights.iterdir() if path.is_file()}
    assert len(modes) == 1


def test_a_folder_that_no_training_has_made_is_refused_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "fit", lambda *_, **__: pytest.fail("it trains"))
    (tmp_path / "thesis" / "data").mkdir(parents=True)
    (tmp_path / "thesis" / "data" / "thesis.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    (tmp_path / "file").write_text("mine")
    for name, message in {
        "thesis": "holds files that no training has made",
        "link": "holds files that no training has made",
        "file": "is a file where a folder is needed",
        "file/below": "is a file where a folder is needed",
    }.items():
        with pytest.raises(UserError, match=f"^weights_dir={tmp_path / name}.* {message}"):
            trained(tmp_path, "dattn", *TINY, f"weights_dir={tmp_path / name}")
    monkeypatch.setattr(Path, "is_mount", lambda self: self.name == "volume")
    with pytest.raises(UserError, match="is a mount"):
        trained(tmp_path, "dattn", *TINY, f"weights_dir={tmp_path / 'volume'}")
    assert (tmp_path / "thesis" / "data" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_weights_go_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    trained(tmp_path, "dattn", *TINY, f"weights_dir={tmp_path / 'link'}")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "model.safetensors").is_file()


@pytest.mark.slow
def test_weights_that_are_damaged_are_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained(tmp_path, "dattn", *TINY)
    weights = tmp_path / "models" / "planted_dattn"
    for name, kind in ((IDENTITY, "half"), ("training.json", "half"), ("vocab.json", "gone")):
        DAMAGE[kind](weights / name)
        files._WARNED.clear()
        again = trained(tmp_path, "dattn", *TINY)
        out = capsys.readouterr().out
        assert "is damaged" in out
        assert str(weights) in out
        assert all(torch.equal(again[name], whole[name]) for name in whole)


@pytest.mark.slow
def test_weights_that_are_others_now_are_neither_taken_nor_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may be somebody's own, whether they can be read or not."""
    loaded = trained(tmp_path, "dattn", *TINY)
    whole = {name: tensor.clone() for name, tensor in loaded.items()}  # not of the file itself
    file = tmp_path / "models" / "planted_dattn" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2000:] = bytes(2000)
    for others in (bytes(data), bytes(data[:-9])):
        file.write_bytes(others)
        for more in ((), ("seed=1",)):
            with pytest.raises(UserError, match=r"model\.safetensors changed .* reuse=false"):
                trained(tmp_path, "dattn", *TINY, *more)
        assert file.read_bytes() == others
    again = trained(tmp_path, "dattn", *TINY, "reuse=false")
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    capsys.readouterr()
    trained(tmp_path, "dattn", *TINY)
    assert "were there already" in capsys.readouterr().out


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EPERM])
def test_a_file_system_without_locks_is_told_and_worked_on(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", failing)
    done = []
    for _ in range(2):
        with alone(tmp_path / ".lock", processes=1):
            done.append(1)
    assert len(done) == 2
    assert capsys.readouterr().err.count("no lock is to be had there") == 1


def test_the_lock_of_somebody_else_is_waited_for_by_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    opened, tried = os.open, []

    def failing(path: Any, flags: int, *mode: int) -> int:
        tried.append(flags)
        if flags & os.O_RDWR or tried.count(os.O_RDONLY) > 1:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", failing)
    with alone(lock, processes=1):
        assert capsys.readouterr().err == ""
    with alone(lock, processes=1):  # not even to be read
        assert "no lock is to be had there" in capsys.readouterr().err
    (tmp_path / "folder").mkdir()
    with pytest.raises(ZeroDivisionError), alone(tmp_path / "folder", processes=1):
        raise ZeroDivisionError  # what the run itself raises comes through
