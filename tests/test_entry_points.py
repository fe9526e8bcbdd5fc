"""The two scripts as a user starts them: offline, from a folder of their own."""

from __future__ import annotations

import json
import math
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from conftest import HANG, within
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
SMALL = (
    "dataset.train_size=300",
    "dataset.dev_size=60",
    "dataset.test_size=60",
    "model.fit.max_epochs=1",
)


def started(script: str, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Starts a script as somebody who is logged in nowhere."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    environment |= {"HF_HUB_OFFLINE": "1", "NETRC": os.devnull}
    return subprocess.run(
        [sys.executable, str(ROOT / script), *overrides],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )


def run(script: str, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """What a script of the project, or a module, does within this process."""
    return within(str(ROOT / script) if script.endswith(".py") else script, folder, *overrides)


PREPARED = """
import json, os, runpy, signal, sys
import gmask_pl.pipeline.explaining
for line in sys.stdin:
    folder, told, complained, *arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        for number, path in enumerate((os.devnull, told, complained)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
        # Tests that run in the background have been told to ignore Ctrl-C, and so would this.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = arguments
        runpy.run_path(sys.argv[0], run_name="__main__")
        break
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def prepared() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has imported everything, and starts another one for each line it reads."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PREPARED]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, bufsize=0, **pipes) as process:
        yield process


def forked(
    prepared: subprocess.Popen[bytes],
    folder: Path,
    *overrides: str,
    asked: signal.Signals | None = None,
    when: tuple[str, int] = ("", 0),
) -> subprocess.CompletedProcess[str]:
    """What explain.py does in a process of its own, started without the time to import.

    asked: a signal that it gets when there are so many files of a pattern.
    """
    assert prepared.stdin is not None
    assert prepared.stdout is not None
    texts = [folder / f"{stream}-{time.monotonic_ns()}" for stream in ("told", "complained")]
    command = [str(ROOT / "explain.py"), *overrides]
    order = [str(folder), *map(str, texts), *command]
    prepared.stdin.write(json.dumps(order).encode() + b"\n")
    process = int(prepared.stdout.readline())
    try:
        if asked is not None:
            pattern, count = when
            end = time.monotonic() + HANG
            while len(list(folder.glob(pattern))) < count and time.monotonic() < end:
                early = select.select([prepared.stdout], [], [], 0.002)[0]
                assert not early, f"the run ended before it was asked to: {texts[1].read_text()}"
            os.kill(process, asked)
        assert select.select([prepared.stdout], [], [], HANG)[0], "the run does not end"
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise
    status = int(prepared.stdout.readline())
    return subprocess.CompletedProcess(command, status, *(file.read_text() for file in texts))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def first(folder: Path) -> subprocess.CompletedProcess[str]:
    """An explanation without weights: it trains first."""
    return started("explain.py", folder, *SMALL, "limit=5", "explainer.k=4", "logger=[csv,wandb]")


def test_explain_trains_first_and_leaves_everything(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert first.returncode == 0, first.stderr[-2000:]
    assert "no weights at outputs/models/planted_bert_tiny: training" in first.stdout
    (metrics,) = folder.glob("outputs/explain/planted_bert_tiny/gmask/*/metrics.json")
    left = {path.name for path in metrics.parent.iterdir()}
    assert {"curves.csv", "explanations.parquet", "report.html", "config.yaml", "wandb"} <= left
    assert "pair_scores.parquet" in left
    found = json.loads(metrics.read_text())
    assert found["aopc"]["n"] == 5
    assert len(found["post_hoc_accuracy"]["by_v"]) == 10
    assert found["evidence"]["n"] == 5
    assert found["cost"]["gradients_per_pair"] == 0
    weights = folder / "outputs/models/planted_bert_tiny"
    assert {"model.safetensors", "config.json", "training.json"} <= {
        path.name for path in weights.iterdir()
    }
    assert not list(folder.rglob("*.ckpt"))
    logs = [(metrics.parent / part / "metrics.csv").read_text() for part in ("training/csv", "csv")]
    assert "dev/accuracy" in logs[0]
    assert "aopc/value" in logs[1]


def test_a_multirun_puts_its_runs_side_by_side(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert first.returncode == 0
    settings = ("-m", "explainer=imask,random", "limit=3", "metric.removal=[pad,mask]")
    asked = ("question.target=entailment", "question.against=neutral")
    found = run("explain.py", folder, *settings, *asked, *SMALL)
    assert found.returncode == 0, found.stderr[-2000:]
    summary = found.stdout[found.stdout.rindex("\nrun ") :]
    assert "imask" in summary
    assert "random" in summary
    assert summary.count("report.html") == 2
    assert {"imask (pad)", "random (mask)"} <= {line[:13].strip() for line in summary.split("\n")}
    assert "pad, mask (2 runs): aopc" in summary


def test_two_experiments_share_their_runs_and_are_collected(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert first.returncode == 0
    metrics = "metric=[aopc,degradation]"
    asked = (*SMALL, "model=bert_tiny", "dataset=planted", "limit=4", metrics, "seed=0,1")
    made = run("explain.py", folder, "experiment=table2", "explainer=random,occlusion", *asked)
    assert made.returncode == 0, made.stderr[-2000:]
    there = "these results were there already"
    assert made.stdout.count(there) == 1  # occlusion draws nothing: one run for both seeds
    again = run("explain.py", folder, "experiment=table4", "explainer=random", *asked)
    assert again.stdout.count(there) == 2
    command = again.stdout.splitlines()[-1].removeprefix("to collect: python ")
    script, *choices = shlex.split(command)
    collected = run(script, folder, *choices, "collect.resamples=50", "collect.permutations=50")
    assert collected.returncode == 0, collected.stderr[-2000:]
    assert "4 test pairs, words removed by pad" in collected.stdout
    assert "2 seeds of each stochastic method" in collected.stdout
    left = {path.name for path in (folder / "outputs/paper/table4").iterdir()}
    forms = {f"table4.{form}" for form in ("md", "tex", "csv")}
    assert left == forms | {"table4_differences.md", "table4_differences.csv"}


EXPLAINED = "cut/explanations/*/explained-*.parquet"
SCORED = "cut/explain/*/*/*/unfinished-*/scored-*.parquet"


def test_a_run_that_is_killed_goes_on_where_it_was(
    first: subprocess.CompletedProcess[str], prepared: subprocess.Popen[bytes], folder: Path
) -> None:
    assert first.returncode == 0
    settings = ("weights=outputs/models/planted_bert_tiny", "explainer.k=6", "batch_size=2")
    settings += ("explainer.word_filter.epochs=5", "explainer.fit.epochs=20")
    settings += ("limit=40", "metric=[aopc,degradation,evidence]", "metric.removal=[pad,mask]")
    settings += SMALL
    for moment in ((EXPLAINED, 3), (EXPLAINED, 12), (SCORED, 4)):
        cut = forked(prepared, folder, *settings, "output=cut", asked=signal.SIGKILL, when=moment)
        assert cut.returncode == -signal.SIGKILL
    last = run("explain.py", folder, *settings, "output=cut")
    assert last.returncode == 0, last.stderr[-2000:]
    assert "of 20 batches were scored before" in last.stdout
    assert "explained before" not in last.stdout
    whole = run("explain.py", folder, *settings, "output=whole")
    assert whole.returncode == 0, whole.stderr[-2000:]
    cut, uncut = (folder.glob(f"{o}/explain/*/gmask/*") for o in ("cut", "whole"))
    (one,), (other,) = list(cut), list(uncut)
    for name in ("explanations.parquet", "pair_scores.parquet"):
        tables = [pyarrow.parquet.read_table(path / name) for path in (one, other)]
        if name == "explanations.parquet":
            tables = [table.drop_columns(["seconds"]) for table in tables]
        assert tables[0].equals(tables[1])
    results = [json.loads((path / "metrics.json").read_text()) for path in (one, other)]
    for found in results:
        del found["cost"]["seconds_per_pair"]
    assert results[0] == results[1]
    assert not list(one.glob("unfinished-*"))
    again = run("explain.py", folder, *settings, "output=cut")
    assert "these results were there already" in again.stdout


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_end_keeps_what_is_done(
    first: subprocess.CompletedProcess[str],
    prepared: subprocess.Popen[bytes],
    folder: Path,
    asked: signal.Signals,
) -> None:
    assert first.returncode == 0
    settings = (*SMALL, "weights=outputs/models/planted_bert_tiny", "explainer=lime")
    settings += ("explainer.samples=300", "batch_size=1", "limit=30", "metric=[aopc]")
    settings += (f"output={asked.name}",)
    kept = EXPLAINED.replace("cut", asked.name)
    cut = forked(prepared, folder, *settings, asked=asked, when=(kept, 3))
    assert cut.returncode not in (0, -asked)  # by itself, and not as if all were done
    assert "Traceback" not in cut.stderr
    done = len(list(folder.glob(kept)))
    assert 3 <= done < 30
    last = run("explain.py", folder, *settings)
    assert last.returncode == 0
    assert f"{done} of 30 batches were explained before" in last.stdout


def test_other_metrics_score_the_same_explanations(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert first.returncode == 0
    same = (*SMALL, "limit=5", "explainer.k=4")
    found = run("explain.py", folder, *same, "metric=[sufficiency]")
    assert found.returncode == 0, found.stderr[-2000:]
    assert "explanations of the same explainer, model and pairs are there" in found.stdout
    runs = folder.glob("outputs/explain/planted_bert_tiny/gmask/limit=5*/explanations.parquet")
    one, other = (pyarrow.parquet.read_table(file) for file in runs)
    assert one.equals(other)  # the seconds too: nothing was explained again
    again = run("explain.py", folder, *same, "metric=[sufficiency]", "reuse=false")
    assert "already" not in again.stdout
    assert "explanations of the same" not in again.stdout


def test_any_number_of_processes_explains_alike(
    first: subprocess.CompletedProcess[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes for two batches, run after run, and what one process gives.

    To the last digit with as many threads in each: these change the order of sums.
    """
    assert first.returncode == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = (*SMALL, "weights=outputs/models/planted_bert_tiny", "limit=3", "batch_size=2")
    settings = ("-m", "explainer=gmask,imask", *settings)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one = run("explain.py", folder, *settings, "output=one")
    torch.set_num_threads(threads)
    several = ("output=several", "trainer=ddp", "trainer.devices=3")
    found = started("explain.py", folder, *settings, *several)
    assert (one.returncode, found.returncode) == (0, 0), found.stderr[-2000:]
    assert found.stdout.count("gmask: several") == 1  # only one process tells
    for explainer in ("gmask", "imask"):
        (a,), (b,) = (
            folder.glob(f"{o}/explain/*/{explainer}/*/metrics.json") for o in ("one", "several")
        )
        tables = [pyarrow.parquet.read_table(f.parent / "explanations.parquet") for f in (a, b)]
        assert tables[0].drop_columns(["seconds"]).equals(tables[1].drop_columns(["seconds"]))
        results = [json.loads(file.read_text()) for file in (a, b)]
        for result in results:
            del result["cost"]["seconds_per_pair"]
        assert results[0] == results[1]


def test_two_processes_train_and_learn_together(folder: Path) -> None:
    """Uneven splits: 61 pairs to test, so one process reads 31 and the other 30."""
    settings = ("trainer=ddp", "trainer.devices=2", "output=pair", *SMALL[:2])
    settings += ("model.fit.max_epochs=1", "dataset.test_size=61", "limit=5")
    learner = ("explainer=l2x", "explainer.epochs=1", "explainer.train_pairs=101")
    found = started("explain.py", folder, *settings, *learner)
    assert found.returncode == 0, found.stderr[-2000:]
    summary = json.loads((folder / "pair/models/planted_bert_tiny/training.json").read_text())
    assert summary["accuracy"]["test"] * 61 == pytest.approx(
        round(summary["accuracy"]["test"] * 61), abs=1e-4
    )
    (file,) = folder.glob("pair/explain/planted_bert_tiny/l2x/*/metrics.json")
    results = json.loads(file.read_text())
    assert results["preparation"]["evaluations"] == results["preparation"]["pairs"] == 101
    assert results["model"]["n"] == results["aopc"]["n"] == 5


def test_own_pairs_by_a_stored_model_in_word_pieces(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    """Without labels, by an explicit label order; one longer than the model reads, one empty."""
    assert first.returncode == 0
    pairs = [("A cat sleeps.", "An animal rests."), ("the dog barked " * 30, "unbelievable noise")]
    pairs += [("Nothing follows.", " ")]
    lines = [json.dumps({"text1": one, "text2": two}) for one, two in pairs]
    (folder / "my.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    settings = (
        "model=bert",
        "weights=outputs/models/planted_bert_tiny",
        "dataset=pairs",
        "dataset.path=my.jsonl",
        "dataset.labels=[no,maybe,yes]",
        "unit=token",
        "explainer.k=4",
        "model.net.max_length=24",
    )
    strict = run("explain.py", folder, *settings, "label_order=[yes,maybe,no]")
    assert strict.returncode == 2
    assert "1 of 3 lines of the test split hold no pair: my.jsonl:3: text 2 is" in strict.stderr
    settings += ("max_failed=0.4",)
    found = run("explain.py", folder, *settings, "label_order=[yes,maybe,no]")
    assert found.returncode == 0, found.stderr[-2000:]
    assert "1 of 2 pairs are longer than the model reads: truncated" in found.stdout
    (file,) = folder.glob("outputs/explain/pairs_bert/gmask/*/explanations.parquet")
    rows = pyarrow.parquet.read_table(file).to_pylist()
    assert [row["label"] for row in rows] == [None, None]
    pieces = [*rows[1]["words1"], *rows[1]["words2"]]
    assert any(piece.startswith("##") for piece in pieces)
    refused = run("explain.py", folder, *settings, "label_order=[yes,no,no]")
    assert refused.returncode == 2
    assert "label_order" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_model_that_does_not_answer_about_some_pairs(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    """Weights that are no number where one word piece is read."""
    assert first.returncode == 0
    weights = folder / "silent"
    shutil.copytree(folder / "outputs/models/planted_bert_tiny", weights)
    tensors = load_file(weights / "model.safetensors")
    (name,) = (name for name in tensors if name.endswith("word_embeddings.weight"))
    vocabulary = json.loads((weights / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    tensors[name][vocabulary["park"]] = math.nan
    save_file(tensors, weights / "model.safetensors", metadata={"format": "pt"})
    settings = (*SMALL, "weights=silent", "explainer=occlusion", "metric=[aopc]", "limit=null")
    found = run("explain.py", folder, *settings)
    assert found.returncode == 2
    told = re.search(r"error: (\d+) of 60 pairs failed and are left out: .*=0.01", found.stderr)
    assert told is not None
    (file,) = folder.glob("outputs/explain/planted_bert_tiny/occlusion/limit=all*/metrics.json")
    results = json.loads(file.read_text("utf-8"))
    rows = pyarrow.parquet.read_table(file.parent / "explanations.parquet").to_pylist()
    failed = results["failed"]["explaining"]
    assert 0 < len(failed) == int(told[1]) == 60 - len(rows) == 60 - results["aopc"]["n"]
    assert not failed.keys() & {row["id"] for row in rows}
    assert not any("park" in row["words1"] + row["words2"] for row in rows)
    assert "Failed in explaining" in (file.parent / "report.html").read_text("utf-8")
    again = run("explain.py", folder, *settings, "max_failed=1")
    assert again.returncode == 0
    assert f"{told[1]} of 60 pairs failed" in again.stdout
    assert "already" in again.stdout
    other = run("explain.py", folder, *settings, "max_failed=1", "metric=[sufficiency]")
    assert "explanations of the same explainer, model and pairs are there" in other.stdout
    (file,) = set(folder.glob("outputs/explain/*/occlusion/limit=all*/metrics.json")) - {file}
    results = json.loads(file.read_text("utf-8"))
    assert results["failed"]["explaining"] == failed
    assert results["sufficiency"]["n"] == 60 - len(failed)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["trainer=ddp", "trainer.devices=3", "output=odd"], "cannot be shared by 3 processes"),
        (["trainer.accelerator=abacus"], "abacus"),
        (["label_order=[a,b]"], "weights"),
    ],
)
def test_what_cannot_be_run_is_one_message(folder: Path, overrides: list[str], named: str) -> None:
    found = run("explain.py", folder, *SMALL, *overrides)
    assert found.returncode == 2
    assert named in found.stderr
    assert "Traceback" not in found.stderr


def test_a_multirun_shows_a_mistake_without_a_traceback(
    first: subprocess.CompletedProcess[str], prepared: subprocess.Popen[bytes], folder: Path
) -> None:
    assert first.returncode == 0
    found = forked(prepared, folder, "-m", "explainer=random", "limit=0,2", *SMALL)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    told = "1 of 2 runs failed:\nlimit=0: limit=0: give a whole number from 1 or null"
    assert told in found.stdout


def test_training_counts_the_pairs_it_truncates(folder: Path) -> None:
    found = run("train.py", folder, *SMALL, "model.net.max_length=16", "output=short")
    assert found.returncode == 0, found.stderr[-2000:]
    summary = json.loads((folder / "short/models/planted_bert_tiny/training.json").read_text())
    assert set(summary["truncated"]) == {"train", "dev", "test"}
    count = summary["truncated"]["train"]
    assert 0 < count <= 300
    assert f"{count} of 300 train pairs are truncated" in found.stdout


def test_a_wrong_path_is_one_message(folder: Path) -> None:
    found = run("train.py", folder, "model=dattn", "dataset=mrpc", "dataset.path=/no/such/folder")
    assert found.returncode == 2
    assert "error: " in found.stderr
    assert "/no/such/folder" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_missing_split_names_the_folder(folder: Path) -> None:
    (folder / "empty").mkdir()
    found = run("train.py", folder, "model=dattn", "dataset=mrpc", "dataset.path=empty")
    assert found.returncode == 2
    assert "dataset.path=empty: no train split" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_model_that_cannot_be_fetched_names_the_setting(folder: Path) -> None:
    found = run("train.py", folder, "model=bert", "dataset=planted", *SMALL)
    assert found.returncode == 2
    assert "model.pretrained" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "estimators",
            ("--pairs=2", "--released-pairs=1", "--repeats=1", "explainer.sampling.samples=5"),
        ),
        ("references", ("--pairs=2", "--samples=20", "--repeats=1")),
        (
            "growth",
            ("--pairs=2", "--k=3", "--times=2", "--groups=3", "--memory-pairs=5", "--repeats=1"),
        ),
        ("utilisation", ("--pairs=2", "--k=3", "--matrix=256", "--repeats=1")),
        (
            "group_stability",
            ("--pairs=2", "--explainers=joint_groups", "--seeds=1", "--removals=delete"),
        ),
    ],
)
def test_a_benchmark_runs(
    first: subprocess.CompletedProcess[str], folder: Path, name: str, options: tuple[str, ...]
) -> None:
    assert first.returncode == 0
    found = run(f"benchmarks.{name}", folder, *options, *SMALL)
    assert found.returncode == 0, found.stderr[-2000:]
    rows = json.loads((folder / f"outputs/benchmarks/{name}.json").read_text())["rows"]
    signed = ("aopc", "rand", "tau")
    costs = [
        v
        for row in rows
        for k, v in row.items()
        if isinstance(v, float) and not any(name in k for name in signed)
    ]
    assert all(value >= 0 for value in costs)
    assert any(value > 0 for value in costs)
