"""What Hydra needs before it composes: the names of run folders, and errors as one message."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

T = TypeVar("T")
CONF = Path(__file__).resolve().parents[1] / "conf"  # outside the package: it is the user's too
FULL = (errno.ENOSPC, errno.EDQUOT)
JSON = dict[str, Any]

# Where results go and how they are shown, not what they are.
INDIFFERENT = frozenset(
    ("hydra", "output", "log_dir", "run_name", "explainers_dir", "logger", "workers", "report")
    + ("reuse", "collect", "archive", "beyond", "answers", "max_failed")
)
# Of the trainer: how many processes share the work, which explanations do not depend on.
PLACEMENT = ("devices", "num_nodes", "strategy")
# Of a metric: where other runs find what it has learnt of a pair.
SHARED = "cache"


class Refused(CompactHydraException):
    """A UserError of one job of a multirun; Hydra shows this kind without a traceback."""


def run_key(*, _root_: DictConfig) -> str:
    """A folder name for the settings of a run, as in ``limit=100,seed=1-3f2a9c1b``.

    The same settings get the same folder, however they were asked for: by which command, or for
    which experiment. The hash holds every setting that can change a number, so other settings
    get another folder; the seed takes no part where nothing is drawn.
    """
    settings = deciding_settings(_root_)
    shown = {"limit": settings["limit"]} if "limit" in settings else {}
    if "explainer" not in settings or seeds_of(settings["explainer"]):
        shown["seed"] = _root_["seed"]
    named = ",".join(f"{key}={'all' if value is None else value}" for key, value in shown.items())
    return f"{named}-{digest(settings)}" if named else digest(settings)


def deciding_settings(cfg: DictConfig) -> JSON:
    """The resolved settings that can change a number of a run.

    An explainer that draws at random holds the seed among its own settings, so the seed of the
    whole run decides nothing more, except in training. Of a folder of weights below ``output`` the
    place there; none where other weights are given.
    """
    indifferent = INDIFFERENT | ({"seed"} if "explainer" in cfg else set())
    settings: JSON = {}
    for key in sorted(map(str, cfg.keys() - indifferent)):
        value = cfg[key]
        nested = OmegaConf.is_config(value)
        settings[key] = OmegaConf.to_container(value, resolve=True) if nested else value
    if "explainer" in cfg and "trainer" in settings:
        trainer = settings["trainer"].items()
        settings["trainer"] = {key: value for key, value in trainer if key not in PLACEMENT}
    for metric in settings.get("metric", {}).values():
        if isinstance(metric, dict):
            metric.pop(SHARED, None)
    if settings.get("weights") is not None:
        settings["weights"] = os.path.normpath(settings["weights"])
        settings.pop("weights_dir", None)
    elif "weights_dir" in settings:
        place = os.path.relpath(cfg.weights_dir, cfg.output)
        settings["weights_dir"] = cfg.weights_dir if place.startswith("..") else place
    return settings


def digest(settings: JSON) -> str:
    """Eight hexadecimal digits of settings, whatever the order of their keys; 3 is 3.0."""
    text = json.dumps(plain_numbers(settings), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def plain_numbers(settings: Any) -> Any:
    """Settings in which every whole number is an int: 3.0 is 3."""
    if isinstance(settings, dict):
        return {key: plain_numbers(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [plain_numbers(value) for value in settings]
    whole = isinstance(settings, float) and settings.is_integer()
    return int(settings) if whole else settings


def seeds_of(settings: Any) -> tuple[int, ...]:
    """The values of every ``seed`` within the settings of an explainer; none: it draws nothing."""
    if isinstance(settings, list):
        return tuple(seed for value in settings for seed in seeds_of(value))
    if not isinstance(settings, dict):
        return ()
    own = (settings["seed"],) if settings.get("seed") is not None else ()
    return own + tuple(seed for value in settings.values() for seed in seeds_of(value))


def register() -> None:
    """Make ``${run_key:}`` and ``${given:a,b}``, the first that is not null, known to OmegaConf."""
    OmegaConf.register_new_resolver("run_key", run_key, replace=True)
    OmegaConf.register_new_resolver("given", given, replace=True)


def given(*values: Any) -> Any:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)


def user_facing(main: Callable[..., T]) -> Callable[..., T]:
    """Shows what the user can mend as one message and exits with status 2.

    That is a UserError, or a full disk. Within a multirun it is raised on, so that Hydra records
    the job as failed and goes on.
    """

    @functools.wraps(main)
    def wrapped(*args: object) -> T:
        from hydra.core.hydra_config import HydraConfig

        quieten()
        try:
            return main(*args)
        except Exception as error:
            said = _message(error)
            if said is None or isinstance(error, OSError):
                _leave_no_process_waiting()
            if said is None:
                raise
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise Refused(said) from None
            print(f"\nerror: {said}", file=sys.stderr)
            sys.exit(2)

    return wrapped


def _message(error: Exception) -> str | None:
    """What to tell the user of an error; None where it is a fault of the program."""
    from gmask_pl.types import UserError

    for shown in (error, error.__cause__):  # Hydra wraps what a constructor raises
        if isinstance(shown, UserError):
            return str(shown)
    if isinstance(error, OSError) and error.errno in FULL:
        return (
            f"the disk is full ({error}): make room and start the same command again, it goes on "
            "where it was"
        )
    return None


def _leave_no_process_waiting() -> None:
    """Ends a process that shares its run with others: these would wait for it for ever.

    A mistake of the user needs no such thing, as all processes find it alike.
    """
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def quieten() -> None:
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
