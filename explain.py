"""Explains a model: ``python explain.py explainer=gmask model=bert dataset=esnli ...``."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.hydra_setup import register, user_facing

register()


@command("explain")
@hydra.main(config_path="conf", config_name="explain", version_base="1.3")
@user_facing
def main(cfg: DictConfig) -> None:
    from gmask_pl.pipeline.explaining import explain

    run = HydraConfig.get().runtime
    explain(cfg, Path(run.output_dir), run.choices["explainer"])


if __name__ == "__main__":
    main()
