"""Explains a model: ``python explain.py`` or ``gmask-explain``, ``explainer=gmask model=bert ...``.

The name of this module is Hydra's name of the job, and so of its log file.
"""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gmask_pl.identity.parts import CONF
from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.hydra_setup import register, user_facing

register()


@command("explain")
def main() -> None:
    from gmask_pl.pipeline.one_pair import explain_in_terminal, pair_of

    pair = pair_of(sys.argv[1:])
    if pair is None:
        run()
    else:
        explain_in_terminal(sys.argv[1:], pair)


@hydra.main(config_path=str(CONF), config_name="explain", version_base="1.3")
@user_facing
def run(cfg: DictConfig) -> None:
    from gmask_pl.pipeline.explaining import explain

    runtime = HydraConfig.get().runtime
    explain(cfg, Path(runtime.output_dir), runtime.choices["explainer"])


if __name__ == "__main__":
    from gmask_pl.commands import explain

    explain.main()  # of the module by its own name, not of __main__
