"""Loggers are tried before the work, and told later where they were out of reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loggers import CSVLogger
from test_damage import run, weights  # noqa: F401  # a model and a run of its pairs

from gmask_pl.pipeline import build as session
from gmask_pl.pipeline import explaining as explain_module
from gmask_pl.pipeline.report import wandb_media as media
from gmask_pl.types import UserError

WANDB = (
    "logger=[wandb]",
    "logger.wandb.group=x",
)


class OutOfReach(Exception):
    __module__ = "wandb.errors.errors"


def unreachable(*_: Any, **__: Any) -> None:
    raise OutOfReach("Failed to authenticate:\n no route to host")


@pytest.fixture
def wandb_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """W&B as a logger of files, and what it was told."""
    told: list[str] = []
    monkeypatch.setattr(session, "check_wandb", lambda: None)

    def logger(**settings: Any) -> CSVLogger:
        told.append(settings["name"])
        return CSVLogger(tmp_path / "logs")

    monkeypatch.setattr(media, "wandb_logger", logger)
    return told


def test_a_logger_out_of_reach_is_told_before_the_work(
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "check_wandb", unreachable)
    monkeypatch.setattr(explain_module, "explain_pairs", lambda *_, **__: pytest.fail("works"))
    with pytest.raises(UserError, match=r"^logger=wandb cannot be reached .*no route"):
        run(weights, tmp_path, *WANDB)


def test_results_are_logged_later_and_once(
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wandb_told: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "explain" / "it" / "iba" / "run"
    with monkeypatch.context() as patch:
        patch.setattr(media, "wandb_logger", unreachable)
        for _ in range(2):
            with pytest.raises(UserError, match="were not logged: logger=wandb cannot be reached"):
                run(weights, tmp_path, *WANDB)
            assert json.loads((folder / "logged.json").read_text()) == []
    for _ in range(2):
        run(weights, tmp_path, *WANDB)
        assert "these results were there already" in capsys.readouterr().out
        assert json.loads((folder / "logged.json").read_text()) == ["wandb"]
        assert len(wandb_told) == 1
    assert "aopc/value" in next((tmp_path / "logs").rglob("metrics.csv")).read_text()
    (folder / "logged.json").write_text("[")
    run(weights, tmp_path, *WANDB)
    assert len(wandb_told) == 2
    (folder / "logged.json").unlink()  # of an earlier version, which told all
    run(weights, tmp_path, *WANDB)
    assert len(wandb_told) == 2
    run(weights, tmp_path, *WANDB, "reuse=false")
    assert len(wandb_told) == 3


def test_the_login_is_not_tried_where_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    tried: list[int] = []
    monkeypatch.setattr(wandb, "login", lambda **_: tried.append(1))
    for mode in ("offline", "disabled"):
        monkeypatch.setenv("WANDB_MODE", mode)
        media.check_wandb()
    assert tried == []
    monkeypatch.setenv("WANDB_MODE", "online")
    media.check_wandb()
    monkeypatch.delenv("WANDB_MODE")
    media.check_wandb()
    assert tried == [1, 1]
