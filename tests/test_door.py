"""The library from outside: what it exports, what it loads, and what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gmask_pl

HEAVY = (
    *("hydra", "omegaconf", "wandb", "matplotlib", "pyarrow", "scipy", "statsmodels", "captum"),
    *("yaml", "jinja2", "torch", "torchmetrics", "pytorch_lightning", "transformers"),
)


def after(code: str) -> subprocess.CompletedProcess[str]:
    """What a process of its own says."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=600
    )


def loaded(*steps: str) -> list[set[str]]:
    """The heavy packages that a process has loaded after each of them."""
    shown = f"; print(*{{*{HEAVY}}} & {{*sys.modules}})\n"
    told = after("import sys\n" + "".join(step + shown for step in steps)).stdout
    return [set(line.split()) for line in told.split("\n")[: len(steps)]]


def test_the_package_alone_loads_nothing() -> None:
    assert loaded("import gmask_pl; dir(gmask_pl)") == [set()]


@pytest.mark.slow
def test_explaining_loads_only_what_the_model_runs_on() -> None:
    """matplotlib and scipy are loaded by torchmetrics itself, wherever they are installed."""
    needed, used = loaded(
        "import pytorch_lightning, transformers",
        "from gmask_pl import GMask, PairExplainer, BertPairClassifier",
    )
    assert used == needed
    assert not needed & {"hydra", "omegaconf", "wandb", "pyarrow", "statsmodels", "captum"}


def test_every_name_is_where_the_stub_has_it() -> None:
    assert "GMask" in gmask_pl.__all__
    assert set(gmask_pl.__all__) <= set(dir(gmask_pl))
    for name, module in gmask_pl._MODULES.items():
        assert getattr(gmask_pl, name).__module__ == f"gmask_pl.{module}"
    with pytest.raises(AttributeError, match="no attribute 'Gmask'"):
        gmask_pl.Gmask  # noqa: B018


SAYING = """
import logging, sys
from gmask_pl.files import warn_once
from gmask_pl.processes import say

def told(key):
    say("said"); warn_once(key, "warned")
    for stream in (sys.stdout, sys.stderr):
        print("end", file=stream, flush=True)

told("usual")
logging.getLogger("gmask_pl").setLevel(logging.ERROR)
told("silent")
logging.getLogger("gmask_pl").setLevel(logging.NOTSET)
logging.basicConfig(level="INFO", format="%(name)s %(message)s")
told("own")
"""


@pytest.mark.slow
def test_what_the_library_says_is_logged() -> None:
    process = after(SAYING)
    assert process.stdout == "end\n" * 3
    usual, silent, own, rest = process.stderr.split("end\n")
    assert (usual, silent, rest) == ("warned\n", "", "")
    assert own == "gmask_pl.processes said\ngmask_pl.files warned\n"


def test_commands_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    from gmask_pl.files import warn_once
    from gmask_pl.pipeline.console import shown
    from gmask_pl.processes import say

    with shown(), shown():
        say("\x1b[31m 100% said")
        warn_once("key", "warned")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("\\x1b[31m 100% said\n", "warning: warned\n")
