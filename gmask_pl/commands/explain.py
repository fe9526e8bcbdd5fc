"""Explains a model: ``python explain.py`` or ``gmask-explain``, ``explainer=gmask model=bert ...``.

The name of this module is Hydra's name of the job, and so of its log file.
"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gmask_pl.identity.parts import CONF
from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.hydra_setup import register, user_facing

register()


@command("explain")
@hydra.main(config_path=str(CONF), config_name="explain", version_base="1.3")
@user_facing
def main(cfg: DictConfig) -> None:
    from gmask_pl.pipeline.explaining import explain

    run = HydraConfig.get().runtime
    explain(cfg, Path(run.output_dir), run.choices["explainer"])
