"""What Hydra needs before it composes: the names of run folders, and errors as one message."""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gmask_pl.escaping import terminal
from gmask_pl.files import FULL
from gmask_pl.identity.parts import config_folders, described
from gmask_pl.identity.setting_roles import (
    EXPLAIN,
    TRAIN,
    Told,
    digest_of,
    folder_settings,
    place_of,
    seeds_of,
)
from gmask_pl.pipeline.console import shown
from gmask_pl.types import JSON, UserError

T = TypeVar("T")


def choices(group: str) -> tuple[str, ...]:
    """The names of a group's YAML files; () where there is no such group."""
    return tuple(
        sorted({path.stem for conf in config_folders() for path in (conf / group).glob("*.yaml")})
    )


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
    key = digest_of(settings, size=4)
    return f"{named}-{key}" if named else key


def deciding_settings(cfg: DictConfig) -> JSON:
    """The resolved settings that can change a number of a run, see `folder_settings`."""
    table = EXPLAIN if "explainer" in cfg else TRAIN
    settings: JSON = {}
    for key in map(str, cfg):
        # Where results go may not be known yet, but for what weights are found below.
        if key == "output" or place_of(key, table) is not Told.NOT:
            value = cfg[key]
            nested = OmegaConf.is_config(value)
            settings[key] = OmegaConf.to_container(value, resolve=True) if nested else value
    return folder_settings(described(settings))


def register() -> None:
    """Make ``${run_key:}`` and ``${given:a,b}``, the first that is not null, known to OmegaConf."""
    OmegaConf.register_new_resolver("run_key", run_key, replace=True)
    OmegaConf.register_new_resolver("given", _given, replace=True)


def _given(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def typed_overrides() -> list[str]:
    """What was typed on the command line; nothing where Hydra runs no script."""
    return list(map(str, HydraConfig.get().overrides.task)) if HydraConfig.initialized() else []


def user_facing(main: Callable[..., T]) -> Callable[..., T]:
    """Shows what the user can mend as one message and exits with status 2.

    That is a UserError, or a full disk. Within a multirun it is raised on, so that Hydra records
    the job as failed and goes on.
    """

    @functools.wraps(main)
    def wrapped(*args: object) -> T:
        from gmask_pl.process_switches import quieten

        quieten()
        try:
            with shown():
                return main(*args)
        except Exception as error:
            said = mistake(error)
            if said is None or isinstance(error, OSError):
                _leave_no_process_waiting()
            if said is None:
                raise
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise Refused(terminal(said)) from None
            print(f"\nerror: {terminal(said)}", file=sys.stderr)
            sys.exit(2)

    return wrapped


def mistake(error: Exception) -> str | None:
    """What to tell the user of an error; None where it is a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, UserError):
        said, place = str(error.__cause__), str(error).rpartition("full_key: ")[2].strip()
        # Hydra wraps what a constructor raises, which does not know where its settings stand.
        if said.startswith(place.partition(".")[0]):
            return said
        return f"{place}.{said}" if re.match(r"\w+=", said) else f"{place}: {said}"
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
