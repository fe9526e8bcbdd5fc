"""Where a run writes, tried before Hydra and the run do."""

from __future__ import annotations

import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from gmask_pl.files import check_folder
from gmask_pl.types import UserError


def check_places(cfg: DictConfig) -> None:
    """Raises UserError where results cannot be written, or a folder that is named is a file.

    Whether folders that are kept for other runs can be written is seen later, and ends no run.
    """
    check_folder("output", cfg.output)
    for setting in ("response_cache", "explainers_dir"):
        if cfg.get(setting) is not None:
            check_folder(setting, cfg[setting], written=False)


class Places(Callback):
    """Tries the places of a run before Hydra makes its folders, which would end in a traceback."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            check_places(config)
        except UserError as error:
            print(f"\nerror: {error}", file=sys.stderr)
            sys.exit(2)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.on_run_start(config)
