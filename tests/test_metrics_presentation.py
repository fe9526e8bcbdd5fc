"""What a metric says of itself, and who is believed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gmask_pl.identity import parts
from gmask_pl.metrics import presentation as presentations
from gmask_pl.metrics.pair_metric import ModelFreeMetric, PairMetric
from gmask_pl.metrics.presentation import UNKNOWN, metric_class, presentation, presented
from gmask_pl.pipeline.hydra_setup import choices
from gmask_pl.pipeline.report.console_table import format_table


@pytest.mark.parametrize("name", choices("metric"))
def test_every_metric_says_what_it_is(name: str) -> None:
    kind = metric_class(name)
    assert kind is not None
    assert issubclass(kind, PairMetric | ModelFreeMetric)
    told = kind.presentation
    assert told.meaning
    assert told.unit
    low, high = told.range
    assert low is None or high is None or low < high


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty ``conf/``, where a test declares metrics."""
    (tmp_path / "metric").mkdir()
    monkeypatch.setattr(parts, "CONF", tmp_path)
    caches = parts.kinds.cache_clear, presentations.presentation.cache_clear
    for clear in caches:
        clear()
    yield tmp_path / "metric"
    for clear in caches:
        clear()


def test_a_class_that_no_file_declares_is_not_imported(conf: Path) -> None:
    """A run may come from somebody else; ``antigravity`` opens a browser."""
    for kind in ("antigravity.Metric", "../../aopc", "aopc"):
        assert metric_class(kind) is None
        assert presentation(kind) is UNKNOWN
    assert "antigravity" not in sys.modules
    results = {"mine": {"value": 0.5, "low": 0.25, "high": 0.75, "kind": "antigravity.Metric"}}
    head, _, row = format_table([("run", results)]).splitlines()
    assert head.split()[2] == "mine"
    assert row.split()[2:5] == ["0.500", "[0.250,", "0.750]"]
    assert "antigravity" not in sys.modules


def test_a_declared_class_that_cannot_be_imported_costs_no_table(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (conf / "half.yaml").write_text(
        "# @package metric.half\n_target_: gmask_pl.metrics.half.Half\n"
    )
    assert "0.500" in format_table([("run", {"half": {"value": 0.5}})])
    assert "conf/metric/half.yaml: its class cannot be imported" in capsys.readouterr().err


def test_two_metrics_of_one_class_are_told_apart() -> None:
    curve = {"percent": [0, 100], "morf": [1.0, 0.0], "lerf": [1.0, 0.0]}
    results = {
        "finer": {"value": 1.5, "kind": "degradation", **curve},
        "degradation": {"value": 1.0, "kind": "degradation", **curve},
        "aopc": {"value": 0.5},  # of an earlier run
    }
    found = presented(results)
    assert [(name, told.title) for name, _, told in found] == [
        ("aopc", "AOPC"),
        ("finer", ""),
        ("degradation", "Degradation"),
    ]
    curves = [[c.name for c in told.plot.curves] for _, _, told in found if told.plot]
    assert curves == [["finer_morf", "finer_lerf"], ["morf", "lerf"]]
    assert format_table([("run", results)]).split()[:12].count("degradation") == 1


def test_the_names_come_without_hydra_wandb_or_matplotlib() -> None:
    code = (
        "import sys; import gmask_pl as own; "
        "names = [name for name, room in own._MODULES.items() if room.startswith('metrics.')]; "
        "assert {'AOPC', 'PairMetric'} < set(names); "
        "[getattr(own, name) for name in names if name != 'ExplanationMetric']; "
        "found = {'hydra', 'wandb', 'matplotlib'} & set(sys.modules); assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
