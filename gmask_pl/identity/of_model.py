"""What a model's answers depend on: weights, configuration, tokenizer, settings, outputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gmask_pl.identity.setting_roles import EXPLAIN, Told, digest_of
from gmask_pl.types import JSON

# Of a Hugging Face configuration: where it came from and how it is computed.
_ORIGIN = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
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
    the model, the configuration where it is not as usual, and a digest of all rules and words.
    settings: every other attribute of the model that is plain data, such as the settings it was
    made with, its labels, the order of its outputs, or a temperature; and the kinds of its layers.
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
                network[place] = _configuration(value.config)
                return
            library = type(value).__module__.partition(".")[0]
            if library == "torchmetrics":
                return
            if library == "torch":
                settings[place] = f"{type(value).__name__}({value.extra_repr()})"
            own = {} if library == "torch" else _attributes(value)
            for name, child in (*own.items(), *value.named_children()):
                tell(child, f"{place}.{name}" if place else name)
        else:
            settings[place] = _plain(value)

    tell(model, "")
    return ModelIdentity(weights_digest(model), network, tokenizer, settings, precision)


def weights_digest(model: nn.Module) -> str:
    """A digest of all tensors of a model.

    ``weights_tag``: what the class was called when its digests were first published, so that it
    can be renamed.
    """
    tag = getattr(model, "weights_tag", type(model).__qualname__)
    digest = hashlib.blake2b(tag.encode(), digest_size=16)
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _attributes(module: nn.Module) -> dict[str, Any]:
    """What a module was given and is no tensor and no part of it, what it has computed left out."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name not in _OTHERS
        and not isinstance(value, Tensor)
        and not isinstance(getattr(type(module), name, None), cached_property)
    }


def _plain(value: Any) -> Any:
    """Plain data as JSON, long data by its digest, anything else by the name of its kind."""
    found = _json(value)
    text = json.dumps(found, sort_keys=True)
    return found if len(text) <= _LONG else digest_of(found, size=16)


def _json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_json(item), sort_keys=True) for item in value)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    return getattr(value, "__qualname__", type(value).__qualname__)


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
            "all_special_ids",
        )
    }
    return digest_of([rules, others], size=16)
