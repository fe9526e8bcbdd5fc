"""What Weights & Biases is given, read back from an offline run."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gmask_pl.explanation import Explanation
from gmask_pl.pipeline.report.logged import COLUMNS, explanation_row, scalars
from gmask_pl.pipeline.report.wandb_media import log_to_wandb, wandb_logger
from gmask_pl.types import Groups

LABELS = ("same", "different")
EXPLANATION = Explanation(
    id="pair-1",
    words1=("a", "guitar"),
    words2=("<b>", "banjo"),
    label=None,
    prediction=1,
    probabilities=(0.25, 0.75),
    scores=(0.0, 0.5, -1.0, 1.0),
    groups=Groups((1, 3, 0), ((0.9, 0.1), (0.8, 0.2), (0.3, 0.7)), (0.75, 0.25)),
    evaluations=8,
    gradients=0,
    seconds=0.5,
)
METRICS: dict[str, Any] = {
    "aopc": {"value": 0.25, "low": None, "n": 4},
    "post_hoc_accuracy": {"value": 0.5, "by_v": [0.25, 0.75]},
    "degradation": {
        "value": math.nan,
        "meaningful": False,
        "percent": [0, 100],
        "morf": [1.0, 0.0],
        "lerf": [1.0, 0.0],
    },
}


def test_scalars_are_flat_and_finite() -> None:
    assert dict(scalars(METRICS)) == {
        "aopc/value": 0.25,
        "aopc/n": 4,
        "post_hoc_accuracy/value": 0.5,
        "post_hoc_accuracy/v1": 0.25,
        "post_hoc_accuracy/v2": 0.75,
        "degradation/meaningful": 0.0,
    }


def test_scalars_carry_intervals_and_every_breakdown() -> None:
    part = {"value": 0.5, "low": None, "high": 0.75}
    nested = {
        "post_hoc_accuracy": {"by_v": [0.5, 1], "low_by_v": [0.25, None], "high_by_v": [0.75, 1]},
        "sufficiency": {"value": 0.5, "meaning": "text", "by_fraction": {"0.05": part}},
        "by_removal": {"mask": {"aopc": {"value": 0.125}}},
    }
    assert dict(scalars(nested)) == {
        "post_hoc_accuracy/v1": 0.5,
        "post_hoc_accuracy/v2": 1,
        "post_hoc_accuracy/v1_low": 0.25,
        "post_hoc_accuracy/v1_high": 0.75,
        "post_hoc_accuracy/v2_high": 1,
        "sufficiency/value": 0.5,
        "sufficiency/by_fraction/0.05/value": 0.5,
        "sufficiency/by_fraction/0.05/high": 0.75,
        "by_removal/mask/aopc/value": 0.125,
    }


def test_a_row_is_plain_text() -> None:
    row = dict(zip(COLUMNS, explanation_row(EXPLANATION, LABELS), strict=True))
    assert row["text 2"] == "<b> banjo"
    assert (row["predicted"], row["probability"], row["gold"]) == ("different", 0.75, None)
    assert row["top words"] == "banjo, guitar"  # the others do not count
    assert row["groups"] == "G1 0.75: guitar banjo | G2 0.25: a"


def records(path: Path) -> Iterator[Any]:
    """Records of an offline run: a 7-byte header, then a LevelDB log in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            parts = b""
            yield record


def logged_points(log: Path, x: str, y: str) -> list[tuple[float, float]]:
    rows = (
        {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        for record in records(log)
    )
    return [(json.loads(row[x]), json.loads(row[y])) for row in rows if y in row]


@pytest.mark.slow
def test_an_offline_run_holds_scalars_table_curves_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")

    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", os.devnull)  # logged in nowhere
    monkeypatch.setenv("WANDB_SILENT", "true")
    page = tmp_path / "report.html"
    page.write_text("<!DOCTYPE html><title>the page</title>", encoding="utf-8")
    logger = wandb_logger(save_dir=str(tmp_path), project="test", group="table2", name="gmask")
    folder = Path(logger.experiment.dir).parent
    explanations = iter([EXPLANATION] * 3)
    try:
        log_to_wandb(logger, METRICS, explanations, page, labels=LABELS, max_rows=2)
    finally:
        wandb.teardown()  # waits until everything is on disk, as finish() does not

    (log,) = folder.glob("*.wandb")
    logged = {
        "/".join(item.nested_key): json.loads(item.value_json)
        for record in records(log)
        for item in record.history.item
    }
    assert logged["aopc/value"] == 0.25
    assert logged["post_hoc_accuracy/v2"] == 0.75
    assert "degradation/value" not in logged
    assert "aopc/low" not in logged
    assert logged["explanations/nrows"] == 2
    assert logged["explanations/ncols"] == len(COLUMNS)
    stored = folder / "files" / logged["report/path"]
    assert stored.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    assert logged_points(log, "words_kept", "curves/post_hoc_accuracy") == [(1, 0.25), (2, 0.75)]
    assert logged_points(log, "percent_removed", "curves/morf") == [(0, 1.0), (100, 0.0)]
    assert logged_points(log, "percent_removed", "curves/lerf") == [(0, 1.0), (100, 0.0)]
