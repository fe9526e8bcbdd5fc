"""Pre-trained transformers with a sequence-classification head."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from gmask_pl.models.encoding import SubwordEncoder, check_unit, longest_of
from gmask_pl.models.first_token import first_token_only, last_layer
from gmask_pl.models.pair_classifier import (
    PairClassifier,
    gated,
    is_watched,
    no_hooks_left,
    output_columns,
)
from gmask_pl.models.reading_traits import (
    Reading,
    find_reading,
    tables_of_positions,
    tokenizer_words,
    trial_pairs,
    widest_window,
)
from gmask_pl.models.safe_loading import (
    OUTPUTS,
    count_outputs,
    embedding_rows,
    label_names,
    load,
    meaning_of,
    right_tokenizer,
)
from gmask_pl.settings import OneOf, at_least, checked
from gmask_pl.types import ModelInput, PairBatch, PairEncoder, PairExample, UserError, WordCounts


class BertPairClassifier(PairClassifier):
    """A Hugging Face network with a sequence-classification head (Section 4).

    - network, tokenizer: the Hugging Face model and its fast tokenizer.
    - labels: None is what the network calls its outputs.
    - columns: the network's output of each label.
    - max_length: longest input in tokens; None: as many as the tokenizer says. Longer pairs are
      truncated, as they are where the tokenizer or the network's table of positions says less.
    - first_token: allow the last layer to be computed for the first token alone, where that gives
      the same answers.
    - outputs: what they mean, see below; None: as the configuration says, see `meaning_of`.
    - optimizer: how it is trained, see `PairClassifier`.

    Meanings of outputs:

    - ``softmax``: the logits of classes that exclude one another;
    - ``sigmoid``: a logit for each of several labels;
    - ``logit``: one logit, z, as of a re-ranker: two classes with the logits 0 and z;
    - ``score``: one number as it is, as of a regression.

    Raises UserError for a meaning that the number of outputs does not allow, and where no word is
    read of so few tokens.

    >>> from gmask_pl import BertPairClassifier, PairExplainer, TinyBert
    >>> small = TinyBert.from_data(labels=["no", "yes"], word_counts={"dogs": 9, "run": 9})
    >>> network, tokenizer = small.network, small.tokenizer  # of transformers
    >>> model = BertPairClassifier(network=network, tokenizer=tokenizer)
    >>> model.labels, model.outputs, model.max_length
    (('no', 'yes'), 'softmax', 64)
    >>> len(PairExplainer(model, method="occlusion")("dogs run", "dogs").scores)
    3
    """

    weights_tag = "BertPairClassifier"
    found_out: tuple[str, ...] = ("_reading", "_tells_truly")

    @checked
    def __init__(
        self,
        *,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        labels: Sequence[str] | None = None,
        columns: Sequence[int] | None = None,
        max_length: Annotated[int, at_least(2, "tokens: one of each text")] | None = 128,
        first_token: bool = True,
        outputs: Annotated[str, OneOf(OUTPUTS)] | None = None,
        **optimizer: Any,
    ) -> None:
        own = [f"LABEL_{i}" for i in range(count_outputs(network))]
        meaning = meaning_of(network, outputs, "the network")
        labels = labels or label_names(network, meaning) or own
        super().__init__(labels=labels, **optimizer)
        self.meaning = meaning
        self.network, self.tokenizer = network, tokenizer
        room = tables_of_positions(network).values()
        longest = longest_of(tokenizer) if max_length is None else max_length
        self.max_length = min(longest, tokenizer.model_max_length, *room)
        least = tokenizer.num_special_tokens_to_add(pair=True) + 2
        if self.max_length < least:
            raise UserError(
                f"model.net.max_length={self.max_length}: no word is read of so few tokens; the "
                f"model's own and one of each text are {least}"
            )
        self._window = widest_window(network, self.max_length)
        outputs_there = [0] if self.meaning == "score" else range(len(self.labels))
        self.columns = list(columns if columns is not None else outputs_there)
        self.pad_token_id = (
            self._usable(
                tokenizer.pad_token_id, network.config.pad_token_id, tokenizer.eos_token_id, 0
            )
            or 0
        )
        self.mask_token_id = self._usable(tokenizer.mask_token_id)
        self._first_token = first_token
        sent = set(tokenizer("a", "b"))
        accepted = inspect.signature(network.forward).parameters
        self._accepts = frozenset(accepted)
        self._takes_positions = "position_ids" in accepted
        self._takes_attention = "attention_mask" in accepted
        self._sends_segments = "token_type_ids" in accepted and "token_type_ids" in sent
        self._reading: Reading | None = None
        self._tells_truly = False  # its attention weights are those it answers by

    def _usable(self, *ids: int | None) -> int | None:
        """The first of these token ids that the network has an embedding of."""
        rows = embedding_rows(self.network)
        known = (id for id in ids if isinstance(id, int) and (rows is None or 0 <= id < rows))
        return next(known, None)

    @classmethod
    def from_data(
        cls,
        *,
        labels: Sequence[str],
        word_counts: WordCounts,
        pretrained: str = "bert-base-uncased",
        revision: str | None = None,
        **settings: Any,
    ) -> Self:
        names = dict(enumerate(labels))
        network, tokenizer = load(
            pretrained,
            "model.pretrained",
            whole=False,
            revision=revision,
            id2label=names,
            label2id={name: i for i, name in names.items()},
            problem_type="single_label_classification",
            ignore_mismatched_sizes=True,
        )
        return cls(labels=labels, network=network, tokenizer=tokenizer, **settings)

    @classmethod
    def from_weights(
        cls,
        weights: str | Path,
        *,
        labels: Sequence[str] | None = None,
        label_order: Sequence[str] | None = None,
        revision: str | None = None,
        **settings: Any,
    ) -> Self:
        """The model in a folder or on the hub, in safetensors; see `from_network` for the rest.

        - weights: the folder or hub id.
        - labels, label_order, settings: of `from_network`.
        - revision: of a hub id.

        Raises UserError for what cannot be loaded, and as `from_network` does.

        >>> import tempfile
        >>> from gmask_pl import BertPairClassifier, TinyBert
        >>> small = TinyBert.from_data(labels=["no", "yes"], word_counts={"dogs": 9, "run": 9})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     small.save(folder)
        ...     model = BertPairClassifier.from_weights(folder, labels=["yes", "no"])
        >>> model.labels, model.columns  # the network's output of each label
        (('yes', 'no'), [1, 0])
        """
        network, tokenizer = load(str(weights), "weights", whole=True, revision=revision)
        return cls.from_network(
            network,
            tokenizer,
            labels=labels,
            label_order=label_order,
            source=f"weights={weights}",
            **cls._of_stored(settings),
        )

    @classmethod
    def from_network(
        cls,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        *,
        labels: Sequence[str] | None = None,
        label_order: Sequence[str] | None = None,
        source: str = "the network",
        **settings: Any,
    ) -> Self:
        """A Hugging Face model and its tokenizer, which are in memory, as a classifier.

        - network, tokenizer: of transformers. The network is asked in the precision of its weights:
          ``network.float()`` where that is half.
        - labels: None is what the network calls its outputs.
        - label_order: their names for its outputs, in its own order, where it has others.
        - source: what messages call the network.
        - settings: of the constructor.

        Raises UserError for a network of several scores, for a meaning of its outputs that their
        number does not allow, and for a tokenizer that does not go with it.

        >>> from gmask_pl import BertPairClassifier, TinyBert
        >>> small = TinyBert.from_data(labels=["no", "yes"], word_counts={"dogs": 9, "run": 9})
        >>> network, tokenizer = small.network, small.tokenizer  # of transformers
        >>> order = ["different", "same"]  # what its outputs mean
        >>> BertPairClassifier.from_network(network, tokenizer, label_order=order).labels
        ('different', 'same')
        """
        tokenizer = right_tokenizer(network, tokenizer, source)
        meaning = meaning_of(network, settings.get("outputs"), source)
        stored = label_names(network, meaning)
        if stored is None:
            if label_order is None:
                raise UserError(
                    f"{source}: id2label of its config.json names the outputs "
                    f"{network.config.id2label}, but outputs are counted from 0 to "
                    f"{count_outputs(network) - 1}: set label_order to the dataset's label of "
                    "each of them, in this order"
                )
            stored = [f"LABEL_{i}" for i in range(count_outputs(network))]
        labels = labels or label_order or stored
        columns: list[int] | None = None
        if meaning != "score":
            columns = output_columns(labels, stored, label_order, source)
        elif len(labels) != 2:
            raise UserError(
                f"{source}: its output is a score, which decides between two labels, below its "
                f"threshold and not; the dataset's labels are {list(labels)}"
            )
        model = cls(
            network=network, tokenizer=tokenizer, labels=labels, columns=columns, **settings
        )
        return model.to(network.device)

    @classmethod
    def as_stored(
        cls, weights: str | Path, *, revision: str | None = None, **settings: Any
    ) -> Self:
        """The model stored at ``weights`` with its own outputs, in their own order.

        - weights: the folder or hub id.
        - revision: of a hub id.
        - settings: of the constructor.

        Raises UserError for what cannot be loaded.

        >>> import tempfile
        >>> from gmask_pl import BertPairClassifier, TinyBert
        >>> small = TinyBert.from_data(labels=["no", "yes"], word_counts={"dogs": 9, "run": 9})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     small.save(folder)
        ...     BertPairClassifier.as_stored(folder).labels
        ('no', 'yes')
        """
        network, tokenizer = load(str(weights), "weights", whole=True, revision=revision)
        return cls(network=network, tokenizer=tokenizer, **cls._of_stored(settings))

    @classmethod
    def _of_stored(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings without those that `from_data` alone takes, of a fresh network."""
        fresh = inspect.signature(cls.from_data).parameters
        return {name: value for name, value in settings.items() if name not in fresh}

    def save(self, folder: str | Path) -> None:
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def encoder(self, unit: str) -> PairEncoder:
        return SubwordEncoder(self.tokenizer, self.max_length, check_unit(unit), self.pad_token_id)

    @property
    def outputs(self) -> str:
        return "softmax" if self.meaning == "logit" else self.meaning

    @property
    def longest(self) -> int | None:  # type: ignore[override]
        return self.max_length

    @property
    def window(self) -> int:  # type: ignore[override]
        return self._window

    @property
    def skips_hidden(self) -> bool:
        """False for relative positions that follow a token's index, as in DeBERTa and MPNet, and
        for pairs longer than a window of attention."""
        return self.reading().skips_hidden

    @property
    def together(self) -> str:  # type: ignore[override]
        return self.reading().together

    def reading(self) -> Reading:
        """How the network is asked; found by trying when it is first needed."""
        if self._reading is None:
            try:
                with self.undisturbed():
                    self._reading = self._find_reading()
            except AttributeError as error:  # which nn.Module takes for a missing property
                raise RuntimeError(f"the network cannot be tried: {error}") from error
        return self._reading

    def _find_reading(self) -> Reading:
        count = min(self.max_length, max(12, self.window * 3 // 2 + 8))
        words = self.trial_words()
        lengths = [(n // 2, n - n // 2) for n in range(6, 13) if n <= count]
        pairs = trial_pairs(words, [(2, 3), (count // 3, count - count // 3), *lengths])
        return find_reading(
            self._logits,
            self.encoder("word")(pairs).to(self.device),
            positions=(*tables_of_positions(self.network), 0) if self._takes_positions else (),
            first_token=self._first_token and last_layer(self.network) is not None,
            special=self._special_ids(),
        )

    def _special_ids(self) -> set[int]:
        """The tokens that the tokenizer or the network has a use of its own for."""
        names = [f"{name}_token_id" for name in ("pad", "bos", "eos", "sep", "cls", "mask", "unk")]
        owners = (self.tokenizer, self.network.config)
        ids = {getattr(owner, name, None) for owner in owners for name in names}
        return {id for id in ids if isinstance(id, int) and self._usable(id) == id}

    def unreadable(self, batch: PairBatch) -> dict[int, str]:
        reasons: dict[int, str] = {}
        for id in sorted(self.reading().unreadable):
            name = self.tokenizer.convert_ids_to_tokens(id)
            found = ((batch.token_ids == id) & (batch.word_of_token >= 0)).any(1)
            for row in found.nonzero().flatten().tolist():
                reasons[row] = (
                    f"its text holds {name}, by which {type(self.network).__name__} finds places "
                    "in its own input: leave that out of the text"
                )
        return reasons

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """And without dropout, mixed precision and warnings."""
        modes = [(module, module.training) for module in self.modules()]
        said = logging.get_verbosity()
        logging.set_verbosity_error()  # it warns of what is being tried
        self.eval()
        try:
            mixed = torch.autocast(self.device.type, enabled=False)
            with torch.no_grad(), mixed:
                yield
        finally:
            logging.set_verbosity(said)
            for module, training in modes:
                module.training = training

    def trial_words(self) -> Sequence[str]:
        return tokenizer_words(self.tokenizer)

    def forward(self, inputs: ModelInput) -> Tensor:
        reading = self.reading()
        if inputs.attention.dtype != torch.bool and not reading.softens:
            raise UserError(
                f"{type(self.network).__name__} has no attention between on and off, so removal=pad"
                " has no gradient with it: choose removal=zero or mask, or an explainer that needs "
                "no gradients"
            )
        if reading.first_token and (self.training or is_watched(self.network)):
            reading = replace(reading, first_token=False)
        return self._logits(inputs, reading)

    def _logits(self, inputs: ModelInput, reading: Reading) -> Tensor:
        layer = last_layer(self.network) if reading.first_token else None
        alone = nullcontext() if layer is None else first_token_only(layer)
        with _kernels(inputs.attention), alone:
            return self._chosen(self.network(**self._named(inputs, reading)).logits)

    def _chosen(self, logits: Tensor) -> Tensor:
        """The outputs (N, C) in the order of the labels."""
        if logits.shape[-1] != count_outputs(self.network):
            raise UserError(
                f"{type(self.network).__name__} has {logits.shape[-1]} outputs, and num_labels and "
                f"id2label of its configuration say {count_outputs(self.network)}: correct these"
            )
        if self.meaning == "logit":
            logits = torch.cat([torch.zeros_like(logits), logits], -1)
        return logits[:, self.columns]

    def direct(
        self,
        example: PairExample,
        removal: str | None = None,
        removed: Tensor | None = None,
        *,
        as_padding: bool = True,
    ) -> Tensor:
        """By the network's own call on what its tokenizer sends.

        A class that makes other answers of the network's, as by a temperature, asks itself.
        """
        if type(self).forward is not BertPairClassifier.forward:
            return super().direct(example, removal, removed, as_padding=as_padding)
        tokens = self.tokenizer(
            example.text1,
            example.text2,
            truncation="longest_first",
            max_length=self.max_length,
            return_tensors="pt",
        ).to(self.device)
        # An argument without a name of its own is the network's business.
        named = {n: tokens[n] for n in tokens if n in self._accepts or "kwargs" in self._accepts}
        if removal is not None and removed is not None:
            named = self.without(named, removal, removed[None], as_padding=as_padding)
            if removal == "zero":
                embedded = self.network.get_input_embeddings()(named.pop("input_ids"))
                named["inputs_embeds"] = embedded * ~removed[None, :, None]
            elif removal == "pad":
                if not self._takes_attention:
                    raise UserError("the network takes no attention_mask")
                named["attention_mask"] = named["attention_mask"].long()
                if (first := self.reading().first_position) is not None:
                    places = torch.arange(len(removed), device=removed.device)
                    named["position_ids"] = places[None] + first
        return self._chosen(self.network(**named).logits)[0]

    def received_attention(self, inputs: ModelInput, layer: int) -> Tensor:
        """What the first token pays to every token in a layer, the mean of its heads: (N, L).

        Only the eager implementation of attention tells its weights, so this call runs it. Raises
        UserError for a network that does not tell them token by token, and for one in which the
        first token is not what the head reads: a decoder's sees itself alone.
        """
        name, length = type(self.network).__name__, inputs.token_ids.shape[1]
        usual = self.network.config._attn_implementation
        try:
            self.network.set_attn_implementation("eager")
            named = self._named(inputs, self.reading())
            with no_hooks_left(self.network):
                found = self.network(**named, output_attentions=True)
        except (ValueError, NotImplementedError) as error:
            raise UserError(f"{name} does not tell its attention weights ({error})") from error
        finally:
            self.network.set_attn_implementation(usual)
        if not self._tells_truly:
            usual_answer = self._logits(inputs, self.reading())
            told = self._chosen(found.logits)
            if not torch.allclose(told, usual_answer, rtol=1e-2, atol=1e-3):
                raise UserError(f"{name} answers otherwise when it tells its attention weights")
            self._tells_truly = True
        maps = getattr(found, "attentions", None)
        if not maps or any(w is None or w.dim() != 4 or w.shape[2] != length for w in maps):
            raise UserError(f"{name} does not tell its attention weights")
        if any(weights.shape[3] != length for weights in maps):
            raise UserError(f"{name} does not tell its attention from token to token")
        if not -len(maps) <= layer < len(maps):
            raise UserError(
                f"layer={layer}: the model has {len(maps)} layers, 0 to {len(maps) - 1}, or "
                f"-{len(maps)} to -1 from the last"
            )
        own = maps[layer][:, :, 0].float()
        if not torch.allclose(own.sum(-1), own.new_ones(()), atol=0.05):
            raise UserError(f"{name} does not tell its attention weights as shares")
        paid: Tensor = own.mean(1) * inputs.attention
        if length > 1 and not bool((paid[:, 1:] > 0).any()):
            raise UserError(
                f"{name} reads a text from its beginning on, so its first token attends to itself "
                "alone: attention explains nothing of it; choose another explainer"
            )
        if (place := self._classifying()) != 0:
            raise UserError(
                f"{name} classifies by token {place}, and not by the first one, whose attention "
                "this is: choose another explainer"
            )
        return paid

    def _classifying(self) -> int:
        """Where the token stands that the tokenizer adds to classify by; 0 where it adds none."""
        ids = self.tokenizer("a", "b")["input_ids"]
        cls = self.tokenizer.cls_token_id
        return ids.index(cls) if cls in ids and ids[0] != cls else 0

    def _named(self, inputs: ModelInput, reading: Reading) -> dict[str, Tensor]:
        """The input by the network's own names."""
        named: dict[str, Tensor] = {}
        if self._takes_attention:
            named["attention_mask"] = self._attention(inputs.attention)
        if self._sends_segments:
            named["token_type_ids"] = inputs.segment
        if reading.first_position is not None:
            named["position_ids"] = inputs.positions + reading.first_position
        if inputs.gate is None:
            named["input_ids"] = inputs.token_ids
        else:
            named["inputs_embeds"] = gated(self.network.get_input_embeddings(), inputs)
        return named

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


def _kernels(attention: Tensor) -> AbstractContextManager[None]:
    """Within it, attention is computed by kernels that can differentiate what is asked for.

    The memory-efficient one on GPUs fails where of its inputs the mask alone has a gradient.
    """
    return nullcontext() if attention.dtype == torch.bool else sdpa_kernel(SDPBackend.MATH)
