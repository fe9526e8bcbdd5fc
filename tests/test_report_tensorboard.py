"""What TensorBoard is given, read back from its files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_damage import run, weights  # noqa: F401  # a model and a run of its pairs
from test_report_media import EXPLANATION, LABELS, METRICS
from test_training import trained

from gmask_pl.pipeline import explaining as explain_module
from gmask_pl.pipeline.report import tensorboard_media as media
from gmask_pl.pipeline.report.logged import COLUMNS, scalars
from gmask_pl.pipeline.report.tensorboard_media import log_to_tensorboard, tensorboard_logger
from gmask_pl.types import UserError

UNSAFE = "a | <b>x</b> [y](javascript:z) `*_q_* \\ \x1b"


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    everything = {"scalars": 0, "images": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def points(found: Any, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in found.Scalars(name)]


def shown(found: Any, name: str) -> str:
    """The HTML that TensorBoard makes of a text."""
    from tensorboard.plugin_util import markdown_to_safe_html

    (event,) = found.Tensors(f"{name}/text_summary")
    html: str = markdown_to_safe_html(event.tensor_proto.string_val[0])
    return html


def test_a_run_holds_scalars_curves_settings_pictures_and_a_table(tmp_path: Path) -> None:
    explanations = [replace(EXPLANATION, labels=LABELS, id=f"{UNSAFE} {i}") for i in range(3)]
    page = tmp_path / "my_report.html"
    for value in (0.75, 0.25):  # the second takes the place of the first
        logger = tensorboard_logger(save_dir=str(tmp_path / "logs"))
        logger.log_hyperparams({"run": {"explainer": "gmask"}, "seed": 1})
        metrics = METRICS | {"aopc": METRICS["aopc"] | {"value": value}}
        log_to_tensorboard(logger, metrics, explanations, page, labels=LABELS, max_rows=2)
        logger.finalize("success")

    found = events(tmp_path / "logs")
    curves = {"curves/post_hoc_accuracy", "curves/morf", "curves/lerf"}
    assert set(found.Tags()["scalars"]) == {name for name, _ in scalars(METRICS)} | curves
    assert points(found, "aopc/value") == [(0, 0.25)]
    assert points(found, "curves/post_hoc_accuracy") == [(1, 0.25), (2, 0.75)]
    assert points(found, "curves/morf") == [(0, 1.0), (100, 0.0)]
    assert [event.step for event in found.Images("explanations")] == [0, 1]

    table = shown(found, "explanations")
    assert table.count("<tr>") == 3
    assert all(f"<th>{name}</th>" in table for name in COLUMNS)
    assert "<td>guitar banjo" not in table
    cells = re.findall("<td>(.*)</td>", table)
    assert len(cells) == 2 * len(COLUMNS)
    assert not re.search("<(?!/?t)", table), "markup of a text is shown as text"
    assert "my&#95;report&#46;html" in shown(found, "report")

    settings = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"run/explainer" in settings
    assert b"gmask" in settings


@pytest.mark.slow
def test_both_commands_log_to_it(
    weights: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    settings = ("logger=[tensorboard]", f"log_dir={tmp_path / 'logs'}")
    results = run(weights, tmp_path, *settings)
    found = events(tmp_path / "logs" / "tensorboard")
    assert points(found, "aopc/value") == [(0, pytest.approx(results["aopc"]["value"]))]
    assert len(found.Images("explanations")) == 1  # report.max_pairs
    trained(tmp_path / "trained", "dattn", *settings[:1], f"log_dir={tmp_path / 'train'}")
    found = events(tmp_path / "train" / "tensorboard")
    assert len(points(found, "dev/accuracy")) >= 2


def test_what_is_not_installed_is_told_before_the_work(
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(media, "find_spec", lambda name: None)
    monkeypatch.setattr(explain_module, "explain_pairs", lambda *_, **__: pytest.fail("works"))
    with pytest.raises(UserError, match=r"^logger=tensorboard needs .*pip install tensorboard"):
        run(weights, tmp_path, "logger=[tensorboard]")
