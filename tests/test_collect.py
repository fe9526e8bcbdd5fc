"""Tables and figures from runs on disk: tiny made-up ones, with numbers known beforehand."""

from __future__ import annotations

import csv
import functools
import json
import math
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import CONF, ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from gmask_paper.archive import archive, read_archive
from gmask_paper.collecting import collect
from gmask_pl.explanation import Explanation
from gmask_pl.identity.of_result import Identity
from gmask_pl.identity.parts import KIND, described
from gmask_pl.identity.setting_roles import BY_VALUE, EXPLAIN, digest_of, told_settings
from gmask_pl.pipeline.hydra_setup import deciding_settings, register
from gmask_pl.pipeline.report.result_files import write_metrics
from gmask_pl.store import read_explanations, write_explanations, write_pair_scores
from gmask_pl.types import Groups, PairScore, UserError

register()
LABELS = ("no", "yes")
IDS = tuple(f"pair-{i}" for i in range(12))
QUICK = ("collect.resamples=200", "collect.permutations=400")
CELL = ("model=bert_tiny", "dataset=planted")
BASE = np.linspace(0.2, 0.5, len(IDS))
WORDS = (("a", "man", "plays", "guitar"), ("a", "man", "plays", "banjo"))


@functools.cache
def composed(*overrides: str) -> DictConfig:
    """The settings of a run; composing them takes most of the time of one that is made up."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("explain", list(overrides))


def fake_run(
    output: Path,
    explainer: str,
    *overrides: str,
    aopc: Sequence[float],
    weights: str = "0123456789abcdef",
    meaningful: bool = True,
    seconds: float | Sequence[float] = 0.5,
    failed: Sequence[str] = (),
    deleted: Sequence[float] = (),
    evidence: Sequence[float] = (),
    together: Sequence[float] = (),
    pairs: str = "",
) -> Path:
    """A finished run of ``explainer`` whose pairs have these AOPC, those that failed left out.

    deleted: the AOPC under the removal ``delete``, beside ``pad``. evidence: whether it is found.
    together: the effect of groups beyond that of their words.
    """
    given_ids, numbers_of = IDS[: len(aopc)], dict(zip(IDS, aopc, strict=False))
    ids = [id for id in given_ids if id not in failed]
    aopc = [numbers_of[id] for id in ids]
    cfg = composed(f"explainer={explainer}", *CELL, "log_dir=logs", "run_name=x", *overrides).copy()
    cfg.output = str(output)
    folder = output / "explain" / f"{cfg.dataset.name}_{cfg.model.name}" / explainer
    folder /= digest_of(deciding_settings(cfg), size=4)
    folder.mkdir(parents=True)
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    groups = Groups((1, 3, 7), ((0.9, 0.1), (0.2, 0.8), (0.3, 0.7)), (0.3, 0.7))
    explanations = [
        Explanation(
            id=id,
            words1=WORDS[0],
            words2=WORDS[1],
            label=1,
            prediction=1,
            probabilities=(0.1, 0.9),
            scores=(0.0, 0.1, 0.2, 0.9, 0.0, 0.1, 0.3, 0.8),
            groups=groups if explainer == "gmask" else None,
            evaluations=100,
            gradients=0,
            seconds=seconds if isinstance(seconds, float) else seconds[IDS.index(id)],
        )
        for id in ids
    ]
    write_explanations(folder / "explanations.parquet", explanations, LABELS)
    rows = []
    for id, value in zip(ids, aopc, strict=True):
        gains = (0.8, *(0.6 - value * i / 9 for i in range(9)), *(0.6 for _ in range(9)))
        accuracy = tuple(float(v >= 3) for v in range(10))
        numbers = {"aopc": (value,), "degradation": gains, "post_hoc_accuracy": accuracy}
        rows += [PairScore(id, "pad", metric, row) for metric, row in numbers.items()]
    rows += [PairScore(i, "delete", "aopc", (v,)) for i, v in zip(ids, deleted, strict=False)]
    rows += [PairScore(i, None, "evidence", (v, v)) for i, v in zip(ids, evidence, strict=False)]
    effects = zip(ids, together, strict=False)
    rows += [PairScore(i, "pad", "group_removed", (1.0, v, 0.0, v, 0.0)) for i, v in effects]
    write_pair_scores(folder / "pair_scores.parquet", rows)
    model = {"accuracy": 0.75, "n": len(ids), "truncated": 0, "weights": weights}
    results = {"aopc": {}, "post_hoc_accuracy": {}, "degradation": {"meaningful": meaningful}}
    results["post_hoc_accuracy"] = told_of_empty(meaningful)
    told: dict[str, Any] = {}
    if failed:
        told["failed"] = {"explaining": dict.fromkeys(failed, "no number")}
    if len(deleted):
        told["by_removal"] = dict.fromkeys(("pad", "delete"), results)
    write_metrics(folder, {"model": model, **results, **told})
    settings = told_settings(
        described(OmegaConf.to_container(cfg, resolve=True)), EXPLAIN, BY_VALUE
    )
    Identity(settings, {"weights": weights}, pairs).write(folder)
    return folder


def told_of_empty(meaningful: bool) -> dict[str, Any]:
    """What post-hoc accuracy says of the empty pair."""
    told = {"empty": "floor", "floor": 0.5, "floor_low": 0.25, "floor_high": 0.75}
    return told | ({} if meaningful else {"meaningful": False, "why": "no word is needed"})


def collected(output: Path, experiment: str, *overrides: str) -> dict[str, Path]:
    quick = QUICK if experiment in ("table2", "table4", "figure3", "figure4") else ()
    files = collect([f"experiment={experiment}", f"output={output}", *CELL, *quick, *overrides])
    assert all(file.is_file() for file in files)
    return {file.name: file for file in files}


def cells(files: dict[str, Path], name: str) -> dict[str, dict[str, str]]:
    with files[name].open(encoding="utf-8", newline="") as file:
        return {row["explainer"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GMASK under two seeds and IMASK alike, better than the others."""
    made, wiggle = tmp_path_factory.mktemp("runs"), np.tile([0.01, -0.01], 6)
    fake_run(made, "gmask", "seed=0", aopc=BASE + 0.20 + wiggle)
    fake_run(made, "gmask", "seed=1", aopc=BASE + 0.22 + wiggle)
    fake_run(made, "imask", aopc=BASE + 0.21 - wiggle)
    fake_run(made, "imask_released", aopc=BASE)
    fake_run(made, "random", aopc=BASE - 0.1)
    return made


@pytest.fixture
def output(runs: Path, tmp_path: Path) -> Path:
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_pairs_that_one_explainer_failed_at_are_left_out_of_all(tmp_path: Path) -> None:
    output, folder = tmp_path / "outputs", tmp_path / "archive"
    fake_run(output, "gmask", "seed=0", aopc=BASE + 0.2)
    fake_run(output, "imask", aopc=BASE + 0.1, failed=IDS[:1])
    fake_run(output, "random", aopc=BASE, failed=IDS[-2:])
    settings = ("explainer=gmask,imask,random", "limit=2000")
    files = collected(output, "table2", *settings)
    rows = cells(files, "table2.csv")
    for name, more in (("GMASK", 0.2), ("IMASK", 0.1), ("random", 0.0)):
        assert float(rows[name]["value"]) == pytest.approx(BASE[1:-2].mean() + more)
        assert rows[name]["pairs"] == "9"
    text = files["table2.md"].read_text("utf-8")
    assert "3 pairs are left out, at which imask, random failed" in text
    assert "9 test pairs" in text
    archive(output, folder)
    shutil.rmtree(output)
    again = collected(output, "table2", *settings, f"archive={folder}")
    for name, row in cells(again, "table2.csv").items():
        assert float(row["value"]) == pytest.approx(float(rows[name]["value"]), abs=1e-6)
        assert row["pairs"] == "9"
    assert "at which imask, random failed" in again["table2.md"].read_text("utf-8")


ASKED = "explainer=gmask,imask,imask_released,random,gmask_released"


def test_an_archive_gives_the_table_that_its_runs_gave(output: Path, tmp_path: Path) -> None:
    folder, settings = tmp_path / "archive", (ASKED, "limit=2000", "dataset.path=null")
    own = cells(collected(output, "table2", *settings), "table2.csv")
    assert archive(output, folder) == [folder / "planted_bert_tiny.parquet"]
    shutil.rmtree(output / "explain")
    fake_run(output, "iba", aopc=BASE + 0.05)  # a run of today beside the archived ones
    files = collected(output, "table2", f"{ASKED},iba", *settings[1:], f"archive={folder}")
    rows = cells(files, "table2.csv")
    assert (rows["GMASK"]["seeds"], rows["IBA"]["seeds"]) == ("2", "1")
    for name in own:
        numbers = [float(table[name]["value"] or "nan") for table in (rows, own)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-6, nan_ok=True)
        assert rows[name]["best"] == own[name]["best"]


def test_an_archive_grows_and_takes_the_newer_of_equal_runs(output: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    (file,) = archive(output, folder)
    before = len(read_archive(file))
    shutil.rmtree(output / "explain")
    fake_run(output, "random", aopc=BASE + 0.4)
    fake_run(output, "iba", aopc=BASE)
    assert archive(output, folder) == [file]
    runs = read_archive(file)
    assert len(runs) == before + 1
    (newer,) = (run for run in runs if run.explainer == "random")
    numbers = [row[0] for row in newer.rows("aopc")["pad"].values()]
    assert numbers == pytest.approx(BASE + 0.4, abs=1e-6)


def test_an_archive_holds_neither_texts_nor_places(output: Path, tmp_path: Path) -> None:
    fake_run(output, "occlusion", "dataset.path=/somewhere/else", aopc=BASE)
    (file,) = archive(output, tmp_path / "archive")
    runs = read_archive(file)
    assert not any(
        "guitar" in json.dumps(row, default=str) for row in pq.read_table(file).to_pylist()
    )
    for run in runs:
        assert str(output) not in OmegaConf.to_yaml(run.config)
        assert "/somewhere" not in OmegaConf.to_yaml(run.config)
    with pytest.raises(UserError, match="holds no explanations"):
        _ = runs[0].explanations


def test_what_is_no_archive_is_named(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="no such folder"):
        collected(output, "table2", ASKED, f"archive={tmp_path / 'none'}")
    folder = tmp_path / "archive"
    (file,) = archive(output, folder)
    file.write_bytes(file.read_bytes()[:100])
    files = collected(output, "table2", ASKED, f"archive={folder}")
    assert "not a file of archived runs" in files["table2.md"].read_text("utf-8")
    assert cells(files, "table2.csv") == cells(collected(output, "table2", ASKED), "table2.csv")
    assert "not a file of archived runs" in capsys.readouterr().out
    fake_run(output, "random", "dataset.name=other", aopc=BASE)
    with pytest.raises(UserError, match=f"{file}: .*not a file of archived runs"):
        archive(output, folder)
    assert len(read_archive(folder / "other_bert_tiny.parquet")) == 1
    assert file.stat().st_size == 100


def test_pairs_that_were_looked_at_can_be_left_out(tmp_path: Path) -> None:
    for name, more in (("imask", 0.0), ("gmask", 0.1)):
        fake_run(tmp_path, name, "limit=12", aopc=BASE + more)
    fake_run(tmp_path, "occlusion", "limit=5", aopc=BASE[:5])
    asked = ("explainer=gmask,imask", "limit=12", "beyond=5")
    files = collected(tmp_path, "table2", *asked)
    rows = cells(files, "table2.csv")
    assert {row["pairs"] for row in rows.values()} == {"7"}
    assert float(rows["IMASK"]["value"]) == pytest.approx(BASE[5:].mean())
    assert "5 pairs are left out, which were seen before" in files["table2.md"].read_text("utf-8")
    with pytest.raises(UserError, match="beyond=6: no run of bert_tiny on planted with limit=6"):
        collected(tmp_path, "table2", *asked[:2], "beyond=6")
    with pytest.raises(UserError, match="of 12 pairs none is left"):
        collected(tmp_path, "table2", *asked[:2], "beyond=12")


def test_a_part_that_is_not_the_usual_one_goes_by_its_name(output: Path) -> None:
    for name in ("occlusion", "keep_one_in"):  # of one class, with other settings
        fake_run(output, "gmask", f"explainer@explainer.word_filter={name}", aopc=BASE)
    odd = ("explainer@explainer.word_filter=occlusion", "explainer.word_filter.per_round=9")
    fake_run(output, "gmask", *odd, aopc=BASE)
    rows = cells(collected(output, "table2", "explainer=gmask"), "table2.csv")
    assert {"GMASK", "GMASK (word_filter=occlusion)", "GMASK (word_filter=keep_one_in)"} < set(rows)
    (left,) = (name for name in rows if "per_round=9" in name)
    assert "word_filter.kind=occlusion" in left


def test_a_table_of_what_runs_there_are(output: Path) -> None:
    files = collected(output, "table2", ASKED)
    rows = cells(files, "table2.csv")
    assert list(rows) == ["IMASK", "GMASK", "imask_released", "gmask_released", "random"]
    assert float(rows["GMASK"]["value"]) == pytest.approx(BASE.mean() + 0.21)
    assert float(rows["GMASK"]["low"]) < BASE.mean() + 0.21 < float(rows["GMASK"]["high"])
    assert (rows["GMASK"]["pairs"], rows["GMASK"]["seeds"]) == ("12", "2")
    assert (rows["IMASK"]["pairs"], rows["IMASK"]["seeds"]) == ("12", "1")
    assert rows["random"]["kind"] == "floor"
    best = {name for name, row in rows.items() if row["best"] == "True"}
    assert best == {"GMASK", "IMASK"}


def test_a_cell_without_a_run_says_how_to_make_it(output: Path) -> None:
    files = collected(output, "table2", ASKED, "limit=2000")
    row = cells(files, "table2.csv")["gmask_released"]
    assert row["value"] == row["low"] == row["high"] == ""
    command = (
        "python explain.py experiment=table2 model=bert_tiny dataset=planted "
        f"explainer=gmask_released output={output} limit=2000"
    )
    assert row["reason"] == f"no run yet: `{command}`"
    text = files["table2.md"].read_text("utf-8")
    assert "| *random* |" in text
    assert f"[1] no run yet: `{command}`" in text


def test_the_tests_behind_the_bold_numbers(output: Path) -> None:
    files = collected(output, "table2", ASKED)
    with files["table2_differences.csv"].open(encoding="utf-8", newline="") as file:
        found = {(row["first"], row["second"]): row for row in csv.DictReader(file)}
    assert len(found) == 6
    alike, apart = found["IMASK", "GMASK"], found["GMASK", "imask_released"]
    assert float(alike["p_holm"]) > 0.05
    assert float(apart["p_holm"]) < 0.05
    assert float(apart["difference"]) == pytest.approx(0.21)


def test_runs_are_told_apart_by_their_settings(output: Path) -> None:
    fake_run(output, "gmask", "explainer.k=4", aopc=BASE)
    rows = cells(collected(output, "table2", ASKED), "table2.csv")
    assert {"GMASK", "GMASK (k=4)"} <= set(rows)
    assert float(rows["GMASK (k=4)"]["value"]) == pytest.approx(BASE.mean())
    only = cells(collected(output, "table2", ASKED, "explainer.k=4"), "table2.csv")
    assert only["GMASK (k=4)"]["value"]
    assert "GMASK" not in only


def test_an_ablation_shows_what_it_sweeps_and_nothing_else(output: Path) -> None:
    for changed in ("k=4", "k=5", "t=3"):
        fake_run(output, "gmask", f"explainer.{changed}", aopc=BASE)
    fake_run(output, "gmask", "explainer.k=4", "explainer.t=3", aopc=BASE)
    one = ("explainer=gmask", "split=test")
    rows = collected(output, "ablation_k", *one)["ablation_k_planted_bert_tiny.csv"]
    assert set(cells({"x": rows}, "x")) == {"GMASK", "GMASK (k=4)"}  # k=5 is not of the sweep
    rows = collected(output, "ablation_k", *one, "explainer.t=3")[
        "ablation_k_planted_bert_tiny.csv"
    ]
    assert set(cells({"x": rows}, "x")) == {"GMASK (t=3)", "GMASK (k=4, t=3)"}
    rows = collected(output, "ablation_k", *one, "explainer.k=5")[
        "ablation_k_planted_bert_tiny.csv"
    ]
    assert set(cells({"x": rows}, "x")) == {"GMASK (k=5)"}


def test_a_setting_that_is_null_is_a_setting(output: Path) -> None:
    """Runs of the explainers that have no such setting count, whatever its value."""
    fake_run(output, "gmask", "explainer.t=3", aopc=BASE)
    rows = cells(collected(output, "table2", ASKED, "explainer.t=3"), "table2.csv")
    assert rows["GMASK (t=3)"]["value"]
    assert "GMASK" not in rows
    assert rows["IMASK"]["value"]
    assert rows["random"]["value"]
    rows = cells(collected(output, "table2", ASKED, "explainer.t=null"), "table2.csv")
    assert rows["GMASK"]["value"]
    assert "GMASK (t=3)" not in rows


def test_a_setting_may_refer_to_another_part(output: Path) -> None:
    fake_run(output, "random", "weights=FOLDER/minilm-planted", aopc=BASE + 0.5)
    given = "weights=FOLDER/minilm-${dataset.name}"
    row = cells(collected(output, "table2", ASKED, given), "table2.csv")["random"]
    assert float(row["value"]) == pytest.approx(BASE.mean() + 0.5)
    given = "weights=FOLDER/other-${dataset.name}"
    assert not cells(collected(output, "table2", ASKED, given), "table2.csv")["random"]["value"]


def test_other_weights_or_pairs_are_not_compared(output: Path) -> None:
    fake_run(output, "random", "limit=5", aopc=BASE[:5] + 5)
    fake_run(output, "imask", "batch_size=4", aopc=BASE + 5, weights="f" * 16)
    fake_run(output, "random", "split=dev", aopc=BASE + 5)
    files = collected(output, "table2", ASKED)
    assert max(float(row["value"] or 0) for row in cells(files, "table2.csv").values()) < 1
    told = [
        line for line in files["table2.md"].read_text("utf-8").splitlines() if "comparable" in line
    ]
    assert sorted(line.rpartition("what differs: ")[2] for line in told) == ["pairs.", "weights."]
    few = cells(collected(output, "table2", ASKED, "limit=5"), "table2.csv")
    assert float(few["random"]["value"]) > 5
    assert few["GMASK"]["value"] == ""


def test_a_weak_denominator_is_marked(output: Path) -> None:
    text = collected(output, "table4", ASKED)["table4.md"].read_text("utf-8")
    assert "°" not in text
    fake_run(output, "gmask_released", aopc=BASE, meaningful=False)
    text = collected(output, "table4", ASKED)["table4.md"].read_text("utf-8")
    (row,) = [line for line in text.splitlines() if "| gmask_released |" in line]
    assert "°" in row
    assert "° not meaningful" in text


def test_a_metric_that_tells_nothing_is_marked_from_an_archive_too(
    output: Path, tmp_path: Path
) -> None:
    fake_run(output, "gmask_released", aopc=BASE, meaningful=False)
    archive(output, tmp_path / "archive")
    for given in ((), (f"archive={tmp_path / 'archive'}", f"output={tmp_path}")):
        files = collected(output, "figure3", ASKED, *given)
        text = files["figure3.md"].read_text("utf-8")
        (row,) = [line for line in text.splitlines() if "| gmask_released |" in line]
        assert "°" in row
        assert text.count("° not meaningful") == 1
        assert "post_hoc_accuracy: no word is needed." in text
        assert text.count(r"without any word: floor 0.500 \[0.250, 0.750\].") == 1
        assert '°",' in files["figure3_curves.csv"].read_text("utf-8")


@pytest.mark.slow
def test_curves_are_drawn_with_their_numbers(output: Path) -> None:
    files = collected(output, "figure3", ASKED)
    assert {"figure3.png", "figure3.svg", "figure3.md"} <= set(files)
    assert files["figure3.png"].read_bytes()[:4] == b"\x89PNG"
    with files["figure3_curves.csv"].open(encoding="utf-8", newline="") as file:
        points = [row for row in csv.DictReader(file) if row["explainer"] == "GMASK"]
    assert [float(point["y"]) for point in points] == [0.0] * 3 + [1.0] * 7
    assert float(cells(files, "figure3.csv")["GMASK"]["value"]) == pytest.approx(0.7)
    drawn = collected(output, "figure4", ASKED)
    with drawn["figure4_curves.csv"].open(encoding="utf-8", newline="") as file:
        lerf = [row for row in csv.DictReader(file) if "LeRF" in row["panel"]]
    own = [float(row["y"]) for row in lerf if row["explainer"] == "GMASK"]
    assert own == pytest.approx([1.0, *[0.6 / 0.8] * 9, 0.0])


@pytest.mark.slow
def test_figures_are_the_same_bytes_again(output: Path) -> None:
    first = collected(output, "figure3", ASKED)["figure3.svg"].read_bytes()
    assert collected(output, "figure3", ASKED)["figure3.svg"].read_bytes() == first


def test_seconds_and_evaluations(output: Path) -> None:
    files = collected(output, "table7", ASKED)
    assert float(cells(files, "table7.csv")["IMASK"]["value"]) == 0.5
    assert float(cells(files, "table7_evaluations.csv")["IMASK"]["value"]) == 100


def test_seconds_vary_from_batch_to_batch(output: Path) -> None:
    """Three quarters of the pairs are a batch and take 1 second, the others are one and take 5."""
    seconds = [1.0 if i < 3 * len(IDS) / 4 else 5.0 for i in range(len(IDS))]
    fake_run(output, "gmask_released", aopc=BASE, seconds=seconds)
    found = cells(collected(output, "table7", ASKED), "table7.csv")
    value, low, high = (float(found["gmask_released"][key]) for key in ("value", "low", "high"))
    assert (value, low, high) == (2.0, 1.0, 5.0)
    assert found["gmask_released"]["pairs"] == str(len(IDS))
    assert (found["IMASK"]["low"], found["IMASK"]["high"]) == ("", "")  # all pairs are one batch


def test_seconds_with_known_answers_are_not_shown(output: Path) -> None:
    fake_run(output, "gmask_released", aopc=BASE, seconds=math.nan)
    files = collected(output, "table7", ASKED)
    found = cells(files, "table7.csv")["gmask_released"]
    assert not found["value"]
    assert "answers came from other runs" in found["reason"]
    assert float(cells(files, "table7_evaluations.csv")["gmask_released"]["value"]) == 100


@pytest.mark.slow
def test_accuracies_of_trained_and_of_explained_models(output: Path) -> None:
    def cell(experiment: str, *overrides: str) -> dict[str, str]:
        files = collected(output, experiment, *overrides)
        with files[f"{experiment}.csv"].open(encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        return row

    explained = cell("table1")
    assert (float(explained["value"]), explained["pairs"]) == (75.0, "12")
    assert "as a run explained them" in explained["reason"]
    assert cell("table6")["reason"].startswith(
        "not trained yet: `python train.py experiment=table6"
    )
    archive(output, output / "archive")
    shutil.rmtree(output / "explain")
    assert cell("table1", f"archive={output / 'archive'}")["value"] == explained["value"]
    folder = output / "models" / "planted_bert_tiny"
    folder.mkdir(parents=True)
    summary = {"accuracy": {"dev": 0.9, "test": 0.8}, "pairs": {"dev": 10, "test": 100}}
    (folder / "training.json").write_text(json.dumps(summary))
    assert float(cell("table1")["value"]) == pytest.approx(80.0)
    # Wilson's interval of 80 of 100.
    assert float(cell("table1")["low"]) == pytest.approx(71.11, abs=0.01)
    assert float(cell("table6")["value"]) == pytest.approx(90.0)


def test_statistics_come_from_the_data(output: Path) -> None:
    sizes = ("dataset.train_size=40", "dataset.dev_size=10", "dataset.test_size=5")
    files = collected(output, "table5", *sizes)
    with files["table5.csv"].open(encoding="utf-8") as file:
        found = {row["column"]: row["value"] for row in csv.DictReader(file)}
    assert (found["#train"], found["#dev"], found["#test"]) == ("40", "10", "5")
    nowhere = collect(["experiment=table5", f"output={output}", "dataset=mrpc", "dataset.path=/no"])
    rows = list(csv.DictReader(nowhere[2].read_text("utf-8").splitlines()))
    assert rows[4]["paper"] == "408"
    assert rows[4]["value"] == ""
    assert "/no" in rows[4]["reason"]


PAIR = 'pairs=[["a man plays guitar","a man plays banjo"]]'


@pytest.mark.slow
def test_examples_and_groups(output: Path) -> None:
    for explainer in ("gmask", "imask"):
        fake_run(output, explainer, PAIR, aopc=BASE[:1])
    files = collected(output, "table3", "explainer=gmask,imask,random", PAIR)
    text = files["table3.md"].read_text("utf-8")
    words = "a man plays<sub>"
    assert "**guitar**<sub>1</sub> / a man **plays**<sub>3</sub> **banjo**<sub>2</sub>" in text
    assert words not in text
    assert "planted: random: no run yet: `python explain.py experiment=table3" in text
    assert {"table3.html", "table3.tex"} <= set(files)
    drawn = collected(output, "figure1", PAIR)
    assert {"figure1_planted_bert_tiny_1.png", "figure1_planted_bert_tiny_1.svg"} <= set(drawn)
    assert "no run yet" in collected(output, "figure1")["figure1.md"].read_text("utf-8")


def test_unfinished_runs_do_not_count(output: Path) -> None:
    half = fake_run(output, "gmask_released", aopc=BASE)
    (half / "pair_scores.parquet").unlink()
    assert cells(collected(output, "table2", ASKED), "table2.csv")["gmask_released"]["value"] == ""


def rewritten(folder: Path, old: str, new: str, name: str = "config.yaml") -> None:
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), "utf-8")


def test_what_has_no_better_side_has_no_best(tmp_path: Path) -> None:
    for name, effect in (("gmask", 0.3), ("imask", -0.3)):
        fake_run(tmp_path, name, "metric=[aopc,group_removed]", aopc=BASE, together=BASE + effect)
    asked = ("collect.metric=group_removed", "collect.table=none", ASKED)
    rows = cells(collected(tmp_path, "table2", *asked), "table2.csv")
    assert float(rows["GMASK"]["value"]) == pytest.approx(BASE.mean() + 0.3)
    assert {rows[name]["best"] for name in ("GMASK", "IMASK")} == {"False"}


def test_the_command_for_what_is_missing_reads_the_same_pairs(output: Path) -> None:
    own = ("dataset=pairs", "dataset.path=my.csv", "dataset.text1=one", "dataset.label=gold")
    for name in ("gmask", "imask"):
        fake_run(output, name, *own, "limit=7", aopc=BASE)
    text = collected(output, "table2", "dataset=pairs")["table2.md"].read_text("utf-8")
    (command,) = [line for line in text.splitlines() if "no run yet: `" in line]
    for setting in (*own[1:], "limit=7"):
        assert f" {setting}" in command
    for other in ("dataset.text2=", "dataset.id=", "limit_seed="):  # as the experiment has them
        assert other not in command


def test_the_papers_numbers_are_told_to_be_of_others(output: Path) -> None:
    told = "with other weights and pairs"
    ours = collected(output, "table2", ASKED)
    assert told not in ours["table2.md"].read_text("utf-8")
    for name in ("gmask", "imask"):
        fake_run(output, name, "dataset=mrpc", "model=dattn", "dataset.path=x", aopc=BASE)
    theirs = collected(output, "table2", "dataset=mrpc", "model=dattn")
    assert told in theirs["table2.md"].read_text("utf-8")


def test_an_overview_holds_what_the_single_tables_say(output: Path) -> None:
    files = collected(output, "overview", ASKED, *QUICK)
    assert set(files) == {f"overview_planted_bert_tiny.{form}" for form in ("md", "tex", "csv")}
    with files["overview_planted_bert_tiny.csv"].open(encoding="utf-8", newline="") as file:
        found = {(row["explainer"], row["column"]): row for row in csv.DictReader(file)}
    for experiment, column in (("table2", "AOPC"), ("table4", "degradation")):
        alone = cells(collected(output, experiment, ASKED), f"{experiment}.csv")
        for explainer, row in alone.items():
            same = found[explainer, column]
            assert [same[key] for key in ("value", "low", "high", "best", "paper")] == [
                row[key] for key in ("value", "low", "high", "best", "paper")
            ]
    assert found["GMASK", "AOPC between bounds"]["value"] == ""
    text = files["overview_planted_bert_tiny.md"].read_text("utf-8")
    assert "| explainer | seeds | AOPC | AOPC between bounds |" in text


def test_stability_is_kendalls_tau_between_removals(tmp_path: Path) -> None:
    """Best to worst by pad: a, b, c, d; by delete: b, a, c, d: one pair of six is the other way."""
    by_pad = {"gmask": 0.3, "imask": 0.2, "occlusion": 0.1, "lime": 0.0, "random": 0.4}
    by_delete = by_pad | {"gmask": 0.15, "random": -0.2}
    for name, more in by_pad.items():
        fake_run(tmp_path, name, aopc=BASE + more, deleted=BASE + by_delete[name])
    files = collected(tmp_path, "removals", "collect.removals=[pad,delete]")
    with files["removals.csv"].open(encoding="utf-8", newline="") as file:
        found = {row["column"]: row for row in csv.DictReader(file)}
    aopc = found["AOPC"]
    # All pairs have the same differences, so every drawn set of pairs has the same order.
    assert [float(aopc[key]) for key in ("value", "low", "high")] == pytest.approx([2 / 3] * 3)
    assert aopc["pairs"] == "12"
    assert found["degradation"]["value"] == ""
    assert "fewer than two explainers" in files["removals.md"].read_text("utf-8")


def test_stability_is_uncertain_where_pairs_disagree(tmp_path: Path) -> None:
    """Two explainers that half of the pairs order one way under ``delete``, half the other."""
    apart = np.tile([0.2, -0.19], 6)
    fake_run(tmp_path, "gmask", aopc=BASE + 0.1, deleted=BASE + apart)
    fake_run(tmp_path, "imask", aopc=BASE, deleted=BASE)
    files = collected(tmp_path, "removals", "collect.removals=[pad,delete]")
    with files["removals.csv"].open(encoding="utf-8", newline="") as file:
        aopc = next(row for row in csv.DictReader(file) if row["column"] == "AOPC")
    assert [float(aopc[key]) for key in ("value", "low", "high")] == [1, -1, 1]


def test_a_metric_that_removes_nothing_beside_several_removals(tmp_path: Path) -> None:
    output, folder = tmp_path / "outputs", tmp_path / "archive"
    for name, found in (("gmask", 1.0), ("random", 0.0)):
        fake_run(output, name, aopc=BASE, deleted=BASE, evidence=[found] * len(IDS))
    asked = ("collect.metric=evidence", "collect.table=none", ASKED)
    of_runs = cells(collected(output, "table2", *asked), "table2.csv")
    assert [float(of_runs[name]["value"]) for name in ("GMASK", "random")] == [1, 0]
    archive(output, folder)
    elsewhere = collected(tmp_path / "empty", "table2", *asked, f"archive={folder}")
    archived = cells(elsewhere, "table2.csv")
    assert [archived[name] for name in ("GMASK", "random")] == [
        of_runs[name] for name in ("GMASK", "random")
    ]


def test_a_setting_of_another_version_is_shown_as_one(output: Path) -> None:
    run = fake_run(output, "random", "limit=7", aopc=BASE)
    rewritten(
        run,
        "_target_: gmask_pl.explainers.random.Random",
        "_target_: gmask_pl.explainers.random.Random\n  gone: 3",
    )
    assert "random (gone=3)" in collected(output, "table2", ASKED)["table2.md"].read_text("utf-8")


def test_a_run_from_elsewhere_runs_no_code_and_reads_no_environment(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    run = fake_run(output, "random", "limit=7", aopc=BASE)
    rewritten(run, "removal: pad", "removal: ${oc.env:SECRET}")
    files = collected(output, "table2", ASKED)
    assert not any("hunter2" in file.read_text("utf-8") for file in files.values())
    for folder in (output / "explain").glob("*/*/*"):
        rewritten(folder, "gmask_pl.metrics.faithfulness.aopc.AOPC", "antigravity.AOPC")
    files = collected(output, "table2", ASKED)
    assert "AOPC, which is no metric of conf/metric" in files["table2.md"].read_text("utf-8")
    assert not any(row["value"] for row in cells(files, "table2.csv").values())
    assert "antigravity" not in sys.modules


ALIASES = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
FULL = {"accuracy": 0.5, "n": 3, "weights": "0"}


# A file of a run, what it holds (None: it is a folder), and what is said of it.
DAMAGED: tuple[tuple[str, str | None, str], ...] = (
    ("config.yaml", "model: {name: bert_tiny}", "there is no dataset, explainer"),
    ("config.yaml", "a: [1", "expected"),
    ("config.yaml", "\x00", "control characters are not allowed"),
    ("config.yaml", "", "NoneType"),
    ("config.yaml", "[]", "a list and no settings"),
    ("config.yaml", ALIASES, "line 2 has an alias"),
    ("config.yaml", "a: " + "[" * 200_000, "more than 64 parts within one another"),
    ("config.yaml", "a: " + "9" * 5000, "4300 digits"),
    ("config.yaml", "a: !!python/object/apply:os.system [true]", "could not determine"),
    ("metrics.json", '{"aopc": {"val', "Unterminated string"),
    ("metrics.json", "[]", "a list and no object"),
    ("metrics.json", "", "Expecting value"),
    ("metrics.json", "[" * 200_000, "recursion"),
    ("metrics.json", '{"aopc": [1]}', r"aopc is \[1\], a list"),
    ("metrics.json", '{"post_hoc_accuracy": {"by_v": 3}}', "post_hoc_accuracy.by_v is 3"),
    ("metrics.json", '{"model": []}', r"model is \[\], a list"),
    ("metrics.json", '{"model": {"weights": "0"}}', "model has no accuracy"),
    ("metrics.json", json.dumps({"model": FULL | {"n": True}}), "model.n is True"),
    ("metrics.json", json.dumps({"model": FULL | {"accuracy": 1e999}}), "accuracy is inf"),
    ("metrics.json", json.dumps({"model": FULL | {"accuracy": math.nan}}), "accuracy is nan"),
    ("metrics.json", '{"failed": {"explaining": [1]}}', "failed.explaining is"),
    ("metrics.json", '{"by_removal": {"pad": 1}}', "by_removal.pad is 1"),
    ("pair_scores.parquet", "PAR1", "not a Parquet file of pair scores"),
    ("pair_scores.parquet", "", "not a Parquet file"),
    ("explanations.parquet", "PAR1", "not a Parquet file of explanations"),
    ("config.yaml", None, "is no file"),
    ("metrics.json", None, "is no file"),
    ("pair_scores.parquet", None, "is no file"),
)
# What is changed in the settings of a run.
NO_SETTINGS = (
    ("name: planted", "name: ../../planted", "dataset.name is '../../planted'"),
    ("name: planted", 'name: "planted\\e[31m"', "dataset.name is"),
    ("name: bert_tiny", "name: [a]", r"model.name is \['a'\]"),
    ("unit: word", "unit: ???", "a setting is '...'"),
    ("seed: 0", "seed: true", "seed is True"),
    ("seed: 0", "seed: 1.5", "seed is 1.5"),
)


def test_damaged_runs_are_left_out_and_named(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cells(collected(output, "table2", ASKED), "table2.csv")
    whole = next((output / "explain").glob("*/random/*"))
    bad: list[tuple[Path, str, str]] = []
    for i, (name, text, why) in enumerate(DAMAGED):
        run = shutil.copytree(whole, whole.with_name(f"damaged-{i}"))
        (run / name).unlink()
        if text is None:
            (run / name).mkdir()
        else:
            (run / name).write_text(text, "utf-8")
        bad.append((run, name, why))
    for i, (old, new, why) in enumerate(NO_SETTINGS):
        run = shutil.copytree(whole, whole.with_name(f"no-settings-{i}"))
        rewritten(run, old, new)
        bad.append((run, "config.yaml", why))
    capsys.readouterr()
    files = collected(output, "table2", ASKED)
    assert cells(files, "table2.csv") == before
    told = capsys.readouterr().out
    assert told.count("left out: ") == len(bad)
    notes = files["table2.md"].read_text("utf-8").replace("\\", "")
    for run, name, why in bad:
        line = f"{re.escape(str(run))}: {name}.*{why}"
        assert re.search(f"left out: {line}", told), (line, told)
        assert f"left out, as damaged: {run}: {name}" in notes
    (file,) = archive(output, tmp_path / "archive")
    assert len(read_archive(file)) == 5
    assert capsys.readouterr().out.count("left out: ") == len(bad)


def test_explanations_that_do_not_fit_their_words_are_left_out(output: Path) -> None:
    for name in ("gmask", "random"):
        run = fake_run(output, name, PAIR, aopc=BASE[:1])
    file = run / "explanations.parquet"
    kept = [replace(e, prediction=7) for e in read_explanations(file)]
    write_explanations(file, kept, [str(i) for i in range(8)])
    fewer = {"labels": json.dumps(LABELS)}
    pq.write_table(pq.read_table(file).replace_schema_metadata(fewer), file)
    text = collected(output, "table3", PAIR, "explainer=gmask,random")["table3.md"].read_text(
        "utf-8"
    )
    assert "the explanation of pair pair-0 does not fit its words and classes" in text
    assert "GMASK" in text


def test_rows_of_an_archive_that_are_damaged_stay_and_are_named(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = archive(output, tmp_path / "archive")
    rows = pq.read_table(file).to_pylist()
    schema = pq.read_schema(file).remove_metadata()  # and so without a seal
    by_name = {row["explainer"]: row for row in rows}
    by_name["gmask"]["scores"][0]["width"] = 5
    config = json.loads(by_name["imask"]["config"])
    config["metric"]["aopc"][KIND] = "NoMetric"
    by_name["imask"]["config"] = json.dumps(config)
    by_name["random"]["results"] = "[]"
    by_name["imask_released"]["config"] = "null"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    empty = tmp_path / "empty"
    files = collected(empty, "table2", ASKED, f"archive={file.parent}")
    told = capsys.readouterr().out
    for name in by_name:
        assert re.search(rf"left out: {re.escape(str(file))} row \d \({name}\): ", told), name
    left = [row for row in cells(files, "table2.csv").values() if row["value"]]
    assert len(left) == 1
    archive(output, file.parent)
    assert len(pq.read_table(file)) == 5 + 4  # and the runs of those that cannot be read


def test_mistakes_are_told(output: Path) -> None:
    with pytest.raises(UserError, match="one of .*table2"):
        collect(["limit=5"])
    with pytest.raises(UserError, match="no collector"):
        collect(["experiment=demo"])
    folder = output / "explain" / "planted_bert_tiny"
    (folder / "imask").rename(folder / "forgotten")
    told = collected(output, "table2", ASKED)["table2.md"].read_text("utf-8")
    assert "explainer=forgotten model=bert_tiny cannot be told apart" in told


EXPERIMENTS = sorted(
    path.stem for path in (ROOT / "gmask_paper" / "conf" / "experiment").glob("*.yaml")
)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_collectors_fit_their_yaml_and_choices_exist(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", [f"experiment={name}"], return_hydra_config=True)
    settings: Any = OmegaConf.to_container(cfg.collect, resolve=True, throw_on_missing=True)
    get_class(settings.pop("_target_"))(**settings)
    params = {key: str(choices).split(",") for key, choices in cfg.hydra.sweeper.params.items()}
    values = []
    for key, choices in params.items():
        group = CONF / key.split("@")[0]
        for choice in choices:
            if group.is_dir():
                assert (group / f"{choice}.yaml").is_file(), f"{key}={choice}"
            else:
                values.append(f"{key}={choice}")
    if values:  # of settings, which must be there
        first = [f"{part}={params[part][0]}" for part in ("explainer",) if part in params]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            compose("explain", [*first, *values])


def test_other_texts_of_the_same_names_are_other_pairs(tmp_path: Path) -> None:
    """As lines of a file of one's own are named by their numbers."""
    fake_run(tmp_path, "gmask", aopc=BASE + 0.1, pairs="a")
    fake_run(tmp_path, "imask", aopc=BASE, pairs="a")
    fake_run(tmp_path, "imask", "batch_size=1", aopc=BASE + 0.2, pairs="b")
    files = collected(tmp_path, "table2", "seed=0")
    found = cells(files, "table2.csv")
    assert float(found["IMASK"]["value"]) == pytest.approx(BASE.mean(), abs=1e-3)
    assert "not comparable: 1 run of 12 pairs (imask)" in files["table2.md"].read_text("utf-8")
    (file,) = archive(tmp_path, tmp_path / "kept")
    assert sorted(run.pairs for run in read_archive(file)) == ["a", "a", "b"]


def test_a_model_that_is_read_otherwise_is_another(tmp_path: Path) -> None:
    fake_run(tmp_path, "gmask", aopc=BASE + 0.1)
    fake_run(tmp_path, "gmask", "trainer.precision=bf16-mixed", aopc=BASE - 0.1)
    fake_run(tmp_path, "imask", aopc=BASE)
    files = collected(tmp_path, "table2", "seed=0")
    found = cells(files, "table2.csv")
    assert float(found["GMASK"]["value"]) == pytest.approx(BASE.mean() + 0.1, abs=1e-3)
    assert "not comparable: 1 run of 12 pairs (gmask)" in files["table2.md"].read_text("utf-8")


def test_a_run_of_an_earlier_version_is_no_seed_of_this_one(tmp_path: Path) -> None:
    fake_run(tmp_path, "gmask_two_sided", "seed=0", aopc=BASE)
    earlier = fake_run(tmp_path, "gmask_two_sided", "seed=1", aopc=BASE - 0.4)
    config = OmegaConf.load(earlier / "config.yaml")
    del config.explainer["order_weight"]
    OmegaConf.save(config, earlier / "config.yaml")
    found = cells(collected(tmp_path, "table2"), "table2.csv")
    assert found["gmask_two_sided"]["seeds"] == "1"
    assert found["gmask_two_sided (order_weight=?)"]["seeds"] == "1"
    for asked in ("++explainer.order_weight=3.0", "++explainer.order_weight=10.0"):
        kept = cells(collected(tmp_path, "table2", asked), "table2.csv")
        assert "gmask_two_sided (order_weight=?)" not in kept


def test_whole_numbers_are_one_setting_however_they_are_written(tmp_path: Path) -> None:
    fake_run(tmp_path, "gmask_two_sided", "seed=0", "explainer.order_weight=1", aopc=BASE)
    fake_run(tmp_path, "gmask_two_sided", "seed=1", "explainer.order_weight=1.0", aopc=BASE)
    fake_run(tmp_path, "gmask_two_sided", "seed=2", "explainer.order_weight=3", aopc=BASE)
    found = cells(collected(tmp_path, "table2"), "table2.csv")
    assert found["gmask_two_sided (order_weight=1)"]["seeds"] == "2"
    assert found["gmask_two_sided"]["seeds"] == "1"


def test_seeds_that_are_not_there_are_told(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        fake_run(tmp_path, "gmask", f"seed={seed}", aopc=BASE)
    fake_run(tmp_path, "imask", "seed=1", aopc=BASE)
    fake_run(tmp_path, "occlusion", aopc=BASE)
    said = collected(tmp_path, "table2")["table2.md"].read_text("utf-8")
    assert "1 to 3 seeds of each stochastic method." in said
    assert "not there yet: seed 0 of IMASK; seed 2 of IMASK." in said
    said = collected(tmp_path, "table2", "seed=1")["table2.md"].read_text("utf-8")
    assert "1 seed of each stochastic method." in said
    assert "not there yet" not in said


def test_an_archive_that_is_altered_is_left_out(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = archive(output, tmp_path / "archive")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    collected(tmp_path / "empty", "table2", ASKED, f"archive={file.parent}")
    assert f"left out: {file}: its contents are not those that were" in capsys.readouterr().out
    with pytest.raises(UserError, match="not a file of archived runs"):
        archive(output, file.parent)
    assert file.read_bytes() == data
