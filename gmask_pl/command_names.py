"""What a user types: ``python train.py`` in a checkout, ``gmask-train`` where it is installed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_INSTALLED = (Path(__file__).parent / "conf").is_dir()  # from a wheel, without the scripts


def command_name(entry: str) -> str:
    """The name of an entry (``explain``, ``train``, ``collect``): as the one that runs was called.

    >>> from gmask_pl.command_names import command_name
    >>> command_name("train")
    'train.py'
    """
    installed = _INSTALLED or Path(sys.argv[0]).name.startswith("gmask-")
    return f"gmask-{entry}" if installed else f"{entry}.py"


def command_line(entry: str, *arguments: str) -> str:
    """A line for the shell that starts an entry.

    >>> from gmask_pl.command_names import command_line
    >>> command_line("explain", "limit=5", "dataset.labels=[no,yes]")
    "python explain.py limit=5 'dataset.labels=[no,yes]'"
    """
    name = command_name(entry)
    return shlex.join([*["python"] * name.endswith(".py"), name, *arguments])


def typed_path(path: Path) -> str:
    """A path as the user would type it."""
    here, full = Path.cwd(), path.absolute()
    return str(full.relative_to(here) if full.is_relative_to(here) else path)
