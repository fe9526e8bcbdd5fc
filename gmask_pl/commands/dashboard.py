"""Builds a dashboard in Weights & Biases: ``gmask-dashboard entity=NAME out=FILE``.

It compares the explainers of all runs, or with experiment=NAME of that sweep, and then makes a
report of it, too. Which metrics it shows first, metric=[...] says as for explain.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from gmask_pl.command_names import typed_path
from gmask_pl.files import check_name, write_text
from gmask_pl.identity.parts import CONF, TARGET, kind_of
from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.hydra_setup import choices, register
from gmask_pl.pipeline.settings_check import check_settings
from gmask_pl.pipeline.settings_schema import Dashboard
from gmask_pl.types import UserError

OWN = ("+dashboard=defaults", "logger=[wandb]")  # what explain.py does not have
TAKEN = ("entity", "project", "out", "save", "metric", "experiment")


def dashboard_settings(arguments: Sequence[str]) -> tuple[DictConfig, str | None]:
    """The checked settings, and the name of the experiment, if one is chosen."""
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        key = override.get_key_element().lstrip("+~")
        if key not in TAKEN and not key.startswith("metric."):
            raise UserError(
                f"{override.input_line}: a dashboard shows runs of all settings; it takes "
                f"{', '.join(TAKEN)}"
            )
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", [*OWN, *arguments], return_hydra_config=True)
    experiment = cfg.hydra.runtime.choices.experiment
    check_settings(cfg, Dashboard)
    if cfg.entity is None:
        raise UserError("entity=null: name the user or team of W&B, as in entity=NAME")
    if cfg.out is None and not cfg.save:
        raise UserError("out=null: name a file, as in out=dashboard.json, or send it by save=true")
    if cfg.out is not None:
        check_name(Path(cfg.out))
    return cfg, experiment


def build(arguments: Sequence[str]) -> list[str]:
    """Builds what the settings ask for; the places where it is."""
    cfg, experiment = dashboard_settings(arguments)
    if find_spec("wandb_workspaces") is None:
        raise UserError("gmask-dashboard needs wandb-workspaces: pip install wandb-workspaces")
    from gmask_pl.pipeline.report.dashboard import boards, save

    metrics = {str(k): kind_of(v[TARGET]) for k, v in cfg.metric.items() if k != "removal"}
    others = {name: name for name in choices("metric") if name not in metrics}
    built = boards(cfg.entity, cfg.project, metrics, others, experiment)
    places = []
    if cfg.out is not None:
        text = json.dumps(built.specification, ensure_ascii=False, indent=2)
        places.append(typed_path(write_text(Path(cfg.out), text + "\n")))
    return [*places, *(save(built) if cfg.save else [])]


@command("explain", Dashboard, OWN)
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overrides", nargs="*", help="entity=NAME out=FILE experiment=table2")
    print("\n".join(build(parser.parse_args().overrides)))


if __name__ == "__main__":
    main()
