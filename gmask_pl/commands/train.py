"""Trains a task model: ``python train.py`` or ``gmask-train``, ``model=dattn dataset=mrpc ...``.

The name of this module is Hydra's name of the job, and so of its log file.
"""

import hydra
from omegaconf import DictConfig

from gmask_pl.identity.parts import CONF
from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.hydra_setup import register, user_facing

register()


@command("train")
@hydra.main(config_path=str(CONF), config_name="train", version_base="1.3")
@user_facing
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from gmask_pl.pipeline.settings_check import check_settings
    from gmask_pl.pipeline.settings_schema import Train
    from gmask_pl.pipeline.training import Training

    check_settings(cfg, Train)
    Training(cfg, instantiate(cfg.dataset)).run()


if __name__ == "__main__":
    from gmask_pl.commands import train

    train.main()  # of the module by its own name, not of __main__
