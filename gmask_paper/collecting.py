"""Collects a table or figure of the paper: ``python collect.py experiment=table2``.

Takes the overrides that the experiment's runs were made with, so that the two commands are alike:
what they set restricts the runs that count. Runs that are missing are named, with the command that
makes them. Everything goes to ``outputs/paper/<experiment>/``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gmask_paper.collector import Collect, Collector
from gmask_paper.run_query import OWN, RunQuery, read_query
from gmask_pl.command_names import command_name, typed_path
from gmask_pl.identity.parts import CONF
from gmask_pl.pipeline.command import command, no_choice
from gmask_pl.pipeline.hydra_setup import choices, register
from gmask_pl.pipeline.run_settings import leave_out
from gmask_pl.pipeline.settings_check import check_settings
from gmask_pl.types import Unreadable, UserError


def collect(arguments: Sequence[str]) -> list[Path]:
    """The files that were written. Runs that are damaged are told, and left out."""
    register()
    damaged: dict[str, Unreadable] = {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        while True:
            known = len(damaged)
            try:
                query = read_query(arguments, damaged)
                check_query(query, arguments)
                collector: Collector = instantiate(query.cfg.collect)
                return collector(query)
            except Unreadable as error:  # which is seen once a run is asked for what is damaged
                damaged.setdefault(error.place, error)
                if len(damaged) == known:
                    raise
                leave_out(error)


def check_query(query: RunQuery, arguments: Sequence[str]) -> None:
    """Raises UserError for settings that cannot be, of all that is swept.

    A setting of explainers need not be one of each: it restricts the runs of those that have it.
    """
    given = OverridesParser.create().parse_overrides(list(arguments))
    try:
        check_settings(query.cfg, Collect)
    except UserError:
        own = any(o.get_key_element().lstrip("+").startswith("explainer.") for o in given)
        if not own or not any(_fits(name, given) for name in query.swept["explainer"][1:]):
            raise
    for override in given:
        group = override.get_key_element()
        if not override.is_sweep_override():
            continue
        known = choices(group.partition("@")[0])
        for value in override.sweep_string_iterator():
            if known and value not in known:
                raise UserError(no_choice(group, value))
            if not known:
                changed = query.cfg.copy()
                OmegaConf.update(changed, group, OmegaConf.create(f"value: {value}").value)
                check_settings(changed, Collect)


def _fits(explainer: str, given: Sequence[Override]) -> bool:
    """Whether an explainer takes the settings that are given."""
    plain = [
        override.input_line or ""
        for override in given
        if not override.is_sweep_override() and override.get_key_element() != "explainer"
    ]
    try:
        check_settings(compose("explain", [*OWN, *plain, f"explainer={explainer}"]), Collect)
    except (UserError, HydraException):
        return False
    return True


@command("explain", Collect, OWN)
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    as_of = command_name("explain")
    parser.add_argument("overrides", nargs="*", help=f"as of {as_of}: experiment=table2 limit=100")
    files = collect(parser.parse_args().overrides)
    print(next(file for file in files if file.suffix == ".md").read_text("utf-8"))
    print("\n".join(map(typed_path, files)))


if __name__ == "__main__":
    main()
