"""Whether a composed configuration can be: its keys, types and ranges, before anything is loaded.

What a part may be given is what its constructor's annotations say (see `gmask_pl.settings`); the
settings of a run itself, which no constructor takes, are the classes below. A key that nobody has
said anything of is none, unless another setting reads it by ``${...}``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from types import NoneType, UnionType
from typing import (
    Any,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from gmask_pl.identity.parts import CONF, TARGET, config_folders
from gmask_pl.pipeline.hydra_setup import choices, register, typed_overrides
from gmask_pl.pipeline.settings_schema import BY_CODE, OTHERS, Explain
from gmask_pl.pipeline.settings_signatures import PLAIN, signature_of
from gmask_pl.settings import allowed, expected, refusal, typed
from gmask_pl.types import UserError

OF_HYDRA = {TARGET: str, "_convert_": str, "_recursive_": bool, "_partial_": bool}
MISSING, UNKNOWN = object(), object()  # values: none is given; it hangs on a script that runs
SINGLE = ("dataset", "model", "explainer", "trainer", "experiment")  # one of each is chosen
_SHOWN = 12  # faults in a message
_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?(\.*)([^${}:,]+)(?:,[^${}]*)?\}")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A setting by its place in the configuration.

    kind: its annotation, where there is one. source: the place that it is read from, if any.
    problem: what is wrong with it beside its value.
    """

    path: str
    value: Any
    kind: Any = None
    source: str = ""
    problem: str = ""


def explain_settings(overrides: Iterable[str]) -> DictConfig:
    """The settings of explain.py that overrides lead to, checked, where Hydra runs no script."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", list(overrides))
    check_settings(cfg)
    return cfg


def check_settings(cfg: DictConfig, script: type = Explain) -> None:
    """Raises UserError for settings of ``script`` that cannot be: what is wrong with each.

    It reads nothing but the configuration. Settings that hang on Hydra's own, such as where a run
    lies, are passed over where Hydra runs no script.
    """
    for override in OverridesParser.create().parse_overrides(typed_overrides()):
        check_single(override)
    faults = list(dict.fromkeys(faults_of(leaves(cfg, script))))
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise UserError("\n".join([*faults[:_SHOWN], *more]))
    net: Any = OmegaConf.to_container(cfg.model.net, resolve=True)
    get_object(net.pop(TARGET)).check_together(net)


def check_single(override: Override) -> None:
    """Raises UserError for several choices at once, which Hydra would merge."""
    group, choice = override.get_key_element(), override.value()
    if group in SINGLE and isinstance(choice, list):
        several = ",".join(map(str, choice))
        raise UserError(
            f"{group}=[{several}]: this is one choice; several are runs of their own, by "
            f"-m {group}={several}"
        )


def faults_of(found: Sequence[Leaf]) -> Iterator[str]:
    """The messages of what is wrong. Of a value that is read elsewhere only at its source."""
    hanging = {leaf.path for leaf in found if leaf.value is UNKNOWN}
    wrong = {
        leaf.path
        for leaf in found
        if not leaf.problem
        and leaf.kind is not None
        and not {leaf.path, leaf.source} & hanging
        and not allowed(leaf.kind, leaf.value)
    }
    typed_there = {leaf.path for leaf in found if leaf.kind is not None}
    for leaf in found:
        if leaf.problem:
            yield leaf.problem
        elif leaf.path in wrong and leaf.source not in wrong:
            at_source = leaf.source and leaf.source not in typed_there
            name, source = (leaf.source, "") if at_source else (leaf.path, leaf.source)
            yield refusal(name, leaf.value, leaf.kind, source)


def leaves(cfg: DictConfig, script: type = Explain) -> list[Leaf]:
    """Every setting of a composed configuration, in its order, and what is missing."""
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    raw.pop("hydra", None)
    offered = sorted(set(_read_by_explainers()))
    read = {*_references(raw, ""), *offered}
    found = list(_walk({key: _resolved(cfg, key, key) for key in raw}, raw, script, ""))
    known = [*(leaf.path for leaf in found if leaf.kind is not None), *offered]
    return [
        replace(leaf, problem=_unknown(leaf, known))
        if leaf.kind is None and not leaf.problem and leaf.path not in read
        else leaf
        for leaf in found
    ]


def _walk(value: Any, raw: Any, kind: Any, path: str) -> Iterator[Leaf]:
    """The settings below ``path``. raw: as they stand in the files, ``${...}`` unresolved."""
    kind = _opened(kind)
    if _is_part(kind):
        yield from _part(value, raw, kind, path)
    elif _has_keys(kind):
        yield from _keys(value, raw, kind, path)
    elif isinstance(value, Mapping) and (kind is None or _is_mapping(kind)):
        each = None if kind is None else get_args(kind)[1]
        for key, one in value.items():
            yield from _walk(one, _below(raw, key), each, f"{path}.{key}")
    elif value is MISSING:
        yield Leaf(path, value, kind, problem=f"{path} is missing: give {expected(kind)}")
    else:
        unset = value is None and isinstance(raw, str) and "${hydra:" in raw
        yield Leaf(path, UNKNOWN if unset else value, kind, _source(raw, path))


def _keys(value: Any, raw: Any, kind: Any, path: str) -> Iterator[Leaf]:
    """The settings that a TypedDict or a dataclass names, and the parts beside them."""
    kinds = get_type_hints(kind, include_extras=True)
    if not isinstance(value, Mapping):
        said = f"{path}={typed(value)}: it is no setting by itself, but has {', '.join(kinds)}"
        yield Leaf(path, value, kind, problem=said)
        return
    prefix = f"{path}." if path else ""
    for key, one in value.items():
        own = kinds.get(key, OTHERS.get(kind))
        yield from _walk(one, _below(raw, key), own, f"{prefix}{key}")
    for key, own in kinds.items():
        if key not in value and is_typeddict(kind) and get_origin(own) is not NotRequired:
            yield _missing(f"{prefix}{key}", own)


def _part(value: Any, raw: Any, kind: Any, path: str) -> Iterator[Leaf]:
    """The settings of what a ``_target_`` names, by its own annotations."""
    target = value.get(TARGET) if isinstance(value, Mapping) else None
    if not isinstance(target, str):
        group = path.partition(".")[0]
        several = group in ("metric", "logger")
        by = f"{group}=[...]" if several else f"{'' if path == group else f'{group}@'}{path}=..."
        there = f": {', '.join(choices(group))}" if choices(group) else ""
        said = f"{path}={typed(value)}: this is a part, to be chosen by {by}{there}"
        yield Leaf(path, value, kind, problem=said)
        return
    found, wrong = None, ""
    try:
        found = get_object(target)
    except Exception as error:  # whatever an import leads to
        reason = " ".join(str(error.__cause__ or error).split())
        wrong = f"there is no such class ({reason})"
    if isinstance(found, type) and not _is_subclass(found, kind):
        wrong = f"give {expected(kind)}"
    if wrong:
        place = f"{path}.{TARGET}"
        yield Leaf(place, target, str, problem=f"{place}={target}: {wrong}")
        return
    signature = signature_of(found)
    for key, one in value.items():
        place = f"{path}.{key}"
        if key in OF_HYDRA:
            yield Leaf(place, one, OF_HYDRA[key])
        elif key in BY_CODE.get(found, ()):
            instead = BY_CODE[found][key]
            said = f"set {instead}" if instead else "it is set by code"
            yield Leaf(place, one, problem=f"{place}={typed(one)}: {said}")
        else:
            yield from _walk(one, _below(raw, key), signature.kind(key), place)
    for key in signature.required:
        if key not in value:
            yield _missing(f"{path}.{key}", signature.kinds[key])


def _opened(kind: Any) -> Any:
    """A kind without NotRequired."""
    return get_args(kind)[0] if get_origin(kind) is NotRequired else kind


def _is_part(kind: Any) -> bool:
    """Whether a class, or one of several, that Hydra instantiates."""
    if get_origin(kind) in (Union, UnionType):
        kinds = [one for one in get_args(kind) if one is not NoneType]
        return all(map(_is_part, kinds))
    return isinstance(kind, type) and not _has_keys(kind) and kind not in PLAIN


def _has_keys(kind: Any) -> bool:
    """Whether settings by their names, of which no class is chosen."""
    return is_typeddict(kind) or (isinstance(kind, type) and is_dataclass(kind))


def _is_subclass(found: type, kind: Any) -> bool:
    try:
        return issubclass(found, kind)
    except TypeError:  # a protocol
        return True


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _missing(path: str, kind: Any) -> Leaf:
    kind = _opened(kind)
    wanted = f": give {expected(kind)}" if not is_typeddict(kind) else ""
    return Leaf(path, MISSING, kind, problem=f"{path} is missing{wanted}")


def _unknown(leaf: Leaf, known: Sequence[str]) -> str:
    """The message of a setting that nobody knows, with those that it may have been meant for."""
    above, _, name = leaf.path.rpartition(".")
    beside = [key for key in known if key.rpartition(".")[0] == above]
    parts = {key.partition(".")[0] for key in known if "." in key}  # such as explainer
    likeness = {
        key: difflib.SequenceMatcher(None, name, key.rpartition(".")[2]).ratio()
        for key in (*known, *parts)
        if key.rpartition(".")[2] != TARGET
    }
    near = [
        key
        for keys, cutoff in (((*beside, *(() if above else parts)), 0.65), (known, 0.8))
        for key in sorted(keys, key=lambda key: -likeness.get(key, 0))
        if likeness.get(key, 0) >= cutoff
    ]
    told = f"{leaf.path}={typed(leaf.value)}: there is no such setting"
    if near:
        return f"{told}; did you mean {' or '.join([*dict.fromkeys(near)][:3])}?"
    names = [key.rpartition(".")[2] for key in beside if not key.endswith(TARGET)]
    return f"{told}; there are {', '.join(names)}" if names else told


def _below(raw: Any, key: str) -> Any:
    return raw.get(key) if isinstance(raw, Mapping) else None


def _resolved(node: Any, key: Any, path: str) -> Any:
    """The value of a key as plain containers."""
    try:
        value = node[key]
    except MissingMandatoryValue:
        return MISSING
    except InterpolationResolutionError as error:
        if not HydraConfig.initialized() and "HydraConfig was not set" in str(error):
            return UNKNOWN
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from error
    if isinstance(value, DictConfig):
        return {str(name): _resolved(value, name, f"{path}.{name!s}") for name in value}
    if isinstance(value, ListConfig):
        return [_resolved(value, i, f"{path}[{i}]") for i in range(len(value))]
    return value


def _references(raw: Any, path: str) -> Iterator[str]:
    """The places that settings are read from."""
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            yield from _references(value, f"{path}.{key}" if path else str(key))
    elif isinstance(raw, str):
        for dots, name in _REFERENCE.findall(raw):
            above = path.split(".")[: -len(dots)] if dots else []
            yield ".".join([*above, name])


def _read_by_explainers() -> Iterator[str]:
    """What explainers read of a model's settings, the one that is chosen and the others."""
    for folder in config_folders():
        for file in (folder / "explainer").glob("*.yaml"):
            names = [name for _, name in _REFERENCE.findall(file.read_text("utf-8"))]
            yield from (name for name in names if name.startswith("model.explainers."))


def _source(raw: Any, path: str) -> str:
    """The place that a setting is read from; "" where it is its own."""
    whole = isinstance(raw, str) and _REFERENCE.fullmatch(raw)
    return next(_references(raw, path)) if whole else ""
