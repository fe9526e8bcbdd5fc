"""The dashboard as code: made without a network, of names that a run really logs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import CONF
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from test_report_media import records

from gmask_pl.commands import dashboard as command
from gmask_pl.commands.dashboard import build
from gmask_pl.data.planted import Planted
from gmask_pl.metrics.presentation import presentation
from gmask_pl.pipeline.explaining import explain
from gmask_pl.pipeline.hydra_setup import choices
from gmask_pl.pipeline.report import dashboard
from gmask_pl.types import Highlight, PairExample, UserError

METRICS = choices("metric")
MARKED = Highlight(frozenset({0}), frozenset({1}))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Logged in nowhere, in a folder of its own."""
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()


def specification(*arguments: str) -> dict[str, Any]:
    """What a command writes, where nothing can be reached."""

    def unreachable(*_: object) -> None:
        pytest.fail("it asks the network")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, unreachable)
        (place,) = build(["entity=me", "out=board.json", *arguments])
    found: dict[str, Any] = json.loads(Path(place).read_text("utf-8"))
    return found


def panels(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "viewType" in node:
            yield node
        for value in node.values():
            yield from panels(value)
    elif isinstance(node, list):
        for value in node:
            yield from panels(value)


def constants(node: Any) -> Iterator[str]:
    """The texts that a query names, such as the key of a table."""
    if isinstance(node, dict):
        if node.get("nodeType") == "const" and node.get("type") == "string":
            yield node["val"]
        for value in node.values():
            yield from constants(value)


def logged_names(found: dict[str, Any]) -> set[str]:
    """Every name of something logged that a specification holds."""
    names: set[str] = set()
    for panel in panels(found):
        config = panel["config"]
        axes = (config.get(key) for key in ("xAxis", "yAxis"))
        names |= {axis.removeprefix("summary:") for axis in axes if axis is not None}
        names |= {*config.get("metrics", ()), *config.get("mediaKeys", ())}
        names |= set(constants(config))
    columns = found["workspace"]["spec"]["section"]["runSets"][0]["runFeed"]["columnOrder"]
    return names | {c.removeprefix("summary:") for c in columns if c.startswith("summary:")}


class Known(Planted):
    """Planted pairs of which everything is known that metrics ask for."""

    def load(self, split: str) -> Sequence[PairExample]:
        return [
            replace(pair, highlights=(MARKED,), alignments=frozenset({(0, 0)}))
            for pair in super().load(split)
        ]


def logged_run(settings: list[str], folder: Path) -> None:
    import wandb

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", settings)
    try:
        explain(cfg, folder, "gmask")
    finally:
        wandb.teardown()  # waits until everything is on disk


@pytest.mark.slow
def test_every_name_is_logged_by_a_run(tmp_path: Path) -> None:
    """Of a model that has learnt something: else some metrics have no value."""
    settings = [
        *("dataset.train_size=600", "dataset.dev_size=30", "dataset.test_size=20", "model=dattn"),
        *("model.net.embedding_size=32", "model.net.hidden_size=32", "model.net.lr=0.01"),
        *("model.fit.max_epochs=8", "model.fit.batch_size=16"),
        *(f"dataset._target_={__name__}.Known", f"metric=[{','.join(METRICS)}]"),
        *("explainer=gmask", "explainer.k=4", "metric.naopc.beam=1", "output=outputs"),
        *("logger=[wandb]", "logger.wandb.group=x", "log_dir=logs", "run_name=x"),
    ]
    # W&B starts no second time in a process where it was torn down.
    process = get_context("spawn").Process(target=logged_run, args=(settings, tmp_path / "run"))
    process.start()
    process.join(600)
    assert process.exitcode == 0

    (log,) = (tmp_path / "logs").rglob("*.wandb")
    logged, config = set(), {}
    for record in records(log):
        for item in record.history.item:
            logged.add("/".join(item.nested_key) or item.key)
        for item in (*record.run.config.update, *record.config.update):
            config[item.key] = json.loads(item.value_json)
    for media in ("explanations", "report"):  # which are logged as what they consist of
        assert any(name.startswith(f"{media}/") for name in logged)
        logged.add(media)

    found = specification(f"metric=[{','.join(METRICS)}]", "experiment=table2")
    names = logged_names(found)
    assert names <= logged, f"no run logs {sorted(names - logged)}"
    every = {f"{metric}/{part}" for metric in METRICS for part in ("value", "low", "high")}
    curves = {"curves/morf", "curves/lerf", "curves/post_hoc_accuracy"}
    costs = {"cost/evaluations_per_pair", "cost/seconds_per_pair"}
    assert every | curves | costs | {"explanations", "report"} <= names
    assert {f"run.{key}" for key in config["run"]} >= set(dashboard.GROUPED_BY)


def test_a_metric_is_shown_as_it_says_of_itself() -> None:
    found = list(panels(specification()["workspace"]))
    for metric in METRICS:
        (bar,) = (p["config"] for p in found if p["config"].get("metrics") == [f"{metric}/value"])
        told = presentation(metric)
        assert bar["xAxisTitle"] == told.hint
        assert bar["chartTitle"] == told.title or metric
    (line,) = (p["config"] for p in found if "curves/morf" in p["config"].get("metrics", ()))
    assert line["metrics"] == ["curves/morf", "curves/lerf"]
    assert line["xAxis"] == "percent_removed"


def sections(found: dict[str, Any]) -> dict[str, tuple[bool, int]]:
    bank = found["workspace"]["spec"]["section"]["panelBankConfig"]
    return {one["name"]: (one["isOpen"], len(one["panels"])) for one in bank["sections"]}


def test_what_was_not_chosen_stands_in_a_closed_section() -> None:
    named = sections(specification("metric=[aopc]"))
    assert list(named) == ["Scores", "Cost and quality", "Explanations", "Further metrics"]
    assert named["Scores"] == (True, 2)
    assert named["Cost and quality"] == (True, 4)
    assert not named["Further metrics"][0]
    of_degradation = "gmask_pl.metrics.faithfulness.degradation.Degradation"
    own = specification("metric=[]", f"+metric.finer._target_={of_degradation}")
    assert {"finer/value", "curves/finer_morf"} <= logged_names(own)


def test_an_experiment_has_its_runs_alone_and_a_report() -> None:
    assert "report" not in specification()
    found = specification("experiment=table2")
    (runs,) = found["workspace"]["spec"]["section"]["runSets"]
    group = {"key": {"section": "run", "name": "group"}, "op": "=", "value": "table2"}
    assert [{k: f[k] for k in group} for f in runs["filters"]["filters"]] == [group]
    assert [key["name"] for key in runs["grouping"]] == [
        key.replace("run.", "run.value.") for key in dashboard.GROUPED_BY
    ]
    report = found["report"]
    assert report["displayName"] == "table2"
    grids = [b["metadata"] for b in report["spec"]["blocks"] if b["type"] == "panel-grid"]
    assert len(grids) == len([b for b in report["spec"]["blocks"] if b["type"] == "heading"])
    for grid in grids:
        (own,) = grid["runSets"]
        assert own["grouping"] == runs["grouping"]
        values = [one["value"] for one in own["filters"]["filters"]]
        assert values == ["table2", "finished"]
    assert "aopc/value" in logged_names(found)
    assert "naopc/value" in logged_names(found)  # the experiment's metrics


def test_the_library_reads_what_is_written_and_it_is_the_same_each_time() -> None:
    from wandb_workspaces.reports.v2.internal import ReportViewspec
    from wandb_workspaces.workspaces.internal import WorkspaceViewspec

    found = specification("experiment=table2")
    assert found == specification("experiment=table2")
    WorkspaceViewspec.model_validate(found["workspace"]["spec"])
    ReportViewspec.model_validate(found["report"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["out=x.json"], r"entity=null: name the user .* entity=NAME"),
        (["entity=me"], r"out=null: name a file, .* or send it by save=true"),
        (["entity=me", "out=x.json", "limit=5"], r"limit=5: .* it takes entity, project, out"),
        (["entity=me", "out=x.json", "save=maybe"], r"save=maybe"),
        (["entity=me", "save=true"], r"nobody is logged in .*`wandb login`, or .* out=FILE"),
        (["entity=me", "out=."], "this is a folder: give another name"),
    ],
)
def test_a_mistake_is_told_with_the_way_out(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(arguments)


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install wandb-workspaces"):
        build(["entity=me", "out=x.json"])


class Refused(Exception):
    __module__ = "wandb.errors.errors"


def test_it_is_saved_where_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def save(board: Any) -> SimpleNamespace:
        sent.append(board)
        return SimpleNamespace(url=f"https://wandb.test/{len(sent)}")

    monkeypatch.setattr(dashboard.wandb, "login", lambda **_: True)
    monkeypatch.setattr(dashboard.ws.Workspace, "save", save)
    monkeypatch.setattr(dashboard.wr.Report, "save", save)
    places = build(["entity=me", "project=mine", "save=true", "experiment=table2"])
    assert places == ["https://wandb.test/1", "https://wandb.test/2"]
    workspace, report = sent
    assert (workspace.entity, workspace.project) == ("me", "mine")
    runs = [runs for block in report.blocks for runs in getattr(block, "runsets", ())]
    assert runs
    assert {(one.entity, one.project) for one in runs} == {("me", "mine")}

    def refuse(board: Any) -> None:
        raise Refused("no such\n entity")

    monkeypatch.setattr(dashboard.ws.Workspace, "save", refuse)
    with pytest.raises(UserError, match=r"\(no such entity\)\. entity=me project=gmask: .*out="):
        build(["entity=me", "save=true"])
