"""The wheel: what it holds, and that it works in an environment that knows no checkout."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import HANG, ROOT, within

from gmask_pl import __version__

pytestmark = pytest.mark.slow
NOT_SOURCE = (".*", "outputs", "multirun", "build", "dist", "*.egg-info", "__pycache__")
KINDS = ("*.py", "*.j2", "*.css", "*.mjs", "*.yaml")
SMALL = (
    "dataset.train_size=300",
    "dataset.dev_size=60",
    "dataset.test_size=60",
    "model.fit.max_epochs=1",
)


def called(
    folder: Path, *command: str | Path, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """What a command does in a folder, for somebody who is logged in nowhere."""
    hidden = ("PYTHON", "PIP_", "WANDB_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    environment |= {"HF_HUB_OFFLINE": "1", "NETRC": os.devnull}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )


TOGETHER = """
import contextlib, io, json, runpy, sys
from hydra.core.global_hydra import GlobalHydra
for sys.argv in json.load(sys.stdin):
    told, complained, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(complained):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
    GlobalHydra.instance().clear()
    print(json.dumps([code, told.getvalue(), complained.getvalue()]))
"""


def together(
    installed: Path, folder: Path, *commands: Sequence[str]
) -> list[subprocess.CompletedProcess[str]]:
    """What commands of the environment do one after the other in one process of it."""
    typed = [[str(installed / name), *settings] for name, *settings in commands]
    done = called(folder, installed / "python", "-c", TOGETHER, given=json.dumps(typed))
    assert done.returncode == 0, done.stderr[-2000:]
    found = map(json.loads, done.stdout.splitlines())
    return [
        subprocess.CompletedProcess(*it)
        for it in zip(typed, *zip(*found, strict=True), strict=True)
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout in which there are runs, and an earlier build."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    for left in ("outputs/config.yaml", "build/lib/gmask_pl/conf/explainer/gone.yaml"):
        (source / left).parent.mkdir(parents=True)
        (source / left).write_text("a: 1\n", "utf-8")
    alone = ("--no-deps", "--no-index", "--no-build-isolation")
    built = called(work, sys.executable, "-m", "pip", "wheel", *alone, "-w", work, source)
    assert built.returncode == 0, built.stderr[-2000:]
    (file,) = work.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The folder of the commands of an environment that has the wheel.

    What it depends on is that of this environment, whose own .pth files, and so an editable
    install, are not read.
    """
    environment = wheel.parent / "environment"
    venv.create(environment, symlinks=True)
    commands = environment / "bin"
    pip = ("-m", "pip", "--python", commands / "python", "install", "--no-deps", "--no-index")
    done = called(wheel.parent, sys.executable, *pip, wheel)
    assert done.returncode == 0, done.stderr[-2000:]
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anywhere")


@pytest.fixture(scope="module")
def explained(installed: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """An explanation by the command, of a model that it trains first."""
    return called(folder, installed / "gmask-explain", *SMALL, "limit=2", "explainer.k=4")


def test_the_wheel_holds_the_packages_and_their_settings_alone(wheel: Path) -> None:
    packages = [ROOT / "gmask_pl", ROOT / "gmask_paper"]
    files = [f for p in packages for kind in KINDS for f in p.rglob(kind)]
    files += [package / "py.typed" for package in packages]
    files += packages[0].glob("*.pyi")
    expected = {str(file.relative_to(ROOT)) for file in files}
    expected |= {f"gmask_pl/{f.relative_to(ROOT)}" for f in (ROOT / "conf").rglob("*.yaml")}
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if not name.endswith("/")}
    about = f"gmask_pl-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == expected
    assert f"{about}licenses/LICENSE" in names


def test_it_explains_by_its_command(
    explained: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert explained.returncode == 0, explained.stderr[-2000:]
    (page,) = folder.glob("outputs/explain/planted_bert_tiny/gmask/*/report.html")
    assert (page.parent / "explain.log").is_file()
    assert (folder / "outputs/models/planted_bert_tiny/model.safetensors").is_file()


def test_it_explains_from_python(
    explained: subprocess.CompletedProcess[str], installed: Path, folder: Path
) -> None:
    assert explained.returncode == 0
    program = """
import gmask_paper, gmask_pl
from gmask_pl import Occlusion, PairExplainer, TinyBert
model = TinyBert.from_weights("outputs/models/planted_bert_tiny")
explain = PairExplainer(model, method=Occlusion())
(found,) = explain.many([("a cat sleeps", "an animal rests")])
print(gmask_pl.__file__, gmask_paper.__file__, len(found.scores), sep="\\n")
"""
    done = called(folder, installed / "python", "-c", program)
    assert done.returncode == 0, done.stderr[-2000:]
    *files, words = done.stdout.splitlines()
    assert all(Path(file).is_relative_to(installed.parent) for file in files)
    assert words == "6"


@pytest.mark.parametrize("launcher", ["joblib", "local"])
def test_a_sweep_in_other_processes_is_collected_by_the_command_that_it_ends_with(
    explained: subprocess.CompletedProcess[str], installed: Path, folder: Path, launcher: str
) -> None:
    """The experiments of the paper are found, as is what launchers hand to other processes."""
    plugin = {"joblib": "joblib", "local": "submitit"}[launcher]
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    assert explained.returncode == 0
    few = ("limit=2", "seed=0", "metric=[aopc]", "model=bert_tiny", "dataset=planted", *SMALL)
    sweep = ("experiment=table2", "explainer=random", f"hydra/launcher={launcher}")
    output = f"output={launcher}"
    weights = "weights=outputs/models/planted_bert_tiny"
    done = called(folder, installed / "gmask-explain", *sweep, *few, output, weights)
    assert done.returncode == 0, done.stderr[-2000:]
    name, *settings = shlex.split(done.stdout.splitlines()[-1].removeprefix("to collect: "))
    assert name == "gmask-collect"
    asked = ("explainer=random,imask", "collect.resamples=50", "collect.permutations=50")
    collected = called(folder, installed / name, *settings, *asked)
    assert collected.returncode == 0, collected.stderr[-2000:]
    assert "no run yet: `gmask-explain experiment=table2 model=bert_tiny" in collected.stdout
    assert (folder / launcher / "paper/table2/table2.md").is_file()


def test_settings_are_checked_as_in_a_checkout(
    installed: Path, folder: Path, tmp_path: Path
) -> None:
    commands = [
        ("explain", "batchsize=4"),
        ("explain", "dataset=esnli", "dataset.path=none", "explainer.k=0", "trainer.devices=x"),
        ("train", "explainer=random"),
        ("collect", "experiment=table2", "beyond=0"),
    ]
    named = [(f"gmask-{name}", *settings) for name, *settings in commands]
    for (name, *settings), there in zip(commands, together(installed, folder, *named), strict=True):
        here = within(str(ROOT / f"{name}.py"), tmp_path, *settings)
        assert (here.returncode, there.returncode) == (2, 2)
        assert there.stderr == here.stderr.replace(f"{name}.py", f"gmask-{name}")


def test_the_check_of_a_model_is_a_command(
    explained: subprocess.CompletedProcess[str], installed: Path, folder: Path
) -> None:
    assert explained.returncode == 0
    check, weights = "gmask-check", "weights=outputs/models/planted_bert_tiny"
    told, missing = together(installed, folder, (check, weights), (check, "output=nowhere"))
    assert told.returncode == 0, told.stderr[-2000:]
    assert "a softmax over classes: " in told.stdout
    assert missing.returncode == 2
    assert "or run gmask-train first" in missing.stderr
