"""Whatever becomes of a file of an interrupted run, the run goes on and ends as if nothing was."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from conftest import CONF, DAMAGE
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pytorch_lightning import Trainer

from gmask_pl import files
from gmask_pl import suitability as trust
from gmask_pl.loops import EVALUATIONS, ExplainLoop
from gmask_pl.pipeline import explaining, stages
from gmask_pl.pipeline.build import fresh_classifier
from gmask_pl.pipeline.explaining import explain
from gmask_pl.pipeline.hydra_setup import register
from gmask_pl.pipeline.progress import Progress
from gmask_pl.types import UserError

register()
SMALL = (
    *("dataset.train_size=40", "dataset.dev_size=6", "dataset.test_size=6", "model=dattn"),
    *("model.net.embedding_size=8", "model.net.hidden_size=8", "explainer=iba"),
    *("explainer.tokens=50", "explainer.steps=2", "metric=[aopc,naopc]", "batch_size=2"),
    *("metric.aopc.resamples=10", "metric.naopc.resamples=10", "report.max_pairs=1"),
    *("metric.naopc.exact_words=3", "metric.naopc.beam=1", "metric.naopc.max_removed=2"),
    *("logger=[]", "log_dir=logs", "run_name=x"),
)


def run(weights: Path, output: Path, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given = [f"weights={weights}", f"output={output}", *SMALL, *overrides]
        cfg = compose("explain", given)
    return explain(cfg, output / "explain" / "it" / "iba" / "run", "iba")


def told(output: Path) -> tuple[Any, ...]:
    """All that a run leaves of numbers, but for the seconds that it took."""
    folder = output / "explain" / "it" / "iba" / "run"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    del metrics["cost"]["seconds_per_pair"], metrics["preparation"]
    del metrics["scoring"]["evaluations_per_pair"]  # bounds that are known need none
    explanations = pq.read_table(folder / "explanations.parquet").drop_columns(["seconds"])
    scores = pq.read_table(folder / "pair_scores.parquet").to_pylist()
    counted = [row for row in scores if row["metric"] != EVALUATIONS]
    return metrics, explanations.to_pylist(), counted


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "model"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", list(SMALL))
    torch.manual_seed(0)
    model = fresh_classifier(cfg, instantiate(cfg.dataset))
    for weight in model.parameters():  # so that it has opinions
        weight.data.mul_(4.0)
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def whole(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    output = tmp_path_factory.mktemp("whole")
    run(weights, output)
    return output


def cut(weights: Path, output: Path, step: str) -> Path:
    """A run that was killed after the first of three batches of a step."""
    keep = Progress.keep

    def failing(self: Progress[Any], batch: int, *found: Any) -> None:
        if (self.done, batch) == (step, 1):
            raise RuntimeError("killed")
        keep(self, batch, *found)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(Progress, "keep", failing)
        patch.setattr(trust, "_known", {})
        run(weights, output)
    return output


@pytest.fixture(scope="module")
def interrupted(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    steps = ("explained", "scored")
    return {step: cut(weights, tmp_path_factory.mktemp(step), step) for step in steps}


RUN = "explain/it/iba/run"
# By the step that is interrupted: what it leaves, and whether a damaged one is named.
LEFT = {
    ("scored", f"{RUN}/.lock"): False,
    ("scored", "explanations/.*.lock"): False,
    ("scored", "explanations/*/identity.json"): False,
    ("scored", "explanations/*/preparation.json"): True,
    ("scored", "explanations/*/explanations.parquet"): True,
    ("scored", f"{RUN}/unfinished-*/identity.json"): False,
    ("scored", f"{RUN}/unfinished-*/scored-0000000-0000.parquet"): True,
    ("scored", "bounds/*.jsonl"): True,
    ("scored", "checks/*.json"): False,  # a cache, as the next ones: the model is tried again
    ("explained", "explanations/*/explained-0000000-0000.parquet"): True,
    ("explained", "explainers/*/iba/*/facts.json"): True,
    ("explained", "explainers/*/iba/*/settings.json"): True,
    ("explained", "explainers/*/iba/*/weights.safetensors"): True,
}


def test_every_file_of_an_interrupted_run_is_tried(interrupted: dict[str, Path]) -> None:
    tried = {path for step, pattern in LEFT for path in interrupted[step].glob(pattern)}
    assert len(tried) == len(LEFT)
    left = {path for output in interrupted.values() for path in output.rglob("*") if path.is_file()}
    assert {path.name for path in left} == {path.name for path in tried}


@pytest.mark.slow
@pytest.mark.parametrize(("step", "pattern"), LEFT)
def test_a_run_goes_on_whatever_became_of_a_file(
    step: str,
    pattern: str,
    weights: Path,
    whole: Path,
    interrupted: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = told(whole)
    for kind, damage in DAMAGE.items():
        output = tmp_path / kind.replace(" ", "-")
        shutil.copytree(interrupted[step], output)
        (file,) = output.glob(pattern)
        damage(file)
        capsys.readouterr()
        files._WARNED.clear()
        if "checks" in pattern:
            trust._known.clear()
        run(weights, output)
        assert told(output) == expected, kind
        said = "".join(capsys.readouterr())
        if LEFT[step, pattern] and kind in ("half", "garbage", "a folder"):
            named = {str(file), str(file.parent)}
            assert any(f"{name} is damaged" in said or f"{name}, line" in said for name in named)
        mine = [path.read_text() for path in output.rglob("thesis.txt")]
        assert mine == ["mine"] * (kind == "a folder"), kind


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["metrics.json", "explanations.parquet", "pair_scores.parquet", "identity.json"]
)
def test_results_of_which_a_file_is_damaged_are_made_again(
    name: str, weights: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = told(whole)
    for kind in ("half", "garbage", "a folder"):
        output = tmp_path / kind.replace(" ", "-")
        shutil.copytree(whole, output)
        (file,) = output.glob(f"explain/it/iba/run/{name}")
        DAMAGE[kind](file)
        capsys.readouterr()
        files._WARNED.clear()
        run(weights, output)
        out = capsys.readouterr().out
        assert "were there already" not in out
        assert name in out or kind == "a folder"
        assert told(output) == expected
        run(weights, output)
        assert "these results were there already" in capsys.readouterr().out, kind


def test_damaged_settings_of_results_are_written_anew(
    weights: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, tmp_path / "own")
    (config,) = (tmp_path / "own").rglob("config.yaml")
    text = config.read_text("utf-8")
    DAMAGE["half"](config)
    run(weights, tmp_path / "own")
    assert "these results were there already" in capsys.readouterr().out
    assert config.read_text("utf-8") == text.replace(str(whole), str(tmp_path / "own"))


def refused(*_: Any, **__: Any) -> None:
    raise AssertionError("computed again")


def test_a_new_report_asks_and_scores_nothing(
    weights: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are explanations needed that lie elsewhere than in the folder of the run."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "explanations")
    folder = tmp_path / "explain" / "it" / "iba" / "run"
    results, page = folder / "metrics.json", folder / "report.html"
    before = results.read_bytes(), page.read_bytes()
    monkeypatch.setattr(Trainer, "predict", refused)
    run(weights, tmp_path, "report.max_pairs=3")
    assert results.read_bytes() == before[0]
    assert page.read_bytes() != before[1]
    assert "max_pairs: 3" in (folder / "config.yaml").read_text("utf-8")
    page.unlink()
    run(weights, tmp_path)
    assert page.read_bytes() == before[1].replace(bytes(whole), bytes(tmp_path))
    monkeypatch.setattr(explaining, "report", refused)
    run(weights, tmp_path)


def test_other_metrics_score_the_explanations_that_are_there(
    weights: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(ExplainLoop, "predict_step", refused)
    found = run(weights, tmp_path, "metric=[aopc,naopc,sufficiency]")
    explanations = {file.read_bytes() for file in tmp_path.rglob("explanations.parquet")}
    assert len(explanations) == 1  # the seconds too
    assert found["aopc"] == told(whole)[0]["aopc"]
    assert "value" in found["sufficiency"]


def test_what_no_run_has_made_is_not_replaced(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "explain" / "it" / "iba" / "run"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("mine")
    with pytest.raises(UserError, match=r"holds config\.yaml, which no run has made"):
        run(weights, tmp_path)
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


def test_files_of_the_user_in_the_folder_of_a_run_stay(
    weights: Path, whole: Path, tmp_path: Path, interrupted: dict[str, Path]
) -> None:
    shutil.copytree(interrupted["scored"], tmp_path / "own")
    (unfinished,) = (tmp_path / "own").rglob("unfinished-*")
    for folder in (unfinished, unfinished.parent):
        (folder / "notes").mkdir()
        (folder / "notes" / "thesis.txt").write_text("mine")
        (folder / "thesis.txt").write_text("mine")
    run(weights, tmp_path / "own")
    assert told(tmp_path / "own") == told(whole)
    assert len(list((tmp_path / "own").rglob("thesis.txt"))) == 4
    assert sorted(path.name for path in unfinished.iterdir()) == ["notes", "thesis.txt"]


def test_where_no_lock_is_a_run_that_is_overtaken_replaces_nothing(
    weights: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one ends, and removes the batches of both, when this one puts them together."""
    rows, left = Progress.rows, []

    def overtaken(self: Progress[Any]) -> Any:
        if not left:
            left.append({})
            run(weights, tmp_path)
            left[0] = contents(tmp_path)
        return rows(self)

    monkeypatch.setattr(explaining, "alone", lambda *_, **__: nullcontext())
    monkeypatch.setattr(stages, "alone", lambda *_, **__: nullcontext())
    monkeypatch.setattr(Progress, "rows", overtaken)
    with pytest.raises(UserError, match=r"another run .* start the same command again"):
        run(weights, tmp_path)
    assert contents(tmp_path) == left[0]
    assert told(tmp_path) == told(whole)
    monkeypatch.setattr(Trainer, "predict", refused)
    run(weights, tmp_path)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["explanations.parquet", "pair_scores.parquet"])
def test_results_of_fewer_pairs_are_made_again(
    name: str, weights: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a file that says nothing of having been altered."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.rglob(name):
        table = pq.read_table(file)
        kept = {key: text for key, text in table.schema.metadata.items() if key != b"seal"}
        pq.write_table(table.slice(0, len(table) // 2).replace_schema_metadata(kept), file)
    run(weights, tmp_path)
    assert "it lacks" in capsys.readouterr().out
    assert told(tmp_path) == told(whole)


@pytest.mark.parametrize("name", ["report.html", "curves.csv"])
def test_a_report_of_which_a_file_is_damaged_is_made_again(
    name: str, weights: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    run(weights, tmp_path, "report.max_pairs=2")  # whose page names this folder
    file = tmp_path / RUN / name
    made = file.read_bytes()
    for damage in DAMAGE.values():
        damage(file)
        run(weights, tmp_path, "report.max_pairs=2")
        assert file.read_bytes() == made
    monkeypatch.setattr(explaining, "report", refused)
    run(weights, tmp_path, "report.max_pairs=2")
