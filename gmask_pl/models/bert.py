"""Pre-trained transformer encoders with a sequence-classification head."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from gmask_pl.models.base import PairClassifier, is_watched, output_columns
from gmask_pl.models.encoding import check_unit
from gmask_pl.models.first_token import first_token_only, last_layer
from gmask_pl.models.subwords import SubwordEncoder
from gmask_pl.types import (
    ModelInput,
    PairEncoder,
    UserError,
    WordCounts,
)


class BertPairClassifier(PairClassifier):
    """Any Hugging Face encoder with a sequence-classification head (Section 4).

    network, tokenizer: the Hugging Face model and its fast tokenizer. columns: the network's
    output of each label. max_length: longest input in tokens; longer pairs are truncated.
    """

    weights_tag = "BertPairClassifier"

    def __init__(
        self,
        *,
        labels: Sequence[str],
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        columns: Sequence[int] | None = None,
        max_length: int,
        **optimizer: Any,
    ) -> None:
        super().__init__(labels=labels, **optimizer)
        self.network, self.tokenizer = network, tokenizer
        self.max_length = min(max_length, tokenizer.model_max_length)
        self.columns = list(columns if columns is not None else range(len(self.labels)))
        self.pad_token_id = int(tokenizer.pad_token_id)
        self.mask_token_id = int(tokenizer.mask_token_id)
        accepted = inspect.signature(network.forward).parameters
        self.reads_positions = "position_ids" in accepted
        self.reads_segments = "token_type_ids" in accepted
        self.segments = int(getattr(network.config, "type_vocab_size", 0) or 0)
        self.first_position = _first_position(network)

    @classmethod
    def from_data(  # type: ignore[override]  # each class has settings of its own
        cls, *, labels: Sequence[str], word_counts: WordCounts, pretrained: str, **settings: Any
    ) -> Self:
        names = dict(enumerate(labels))
        network, tokenizer = _load(
            pretrained,
            "model.pretrained",
            whole=False,
            id2label=names,
            label2id={name: i for i, name in names.items()},
            ignore_mismatched_sizes=True,
        )
        return cls(labels=labels, network=network, tokenizer=tokenizer, **settings)

    @classmethod
    def from_weights(
        cls,
        weights: str | Path,
        *,
        labels: Sequence[str],
        label_order: Sequence[str] | None,
        **settings: Any,
    ) -> Self:
        network, tokenizer = _load(str(weights), "weights", whole=True)
        names: dict[int, str] = network.config.id2label  # type: ignore[assignment]
        stored = [names[i] for i in range(len(names))]
        columns = output_columns(labels, stored, label_order, str(weights))
        own = {name: settings[name] for name in ("max_length", *_TRAINING) if name in settings}
        return cls(labels=labels, network=network, tokenizer=tokenizer, columns=columns, **own)

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def encoder(self, unit: str) -> PairEncoder:
        return SubwordEncoder(self.tokenizer, self.max_length, check_unit(unit))

    def forward(self, inputs: ModelInput) -> Tensor:
        if inputs.attention.dtype != torch.bool and not self.softens_attention:
            raise UserError(
                f"{type(self.network).__name__} has no attention between on and off, so removal=pad"
                " has no gradient with it: choose removal=zero or mask, or an explainer that needs "
                "no gradients"
            )
        layer = None if self.training else last_layer(self.network)
        if layer is None or is_watched(self.network) or not self.reads_first_token:
            return self._logits(inputs)
        with first_token_only(layer):
            return self._logits(inputs)

    def _logits(self, inputs: ModelInput) -> Tensor:
        with _kernels(inputs.attention):
            logits: Tensor = self.network(**self._reading(inputs)).logits
        return logits[:, self.columns]

    def received_attention(self, inputs: ModelInput, layer: int) -> Tensor:
        """What the first token pays to every token in a layer, the mean of its heads: (N, L).

        Only the eager implementation of attention tells its weights, so this call runs it.
        """
        usual = self.network.config._attn_implementation
        self.network.set_attn_implementation("eager")
        try:
            maps = self.network(**self._reading(inputs), output_attentions=True).attentions
        finally:
            self.network.set_attn_implementation(usual)
        if not maps or any(weights is None for weights in maps):
            raise UserError(f"{type(self.network).__name__} does not tell its attention weights")
        if not -len(maps) <= layer < len(maps):
            raise UserError(
                f"layer={layer}: the model has {len(maps)} layers, 0 to {len(maps) - 1}, or "
                f"-{len(maps)} to -1 from the last"
            )
        paid: Tensor = maps[layer][:, :, 0].mean(1)
        return paid * inputs.attention

    def _reading(self, inputs: ModelInput) -> dict[str, Tensor]:
        """The input by the network's own names."""
        read: dict[str, Tensor] = {"attention_mask": self._attention(inputs.attention)}
        if self.reads_segments and self.segments:
            read["token_type_ids"] = inputs.segment.clamp(max=self.segments - 1)
        if self.reads_positions:
            read["position_ids"] = inputs.positions + self.first_position
        if inputs.gate is None:
            read["input_ids"] = inputs.token_ids
        else:
            read["inputs_embeds"] = self._gated(inputs)
        return read

    @cached_property
    def skips_hidden(self) -> bool:
        """Found by trying: false for relative positions that follow a token's index, as in DeBERTa
        and MPNet, and for networks that take no ``position_ids``."""
        trial = self._trial()
        left = trial.attention[0]
        shorter = ModelInput(
            trial.token_ids[:, left],
            trial.attention[:, left],
            trial.segment[:, left],
            trial.positions[:, left],
        )
        return self._answers_alike(trial, shorter)

    @cached_property
    def reads_first_token(self) -> bool:
        """Whether the first token is all that the head reads of the last layer; found by trying."""
        layer, trial = last_layer(self.network), self._trial()
        if layer is None:
            return False
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            expected = self._logits(trial)
            try:
                with first_token_only(layer):
                    found = self._logits(trial)
            except (RuntimeError, IndexError):  # a head that reads other tokens too
                return False
        return torch.allclose(found, expected, rtol=1e-4, atol=1e-5)

    @cached_property
    def softens_attention(self) -> bool:
        """Whether the network honours a 4-D additive attention mask; found by trying."""
        trial = self._trial()
        return self._answers_alike(trial, replace(trial, attention=trial.attention.float()))

    def _trial(self) -> ModelInput:
        """A pair of which every third token is hidden; no two of its words are alike."""
        tokens = self.tokenizer("a b c d e f", "g h i j k l")
        sides = tokens.sequence_ids(0)
        special = set(self.tokenizer.all_special_ids)
        words = [i for i in range(len(self.tokenizer)) if i not in special]
        step = max(1, len(words) // len(sides))
        ids = [
            token if side is None else words[i * step % len(words)]
            for i, (token, side) in enumerate(zip(tokens["input_ids"], sides, strict=True))
        ]
        segment = torch.tensor([[side or 0 for side in sides]], device=self.device)
        positions = torch.arange(len(sides), device=self.device)[None]
        token_ids = torch.tensor([ids], device=self.device)
        return ModelInput(token_ids, positions % 3 != 2, segment, positions)

    @torch.no_grad()
    def _answers_alike(self, trial: ModelInput, other: ModelInput) -> bool:
        """Whether both give the same logits but for rounding: 0.1 % of what hiding changes at all.

        False, too, where the network fails on ``other``: DeBERTa cannot read a 4-D mask.
        """
        with torch.autocast(self.device.type, enabled=False):
            whole = replace(trial, attention=torch.ones_like(trial.attention))
            expected = self._logits(trial)
            effect = (self._logits(whole) - expected).abs().max()
            try:
                difference = (self._logits(other) - expected).abs().max()
            except RuntimeError:
                return False
        return bool(difference <= 1e-3 * effect + 1e-6)

    def _gated(self, inputs: ModelInput) -> Tensor:
        embedding = self.network.get_input_embeddings()
        assert isinstance(embedding, nn.Embedding) and inputs.gate is not None
        gate = inputs.gate[..., None].to(embedding.weight.dtype)
        words = embedding(inputs.token_ids) * gate
        if inputs.substitute is not None:
            words = words + (1 - gate) * embedding.weight[inputs.substitute]
        return words

    def _attention(self, attention: Tensor) -> Tensor:
        """A 2-D mask for hard attention, a 4-D additive one for soft multipliers.

        The derivative at a multiplier of 0 is taken as 0: the true one is the exponential of an
        attention score, which spans many orders of magnitude and says nothing of the effect.
        """
        if attention.dtype == torch.bool:
            return attention.long()
        dtype = self.network.dtype
        seen = attention > 0
        bias = torch.where(seen, attention, 1.0).log().to(dtype)
        bias = bias.masked_fill(~seen, torch.finfo(dtype).min)
        return bias[:, None, None, :].expand(-1, 1, attention.shape[1], -1)


_TRAINING = ("lr", "weight_decay", "warmup", "linear_decay", "word_dropout")


def _kernels(attention: Tensor) -> AbstractContextManager[None]:
    """Within it, attention is computed by kernels that can differentiate what is asked for.

    The memory-efficient one on GPUs fails where of its inputs the mask alone has a gradient.
    """
    return nullcontext() if attention.dtype == torch.bool else sdpa_kernel(SDPBackend.MATH)


def _first_position(network: PreTrainedModel) -> int:
    """RoBERTa and its kin count positions on from their padding index, others from 0."""
    for module in network.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding):
            return 0 if table.padding_idx is None else table.padding_idx + 1
    return 0


def _load(
    source: str, setting: str, *, whole: bool, **settings: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The network (safetensors only) and tokenizer at a folder or hub id.

    whole: refuse weights that lack a part, as those of a model that was never fine-tuned do.
    """
    try:
        network, found = AutoModelForSequenceClassification.from_pretrained(
            source, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **settings
        )
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{setting}={source}: no safetensors model could be loaded from there ({reason}). "
            f"Set {setting} to a local folder that holds config.json, model.safetensors and "
            "the tokenizer, or to a hub id that this machine can reach"
        ) from error
    if whole and (missing := sorted(found["missing_keys"])):
        raise UserError(
            f"{setting}={source}: no weights for {', '.join(missing[:4])}"
            f"{' ...' if len(missing) > 4 else ''}: a classifier that was not fine-tuned has "
            "nothing to explain; train it first, by train.py model.pretrained=..."
        )
    if (
        not isinstance(tokenizer, PreTrainedTokenizerFast)
        or tokenizer.pad_token_id is None
        or tokenizer.mask_token_id is None
    ):
        raise UserError(f"{setting}={source}: needs a fast tokenizer with a pad and a mask token")
    return network, tokenizer
