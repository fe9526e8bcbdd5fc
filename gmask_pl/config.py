"""What Hydra needs before it composes: the resolver of run folders, and errors as one message."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

T = TypeVar("T")
LONGEST = 100


class Refused(CompactHydraException):
    """A UserError of one job of a multirun; Hydra shows this kind without a traceback."""


def run_key(overrides: str) -> str:
    """A folder name for the overrides of a run, as in ``limit=100,seed=1``.

    The same command gets the same folder. What a file name cannot hold is replaced, and a hash
    then keeps different overrides apart. The choice of explainer is left out, as the folder
    above is named by it; not so the choices of its parts, like explainer@explainer.word_filter.
    """
    overrides = re.sub(r"(^|,)explainer=[^,]*", "", overrides).lstrip(",")
    if not overrides:
        return "default"
    name = re.sub(r"[^\w.=,+-]+", "-", overrides)
    if name == overrides and len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.blake2b(overrides.encode(), digest_size=4).hexdigest()}"


def register() -> None:
    """Make ``${run_key:...}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("run_key", run_key, replace=True)


def user_facing(main: Callable[..., T]) -> Callable[..., T]:
    """Shows a UserError as one message and exits with status 2.

    Within a multirun it is raised on, so that Hydra records the job as failed and goes on.
    """

    @functools.wraps(main)
    def wrapped(*args: object) -> T:
        from hydra.core.hydra_config import HydraConfig
        from hydra.errors import InstantiationException

        from gmask_pl.types import UserError

        _quieten()
        try:
            return main(*args)
        except (UserError, InstantiationException) as error:
            # Hydra wraps what a constructor raises.
            shown = error.__cause__ if isinstance(error.__cause__, UserError) else error
            if not isinstance(shown, UserError):
                raise
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise Refused(str(shown)) from None
            print(f"\nerror: {shown}", file=sys.stderr)
            sys.exit(2)

    return wrapped


def _quieten() -> None:
    """Hides advice that the user of these scripts cannot follow, and bars of a few milliseconds."""
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    enable_progress_bars()  # of downloads, which it hides too
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*predict returned None.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings(
        "ignore", message=".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*"
    )
