"""Collects a table or figure of the paper: ``python -m gmask_pl.engine.collect experiment=table2``.

Takes the overrides that the experiment's runs were made with, so that the two commands are alike:
what they set restricts the runs that count. Runs that are missing are named, with the command that
makes them. Everything goes to ``outputs/paper/<experiment>/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate

from gmask_pl.config import register
from gmask_pl.engine.collectors.base import Collector
from gmask_pl.engine.columns import relative
from gmask_pl.engine.request import read_request
from gmask_pl.engine.runs import leave_out
from gmask_pl.identity.parts import CONF
from gmask_pl.text import terminal
from gmask_pl.types import Unreadable, UserError


def collect(arguments: Sequence[str]) -> list[Path]:
    """The files that were written. Runs that are damaged are told, and left out."""
    register()
    damaged: dict[str, Unreadable] = {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        while True:
            known = len(damaged)
            try:
                request = read_request(arguments, damaged)
                collector: Collector = instantiate(request.cfg.collect)
                return collector(request)
            except Unreadable as error:  # which is seen once a run is asked for what is damaged
                damaged.setdefault(error.place, error)
                if len(damaged) == known:
                    raise
                leave_out(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", help="as of explain.py: experiment=table2 limit=100"
    )
    try:
        files = collect(parser.parse_args().overrides)
    except (UserError, HydraException) as error:
        mistake = error if isinstance(error, UserError) else error.__cause__ or error
        print(f"error: {terminal(str(mistake))}", file=sys.stderr)
        sys.exit(2)
    print(next(file for file in files if file.suffix == ".md").read_text("utf-8"))
    print("\n".join(relative(file) for file in files))


if __name__ == "__main__":
    main()
