"""Trains a task model: ``python train.py model=dattn dataset=mrpc dataset.path=...``."""

import hydra
from omegaconf import DictConfig

from gmask_pl.config import register, user_facing
from gmask_pl.engine.command import command

register()


@command("train")
@hydra.main(config_path="conf", config_name="train", version_base="1.3")
@user_facing
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from gmask_pl.engine.checking import check_settings
    from gmask_pl.engine.schema import Train
    from gmask_pl.engine.train import train

    check_settings(cfg, Train)
    train(cfg, instantiate(cfg.dataset))


if __name__ == "__main__":
    main()
