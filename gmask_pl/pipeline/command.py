"""Commands: a mistake of the user is one message and exit status 2, a fault has its traceback."""

from __future__ import annotations

import difflib
import functools
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from gmask_pl.command_names import command_name
from gmask_pl.escaping import terminal
from gmask_pl.identity.parts import CONF
from gmask_pl.pipeline.console import shown
from gmask_pl.pipeline.hydra_setup import Refused, choices, mistake
from gmask_pl.pipeline.own_things import implied
from gmask_pl.types import UserError

T = TypeVar("T")


def command(
    config: str, kinds: type | None = None, added: Sequence[str] = ()
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Of what a shell calls, as the outermost decorator: Hydra's messages and what is printed.

    Hydra would show its own errors, those of its users, with its own advice, which is wrong here
    (that a key can be added by ``+``), and end with status 1. config: the file of ``conf/`` that is
    composed, with the overrides ``added`` before those of the user. kinds: what the settings may
    be; None: as explain.py and train.py have them.
    """

    def decorate(main: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(main)
        def wrapped(*args: object) -> T:
            print_anything()
            if config == "explain" and kinds is None:
                say_what_is_implied()
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises on what it would print
            try:
                with shown():
                    return main(*args)
            except Exception as error:
                typed = [a for a in sys.argv[1:] if "=" in a and not a.startswith("-")]
                said = message(error, lambda key: misspelt(key, typed, config, kinds, added))
                if said is None:
                    traceback.print_exc()
                    sys.exit(1)
                print(f"error: {terminal(said)}", file=sys.stderr)
                sys.exit(2)

        return wrapped

    return decorate


def say_what_is_implied() -> None:
    """Adds to what was typed what it leads to, see `own_things`, and says so."""
    typed = [place for place, text in enumerate(sys.argv) if re.match(r"[+~]*[\w./@]+=", text)]
    if typed and (found := implied([sys.argv[place] for place in typed])):
        print(f"{' '.join(found)}, as the files say", file=sys.stderr)
        sys.argv[typed[0] : typed[0]] = found


def print_anything() -> None:
    """Lets what a terminal cannot show, as bullets in ASCII, be printed as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def message(error: Exception, wrong: Callable[[str], str | None]) -> str | None:
    """What to tell the user of an error; None where it is a fault of the program.

    wrong: see `misspelt`; takes the key that Hydra refuses to override.
    """
    if (said := mistake(error)) is not None or isinstance(error, InstantiationException):
        return said
    if isinstance(error, Refused):
        return str(error)
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    if isinstance(error, OverrideParseException):
        return f"{error.override}: this is no setting: {text.partition(' See https')[0]}"
    if missing := re.search(r"Could not (?:find|load) '(.+)/([^/']*)'", text):
        return no_choice(*missing.groups())
    if unknown := re.search(r"Could not override '([^']+)'|full_key: (\S+)", text):
        key = unknown.group(1) or unknown.group(2)
        if said := wrong(key):
            return said
    if isinstance(error, OmegaConfBaseException):
        return wrong("")
    return text if isinstance(error, HydraException) else None


def no_choice(group: str, name: str) -> str:
    """The message of a part that has no YAML file."""
    known = choices(group)
    near = difflib.get_close_matches(name, known)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    there = f" There are {', '.join(known)}" if known else ""
    return f"{group}={name}: there is no such choice{meant or '.'}{there}"


def misspelt(
    key: str,
    overrides: Sequence[str],
    config: str = "explain",
    kinds: type | None = None,
    added: Sequence[str] = (),
) -> str | None:
    """What is wrong with the settings, as if what Hydra refuses to override were added to them.

    key: what it refuses. None where nothing is wrong, or where they cannot be composed even so.
    """
    from hydra import compose, initialize_config_dir

    from gmask_pl.pipeline.settings_check import check_settings, check_single
    from gmask_pl.pipeline.settings_schema import Explain, Train

    given = list(added)
    GlobalHydra.instance().clear()
    try:
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            text, name = override.input_line or "", override.get_key_element()
            check_single(override)
            if override.is_sweep_override():
                text = f"{name}={next(iter(override.sweep_string_iterator()))}"
            if name == key and choices(key):
                return f"{text}: {command_name(config)} has no {key} to choose"
            given.append(f"++{text}" if name == key else text)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            own = kinds or {"explain": Explain, "train": Train}[config]
            check_settings(compose(config, given), own)
    except UserError as error:
        return str(error)
    except (HydraException, OmegaConfBaseException):
        return None
    return None
