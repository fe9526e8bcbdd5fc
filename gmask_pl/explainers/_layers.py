"""Layers of a task model by name or index, and hooks that change what they compute."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from gmask_pl.types import Classifier, UserError

NETWORK = "network."  # where a classifier keeps the encoder that it wraps


def layer_named(classifier: Classifier, layer: str | int) -> nn.Module:
    """The module of a name, as in ``bert.encoder.layer.3``, or the block of an index.

    The name is a dotted path from the encoder, or from the classifier itself. The blocks are the
    members of the longest `ModuleList`, which in transformers are the encoder's layers; -1 is
    the last one. Raises UserError with the names that come near.
    """
    if not isinstance(classifier, nn.Module):
        raise UserError(
            f"layer={layer}: this model shows no layers, only its answers; choose an explainer "
            "that does not look inside"
        )
    if isinstance(layer, int):
        return _block(classifier, layer)
    modules: dict[str, nn.Module] = {
        name: part for name, part in classifier.named_modules() if name
    }
    for name in (layer, NETWORK + layer):
        if name in modules:
            return modules[name]
    names = [name.removeprefix(NETWORK) for name in modules]
    near = difflib.get_close_matches(layer, names, n=6, cutoff=0.5) or names[:12]
    raise UserError(
        f"layer={layer}: the model has no such layer; near it are {', '.join(near)}; or give the "
        "index of an encoder layer"
    )


def _block(classifier: nn.Module, index: int) -> nn.Module:
    lists = [list(m) for m in classifier.modules() if isinstance(m, nn.ModuleList)]
    blocks = max(lists, key=len, default=[])
    if not -len(blocks) <= index < len(blocks):
        names = [name for name, _ in classifier.named_modules() if name and "." not in name]
        raise UserError(
            f"layer={index}: the model has {len(blocks)} encoder layers, counted from 0; or give "
            f"a name, as of {', '.join(names)} and what is in them"
        )
    return blocks[index]


@contextmanager
def replaced(layer: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it, ``change`` of the layer's output (N, L, D) takes the output's place.

    Raises UserError for a layer that gives something else, or not just once a forward pass.
    """
    calls = 0

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        hidden = output[0] if isinstance(output, tuple) else output
        if not isinstance(hidden, Tensor) or hidden.dim() != 3:
            found = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__
            raise UserError(
                f"layer {type(module).__name__} gives {found}, not a vector for every token "
                "(N, L, D): choose another layer"
            )
        changed = change(hidden).to(hidden.dtype)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    if calls != 1:
        raise UserError(
            f"layer {type(layer).__name__} is used {calls} times in a forward pass: choose one "
            "that is used once"
        )
