"""What a setting may be, said once: by the annotation of the keyword that takes it.

Hydra's structured configs would say it a second time, beside the constructor and beside the YAML
file, know no ranges, and make a new part three files. One table of rules would have to be found and
kept by everybody who adds a keyword. A constructor's annotation is there already, mypy reads it,
and a part that nobody here has heard of brings its own. So ``k: Annotated[int, at_least(2)]`` is
the rule: `checked` holds a constructor to it wherever it is called, and
`pipeline.settings_check` reads it to judge a composed configuration before anything is loaded. What
needs two settings to judge stays an ``if`` in the constructor.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
)

from gmask_pl.types import UserError

P = ParamSpec("P")
T = TypeVar("T")
_SHOWN = 80  # letters of a value in a message
_NAMES: dict[Any, str] = {
    None: "null",
    NoneType: "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the largest number; ``above``: the least itself is too small. why: a reason."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    why: str = ""

    def holds(self, value: Any) -> bool:
        low = value > self.least if self.above else value >= self.least
        return bool(low and value <= self.most)

    def expected(self, kind: str) -> str:
        """As in "a number from 0 to 1"."""
        known = math.isfinite(self.least), math.isfinite(self.most)
        if not any(known):
            return kind
        low = f"above {self.least:g}" if self.above else f"from {self.least:g}"
        if not known[1]:
            return f"{kind} {low}"
        to = "and at most" if self.above else "to"
        return f"{kind} {low} {to} {self.most:.10g}"


@dataclass(frozen=True)
class OneOf:
    """One of a few names."""

    choices: Collection[str]
    why: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))  # an annotation is hashed

    def holds(self, value: Any) -> bool:
        return value in self.choices

    def expected(self, kind: str) -> str:
        return f"one of {', '.join(self.choices)}"


def at_least(least: int, why: str = "") -> Range:
    return Range(least, why=why)


Seed = Annotated[int, Range(0, 2**32 - 1)]  # what NumPy takes, and so Lightning; PyTorch takes more
Count = Annotated[int, at_least(1)]
Whole = Annotated[int, at_least(0)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Label = str | int  # of a class: [0,1] are names like any others


def allowed(kind: Any, value: Any) -> bool:
    """Whether ``value`` is what the annotation ``kind`` says. No number is nan or infinite.

    A whole number is a number, but neither true nor a text is. What is no type, such as Any or a
    protocol, allows everything.
    """
    origin, within = get_origin(kind), get_args(kind)
    if origin is Annotated:
        marks = [mark for mark in kind.__metadata__ if isinstance(mark, Range | OneOf)]
        return allowed(within[0], value) and all(mark.holds(value) for mark in marks)
    if origin in (Union, UnionType):
        return any(allowed(one, value) for one in within)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in within)
    if kind in (None, NoneType):
        return value is None
    if kind is float:
        return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and type(value) is not bool
    if origin is tuple and within[-1] is not ...:
        listed = _is_list(value) and len(value) == len(within)
        return listed and all(map(allowed, within, value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(allowed(within[1], one) for one in value.values())
    if isinstance(origin, type) and issubclass(origin, Collection):
        return _is_list(value) and all(allowed(within[0], one) for one in value)
    if not isinstance(kind, type):
        return True
    if is_dataclass(kind) and isinstance(value, Mapping):  # see `made`, which judges its values
        return {*value} <= {field.name for field in fields(kind)}
    try:
        return isinstance(value, kind)
    except TypeError:  # a protocol
        return True


def expected(kind: Any) -> str:
    """The values that an annotation allows, as in "a whole number from 1 or null"."""
    origin, within = get_origin(kind), get_args(kind)
    if origin is Annotated:
        said = expected(within[0])
        for mark in kind.__metadata__:
            if isinstance(mark, Range | OneOf):
                said = mark.expected(said)
        return said
    if origin in (Union, UnionType):
        return " or ".join(_alternatives(within))
    if origin is Literal:
        return " or ".join(_alternatives((kind,)))
    if origin is tuple and within[-1] is not ...:
        return f"[{', '.join(map(expected, within))}]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"names with {expected(within[1])} each"
    if isinstance(origin, type) and issubclass(origin, Collection):
        return f"a list (each {expected(within[0])})"
    if is_dataclass(kind):
        return f"settings of {', '.join(field.name for field in fields(kind))}"
    return _NAMES.get(kind) or f"a {getattr(kind, '__name__', kind)}"


def _alternatives(kinds: Sequence[Any]) -> Iterator[str]:
    """What each of several kinds allows; all names together, and a list of them said in short."""
    names = [
        typed(name) for kind in kinds if get_origin(kind) is Literal for name in get_args(kind)
    ]
    if names := list(dict.fromkeys(names)):
        yield f"{'one of ' * (len(names) > 1)}{', '.join(names)}"
    for kind in kinds:
        if get_origin(kind) is not Literal:
            of_these = get_origin(kind) is not None and get_args(kind)[0] in kinds
            yield "a list of them" if of_these else expected(kind)


def reasons(kind: Any) -> str:
    """Why values are not allowed, where an annotation says so."""
    own = [getattr(mark, "why", "") for mark in getattr(kind, "__metadata__", ())]
    return "; ".join(filter(None, [*own, *map(reasons, get_args(kind))]))


def refusal(name: str, value: Any, kind: Any, source: str = "") -> str:
    """The message of a value that is not allowed. source: the setting that it comes from."""
    why = f" ({reasons(kind)})" if reasons(kind) else ""
    quoted = ""
    if value is not None and not isinstance(value, str) and allowed(kind, _as_texts(value)):
        quoted = "; a text that looks like something else needs quotes, as in \"'1'\""
    came = f" (from {source})" if source else ""
    return f"{name}={typed(value)}{came}: give {expected(kind)}{why}{quoted}"


def typed(value: Any) -> str:
    """A value as it is typed on the command line, cut when it is long."""
    if value is None or isinstance(value, bool):
        text = "null" if value is None else str(value).lower()
    elif _is_list(value):
        text = f"[{', '.join(map(typed, value))}]"
    elif isinstance(value, Mapping):
        text = f"{{{', '.join(f'{key}: {typed(one)}' for key, one in value.items())}}}"
    else:
        text = str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def checked(function: Callable[P, None]) -> Callable[P, None]:
    """A constructor that refuses what the annotations of its keywords do not allow: UserError."""
    signature = inspect.signature(function)

    @functools.cache
    def kinds() -> dict[str, Any]:  # at the first call: a class may name itself
        return kinds_of(function)

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        given = signature.bind(*args, **kwargs).arguments
        _check_values(type(args[0]).__name__, kinds(), given | kwargs)
        function(*args, **kwargs)

    return wrapped


def check_keywords(kind: type, given: Mapping[str, Any]) -> None:
    """Raises UserError for what a `checked` constructor would refuse of these keywords."""
    _check_values(kind.__name__, kinds_of(kind.__init__), given)  # type: ignore[misc]


def _check_values(owner: str, kinds: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in kinds and not allowed(kinds[name], value):
            raise UserError(refusal(f"{owner}.{name}", value, kinds[name]))


def checked_fields(kind: type[T]) -> type[T]:
    """A dataclass whose constructor is `checked`."""
    kind.__init__ = checked(kind.__init__)  # type: ignore[method-assign]
    return kind


def made(kind: type[T], value: T | Mapping[str, Any]) -> T:
    """A dataclass of settings, which a YAML file gives as a mapping of its fields."""
    return kind(**value) if isinstance(value, Mapping) else value


def kinds_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of what a function can be given by name; of a plain ``**name`` there is none.

    Those of ``**name: Unpack[T]`` are the keys of the TypedDict T.
    """
    plain = inspect.unwrap(function)
    parameters = inspect.signature(plain).parameters
    given = inspect.get_annotations(plain)
    # Not of the function itself: what it returns may be known to type checkers only.
    holder: Any = SimpleNamespace(__annotations__={n: given[n] for n in parameters if n in given})
    kinds = get_type_hints(holder, getattr(plain, "__globals__", {}), include_extras=True)
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            kinds.pop(name, None)
        elif parameter.kind is parameter.VAR_KEYWORD:
            more = kinds.pop(name, None)
            if get_origin(more) is Unpack:
                kinds |= get_type_hints(get_args(more)[0], include_extras=True)
    return kinds


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _as_texts(value: Any) -> Any:
    return list(map(_as_texts, value)) if _is_list(value) else str(value)
