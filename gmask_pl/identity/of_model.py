"""What a model's answers depend on: weights, configuration, tokenizer, settings, outputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from types import FunctionType, ModuleType, NoneType
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from gmask_pl.identity.of_code import code_of
from gmask_pl.identity.setting_roles import EXPLAIN, Told, digest_of
from gmask_pl.types import JSON, UserError

# Of a Hugging Face configuration: where it came from and how it is computed.
_ORIGIN = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
# Of a Hugging Face network: told by its configuration, or left behind by a loader or a call.
_OF_NETWORK = (
    *("config", "generation_config", "warnings_issued", "name_or_path", "kernel_config"),
    *("gradient_checkpointing", "loss_type", "seq_len", "pooling_mult"),
)
# Of a tokenizer: what a call leaves behind.
_OF_A_CALL = ("truncation", "padding")
# Lightning's own, and what a model is trained with.
_OTHERS = frozenset(
    ("training", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices")
) | {key.rpartition(".")[2] for key, how in EXPLAIN.items() if how is Told.TRAINING}
_LONG = 200  # letters of what is told by its digest


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """All that a model's answer about a masked pair depends on, but for the pair and the mask.

    weights: a digest of all tensors. network, tokenizer: of Hugging Face's parts, by their place in
    the model: the configuration where it is not as usual, with a digest of what else the network's
    layers hold; a digest of all rules and words. settings: every other attribute of the model, down
    to arrays and what a function closes over, such as the settings it was made with, its labels,
    the order of its outputs, or a temperature; the kinds of its layers; hooks on them; and the code
    of what the user wrote. What holds no data, such as a built-in, is told by its name.
    precision: that it is computed in.
    """

    weights: str
    network: JSON
    tokenizer: JSON
    settings: JSON
    precision: str

    @property
    def told(self) -> JSON:
        """As it is written: plain JSON."""
        found: JSON = json.loads(json.dumps(asdict(self), sort_keys=True))
        return found

    @property
    def digest(self) -> str:
        return digest_of(self.told, size=16)


def identity_of_model(model: nn.Module, precision: str) -> ModelIdentity:
    """The identity of a model in evaluation mode that is computed in ``precision``."""
    network: JSON = {}
    tokenizer: JSON = {}
    settings: JSON = {}

    def tell(value: Any, place: str) -> None:
        if hasattr(value, "backend_tokenizer"):
            tokenizer[place] = _tokenizer(value)
        elif isinstance(value, dict):
            for name, item in value.items():
                tell(item, f"{place}.{name}")
        elif isinstance(value, nn.Module):
            if hasattr(value, "config") and hasattr(value.config, "to_diff_dict"):
                network[place] = _configuration(value.config) | {"layers": _layers(value)}
                return
            if code := code_of(type(value)):
                settings[f"{place}.code" if place else "code"] = code
            if hooks := _hooks(value):
                settings[f"{place}.hooks" if place else "hooks"] = _plain(hooks)
            library = type(value).__module__.partition(".")[0]
            if library == "torchmetrics":
                return
            if library == "torch":
                settings[place] = f"{type(value).__name__}({value.extra_repr()})"
            for name, child in (*_attributes(value).items(), *value.named_children()):
                tell(child, f"{place}.{name}" if place else name)
        else:
            settings[place] = _plain(value)

    tell(model, "")
    return ModelIdentity(weights_digest(model), network, tokenizer, settings, precision)


def cut_by(segment: Any) -> JSON:
    """What cuts texts into words, where that is a function of the user's; {} where it is none."""
    return {} if segment is None else {"segment": _plain(segment)}


def weights_digest(model: nn.Module) -> str:
    """A digest of all tensors of a model.

    ``weights_tag``: what the class was called when its digests were first published, so that it
    can be renamed.
    """
    tag = getattr(model, "weights_tag", type(model).__qualname__)
    digest = hashlib.blake2b(tag.encode(), digest_size=16)
    state: dict[str, Any] = model.state_dict()
    for name, weight in sorted(state.items()):
        if not hasattr(weight, "dtype"):  # as quantised layers pack them
            digest.update(f"{name} {json.dumps(_json(weight), sort_keys=True)}".encode())
            continue
        if weight.is_meta:
            raise UserError(f"{name} is on the meta device and has no numbers: load its weights")
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _attributes(module: nn.Module) -> dict[str, Any]:
    """What a module holds beside its parts and weights, what it has computed left out."""
    own = {
        name: value
        for name, value in vars(module).items()
        if name not in _bookkeeping()
        and name not in (*_OTHERS, *getattr(module, "found_out", ()))
        and not isinstance(getattr(type(module), name, None), cached_property)
    }
    # What `state_dict`, and so the digest of the weights, leaves out.
    unsaved = sorted(module._non_persistent_buffers_set)
    return own | {name: module.get_buffer(name) for name in unsaved}


@cache
def _bookkeeping() -> frozenset[str]:
    """The attributes that PyTorch and Lightning give to every module."""
    return frozenset(vars(LightningModule()))


def _plain(value: Any) -> Any:
    """Plain data as JSON, long data by its digest, anything else by the name of its kind."""
    found = _json(value)
    text = json.dumps(found, sort_keys=True)
    return found if len(text) <= _LONG else digest_of(found, size=16)


def _json(value: Any, within: tuple[int, ...] = ()) -> Any:
    """The contents of a value as JSON. within: the objects that it is a part of."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return _array(value)
    if id(value) in within:
        return "itself"
    within = (*within, id(value))
    if isinstance(value, Mapping):
        return {str(key): _json(item, within) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, within) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_json(item, within), sort_keys=True) for item in value)
    if isinstance(value, torch.dtype | torch.device | Path):
        return str(value)
    if isinstance(value, partial):
        return _json([value.func, value.args, value.keywords], within)
    owner = getattr(value, "__self__", None)  # of a method
    if callable(value) and not isinstance(owner, ModuleType | NoneType):
        return [value.__qualname__, _json(owner, within)]
    if isinstance(value, FunctionType):
        return _function(value, within)
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if isinstance(value, ModuleType | nn.Module):
        return name
    kind = value if isinstance(value, type) else type(value)
    told = {"kind": name} | ({"code": code} if (code := code_of(kind)) else {})
    if kind is not value:
        told |= _json(_held(value), within)
    return told if len(told) > 1 else name


def _held(value: Any) -> JSON:
    """The attributes of an object."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    own = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return own | getattr(value, "__dict__", {})


def _function(value: FunctionType, within: tuple[int, ...]) -> Any:
    """The name of a function and what it holds; the code of one that is the user's own."""
    held: list[Any] = [value.__defaults__, value.__kwdefaults__, code_of(value) or None]
    held += [cell.cell_contents for cell in value.__closure__ or ()]
    name = value.__qualname__
    return [name, _json(held, within)] if any(map(_tells, held)) else name


def _tells(value: Any) -> bool:
    return value is not None and value != ()


def _array(value: Tensor | np.ndarray | np.generic) -> str:
    """A digest of the numbers of an array, of their kind and of its shape."""
    digest = hashlib.blake2b(f"{value.dtype} {tuple(value.shape)}".encode(), digest_size=16)
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _layers(network: nn.Module) -> str:
    """A digest of what a network's layers are and hold beside weights, and of hooks on them."""
    found = []
    for name, part in network.named_modules():
        code = code_of(type(part))
        held = {
            key: value
            for key, value in _attributes(part).items()
            if key not in _OF_NETWORK and (code or callable(value) or not key.startswith("_"))
        }
        found.append([name, type(part).__qualname__, code, part.extra_repr(), _hooks(part), held])
    return digest_of(_json(found), size=16)


def _hooks(module: nn.Module) -> list[Any]:
    """The functions that change, or see, what goes into a module and what comes out of it.

    Without those that transformers leaves behind, which record what a caller asked to see.
    """
    both = (module._forward_pre_hooks, module._forward_hooks)
    every = [hook for hooks in both for hook in hooks.values()]
    return [h for h in every if not str(getattr(h, "__module__", "")).startswith("transformers.")]


def _configuration(config: Any) -> JSON:
    found: JSON = config.to_diff_dict()
    return {key: _plain(value) for key, value in found.items() if key not in _ORIGIN}


def _tokenizer(tokenizer: Any) -> str:
    """A digest of a fast tokenizer: its rules, words and special tokens, and which side it cuts."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    for name in _OF_A_CALL:
        rules.pop(name, None)
    others = {
        name: _json(getattr(tokenizer, name, None))
        for name in (
            "special_tokens_map",
            "model_max_length",
            "model_input_names",
            "padding_side",
            "truncation_side",
            "split_special_tokens",
            "all_special_ids",
        )
    }
    return digest_of([rules, others], size=16)
