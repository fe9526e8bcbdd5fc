"""What every task model shares: training, accuracy, and weights on disk."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch
from pytorch_lightning import LightningModule
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy
from transformers import get_linear_schedule_with_warmup

from gmask_pl.command_names import command_name
from gmask_pl.files import whole_file, write_text
from gmask_pl.masking.token_packing import chunks, keep_tokens
from gmask_pl.question import Question, Score, question_about
from gmask_pl.settings import NotNegative, Positive, Share, checked
from gmask_pl.types import (
    JSON,
    ModelInput,
    PairBatch,
    PairEncoder,
    PairExample,
    UserError,
    WordCounts,
)

CONFIG, VOCABULARY, WEIGHTS = "config.json", "vocab.json", "model.safetensors"
_MALFORMED = (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError)
_HOOKED = "_output_capturing_hooks_installed"  # by which transformers knows that they are there
_LETTERS = "abcdefghijklmnopqrst"


class PairClassifier(LightningModule):
    """A classifier of sentence pairs (Section 4).

    A subclass implements `forward` (ModelInput -> logits (N, C)), whose last layer is ``classify``,
    and `encoder`; sets ``pad_token_id``, ``mask_token_id``, ``skips_hidden``, and, where rows of
    other lengths disturb one another, ``together`` (see `types.Classifier`); and names in ``sizes``
    the settings that shape its weights, which are kept with them.

    - labels: the class names in index order.

    The rest is how it is trained, by AdamW, as BERT is fine-tuned (Devlin et al., 2019, Appendix
    A):

    - lr: the peak of the learning rate, reached after ``warmup`` (a share of all steps) and
      followed by a linear decay to zero when ``linear_decay``;
    - weight_decay: of matrices, not of biases and norms;
    - word_dropout: the share of the training pairs of which a random part of the words, a part
      drawn anew from 0 to 1, is hidden. A model trained so answers masked pairs from what is left,
      and not by accident (Hase et al., 2021).

    Raises UserError for a setting out of range.

    >>> import torch
    >>> from gmask_pl import PairClassifier, PairExplainer
    >>> from gmask_pl.models.words import WordEncoder
    >>> class Bag(PairClassifier):  # a linear layer over the counts of the words that are there
    ...     pad_token_id, mask_token_id, skips_hidden = 0, None, True
    ...     def __init__(self, *, vocabulary, **settings):
    ...         super().__init__(**settings)
    ...         self.vocabulary = vocabulary
    ...         self.classify = torch.nn.Linear(len(vocabulary), len(self.labels))
    ...     def encoder(self, unit):
    ...         return WordEncoder(self.vocabulary)
    ...     def forward(self, inputs):
    ...         words = torch.nn.functional.one_hot(inputs.token_ids, len(self.vocabulary))
    ...         return self.classify((words * inputs.attention[..., None]).sum(1).float())
    >>> model = Bag(labels=["no", "yes"], vocabulary=["<pad>", "<unk>", "dogs", "run"])
    >>> len(PairExplainer(model, method="occlusion")("dogs run", "dogs").scores)
    3
    """

    pad_token_id: int
    mask_token_id: int | None
    # The settings that decide its answers, part of its identity: set by whoever makes it of some.
    made_with: JSON | None = None
    # Attributes that are found out while it is asked, and follow from the others: no part of it.
    found_out: tuple[str, ...] = ()
    usual_removal: str = "pad"  # how words are removed unless somebody says otherwise
    vocabulary: Sequence[str] = ()  # the words that it knows, in index order
    sizes: Mapping[str, Any] = MappingProxyType({})
    together: str = "any"
    # By removal, why it is not right, "" where it is; None: the model is to be tried.
    declared: Mapping[str, str] | None = None
    # Whose verdict on removals is its own, too; None: its own is.
    judged_by: PairClassifier | None = None
    # Of a score: what it is called, and what `question_about` takes where nothing else is asked.
    score_name: str = "score"
    usual_question: Mapping[str, float] = MappingProxyType({})
    longest: int | None = None  # tokens of the longest input
    window: int = 0  # tokens of the widest stretch of local attention, below the longest input

    @property
    @abstractmethod
    def skips_hidden(self) -> bool:
        """Whether hidden tokens may be left out (see `types.Classifier`).

        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> model.skips_hidden
        True
        """

    @property
    def outputs(self) -> str:
        """What they mean: ``softmax`` over classes, ``sigmoid`` of labels, or a ``score``.

        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> model.outputs
        'softmax'
        """
        return "softmax"

    def question(self, **asked: Any) -> Question:
        """What is asked of it, see `question_about`, of which None is what is usual for it.

        - asked: ``target``, ``against``, ``threshold`` or ``reference``.

        Raises UserError for what it cannot be asked.

        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> model.question(target="yes").name, model.question().name
        ('p(yes)', 'probability of the predicted class')
        """
        given = {key: value for key, value in asked.items() if value is not None}
        settings: dict[str, Any] = {**self.usual_question, **given}
        found = question_about(self.labels, self.outputs, **settings)
        return replace(found, name=self.score_name) if isinstance(found, Score) else found

    @checked
    def __init__(
        self,
        *,
        labels: Sequence[str],
        lr: Positive = 2e-5,
        weight_decay: NotNegative = 0.01,
        warmup: Share = 0.1,
        linear_decay: bool = True,
        word_dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.lr, self.weight_decay = lr, weight_decay
        self.warmup, self.linear_decay = warmup, linear_decay
        self.word_dropout = word_dropout
        classes = max(2, len(self.labels))  # a model of one score is not trained here
        self.dev_accuracy = MulticlassAccuracy(classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(classes, average="micro")

    @classmethod
    def from_data(cls, *, labels: Sequence[str], word_counts: WordCounts, **settings: Any) -> Self:
        """A fresh model for a dataset with these labels and training words.

        - labels: the class names in index order.
        - word_counts: how often each word stands in the training pairs.
        - settings: of the constructor.

        Raises UserError for settings that cannot be.

        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> model.labels, model.vocabulary
        (('no', 'yes'), ('<pad>', '<unk>', 'dogs'))
        """
        return cls(labels=labels, **settings)

    @classmethod
    def check_together(cls, settings: Mapping[str, Any]) -> None:
        """Raises UserError where the settings of a fresh model contradict one another.

        - settings: those of `from_data`, by name.

        It is asked before any pair is read, so that nobody waits for this error.

        >>> from gmask_pl import TinyBert
        >>> TinyBert.check_together({"hidden_size": 10, "heads": 4})
        Traceback (most recent call last):
        gmask_pl.types.UserError: model.net.heads=4: the heads share model.net.hidden_size=10 evenly
        """

    @classmethod
    def from_weights(
        cls,
        weights: str | Path,
        *,
        labels: Sequence[str] | None = None,
        label_order: Sequence[str] | None = None,
        **settings: Any,
    ) -> Self:
        """The model that `save` has stored in a folder, its logits in the order of ``labels``.

        - weights: the folder.
        - labels: None is the stored model's own.
        - label_order: their names for its outputs, where it has others.
        - settings: those of the constructor that are not stored.

        Raises UserError for a folder that holds no such model, and for labels that do not fit.

        >>> import tempfile
        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder)
        ...     again = DecomposableAttention.from_weights(folder)
        >>> again.labels, again.vocabulary
        (('no', 'yes'), ('<pad>', '<unk>', 'dogs'))
        """
        folder = Path(weights)
        try:
            stored = json.loads((folder / CONFIG).read_text("utf-8"))
            own, known = stored["labels"], dict(stored["sizes"])
            labels = labels or label_order or own
            columns = output_columns(labels, own, label_order, f"weights={folder}")
            if (folder / VOCABULARY).is_file():
                known["vocabulary"] = json.loads((folder / VOCABULARY).read_text("utf-8"))
            state = load_file(folder / WEIGHTS)
            model = cls(labels=labels, **settings | known)  # last: its first weights are drawn
            for name in [name for name in state if name.startswith("classify.")]:
                state[name] = state[name][columns]
            model.load_state_dict(state)
        except _MALFORMED as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"weights={folder}: not a stored {cls.__name__} ({reason}); name a folder that "
                f"{command_name('train')} wrote with the same model"
            ) from error
        return model

    @classmethod
    def as_stored(cls, weights: str | Path, **settings: Any) -> Self:
        """The model stored at ``weights`` with its own outputs, in their own order.

        - weights: the folder.
        - settings: those of the constructor that are not stored.

        Raises UserError as `from_weights` does.

        >>> import tempfile
        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder)
        ...     again = DecomposableAttention.as_stored(folder)
        >>> again.labels, again.vocabulary
        (('no', 'yes'), ('<pad>', '<unk>', 'dogs'))
        """
        return cls.from_weights(weights, **settings)

    def save(self, folder: str | Path) -> None:
        """Writes all that `from_weights` needs; the weights as safetensors.

        - folder: where; it is made where it is not there.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder)
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['config.json', 'model.safetensors', 'vocab.json']
        """
        folder, kind, sizes = Path(folder), type(self).__name__, dict(self.sizes)
        config = {"model_type": kind, "labels": list(self.labels), "sizes": sizes}
        write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
        if self.vocabulary:
            write_text(folder / VOCABULARY, json.dumps(self.vocabulary, ensure_ascii=False))
        with whole_file(folder / WEIGHTS) as draft:
            save_file(self.state_dict(), draft)

    @abstractmethod
    def forward(self, inputs: ModelInput) -> Tensor:
        """Logits (N, C)."""

    @abstractmethod
    def encoder(self, unit: str) -> PairEncoder:
        """The encoder whose W axis counts words or tokens.

        - unit: ``word`` or ``token``. Raises UserError for one that the model does not have.

        >>> from gmask_pl import DecomposableAttention
        >>> from gmask_pl.types import PairExample
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> pair = PairExample("1", "dogs", "dogs", ((0, 4),), ((0, 4),))
        >>> model.encoder("word")([pair]).token_ids.tolist()  # dogs is word 2
        [[2, 2]]
        """

    def read(self, batch: PairBatch) -> Tensor:
        """Logits (B, C) of whole pairs.

        - batch: as the model's encoder makes it.

        >>> from gmask_pl import DecomposableAttention
        >>> from gmask_pl.types import PairExample
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> pair = PairExample("1", "dogs", "dogs", ((0, 4),), ((0, 4),))
        >>> model.read(model.encoder("word")([pair])).shape
        torch.Size([1, 2])
        """
        if self.together == "any":
            return self._read(batch, torch.arange(len(batch)), batch.token_ids.shape[1])
        places = torch.arange(1, batch.token_ids.shape[1] + 1, device=batch.device)
        lengths = (batch.attention * places).amax(1).cpu()
        found = [
            (rows, self._read(batch, rows, int(lengths[rows[0]])))
            for rows in chunks(lengths, batch.token_ids.numel(), self.together)
        ]
        order = torch.cat([rows for rows, _ in found]).argsort()
        return torch.cat([logits for _, logits in found])[order.to(batch.device)]

    def _read(self, batch: PairBatch, rows: Tensor, length: int) -> Tensor:
        """Logits of these rows of a batch, of which ``length`` tokens are read."""
        ids, attention, segment = (
            field[rows.to(batch.device), :length]
            for field in (batch.token_ids, batch.attention, batch.segment)
        )
        positions = torch.arange(length, device=batch.device).expand_as(ids)
        logits: Tensor = self(ModelInput(ids, attention, segment, positions))
        return logits

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Within it the model is tried: it answers as when it is asked, whatever is under way.

        >>> import torch
        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> with model.undisturbed():
        ...     print(torch.is_grad_enabled())
        False
        """
        with torch.no_grad():
            yield

    def unreadable(self, batch: PairBatch) -> dict[int, str]:
        """Why the model cannot be asked about pairs of a batch, by their rows.

        >>> from gmask_pl import DecomposableAttention
        >>> from gmask_pl.types import PairExample
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> pair = PairExample("1", "dogs", "dogs", ((0, 4),), ((0, 4),))
        >>> model.unreadable(model.encoder("word")([pair]))  # it reads any pair
        {}
        """
        return {}

    def trial_words(self) -> Sequence[str]:
        """Words that the model knows, to be tried on: its ``vocabulary``, where it has one.

        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> model.trial_words()
        ['dogs']
        """
        words = [word for word in self.vocabulary if word.isalnum()]
        return words or [first + second for first in _LETTERS for second in _LETTERS]

    def direct(
        self,
        example: PairExample,
        removal: str | None = None,
        removed: Tensor | None = None,
        *,
        as_padding: bool = True,
    ) -> Tensor:
        """Logits (C,) of one pair alone, asked in the plainest way: what others are held against.

        - example: the pair.
        - removal, removed: tokens (L,) bool that are not there, and how; None: the whole pair.
        - as_padding: those that ``pad`` hides are padding, else they keep their ids.

        >>> import torch
        >>> from gmask_pl import DecomposableAttention
        >>> from gmask_pl.types import PairExample
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> pair = PairExample("1", "dogs", "dogs", ((0, 4),), ((0, 4),))
        >>> batch = model.eval().encoder("word")([pair])
        >>> torch.allclose(model.direct(pair), model.read(batch)[0])
        True
        """
        batch = self.encoder("word")([example]).to(self.device)
        named = {"input_ids": batch.token_ids, "attention_mask": batch.attention}
        named["segment"] = batch.segment
        gate: Tensor | None = None
        if removal is not None and removed is not None:
            named = self.without(named, removal, removed[None], as_padding=as_padding)
            gate = (~removed[None]).float() if removal == "zero" else None
        ids, seen, segment = named.values()
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        logits: Tensor = self(ModelInput(ids, seen, segment, positions, gate))
        return logits[0]

    def without(
        self, named: dict[str, Tensor], removal: str, gone: Tensor, *, as_padding: bool
    ) -> dict[str, Tensor]:
        """A pair's input by its names, as in `direct`, without some of its tokens.

        - named: tensors (1, L).
        - removal: how they go. Under ``zero`` the input is left as it is: what goes are the
          embeddings.
        - gone (1, L) bool: which.
        - as_padding: those that ``pad`` hides are padding, else they keep their ids.

        >>> import torch
        >>> from gmask_pl import DecomposableAttention
        >>> model = DecomposableAttention.from_data(labels=["no", "yes"], word_counts={"dogs": 2})
        >>> ids, gone = torch.tensor([[5, 6, 7]]), torch.tensor([[False, True, False]])
        >>> model.without({"input_ids": ids}, "delete", gone, as_padding=True)
        {'input_ids': tensor([[5, 7]])}
        """
        if removal == "delete":
            return {name: part[~gone][None] for name, part in named.items()}
        ids = named["input_ids"]
        if removal == "mask":
            return named | {"input_ids": ids.masked_fill(gone, self.mask_token_id or 0)}
        if removal == "pad":
            ids = ids.masked_fill(gone, self.pad_token_id) if as_padding else ids
            return named | {"input_ids": ids, "attention_mask": ~gone}
        return named

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        if self.word_dropout > 0:
            batch = drop_words(batch, self.word_dropout)
        loss = torch.nn.functional.cross_entropy(self.read(batch), batch.labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        logits = self.read(batch)
        self.dev_accuracy(logits, batch.labels)
        loss = torch.nn.functional.cross_entropy(logits, batch.labels)
        self.log("dev/loss", loss, batch_size=len(batch), sync_dist=True)
        self.log("dev/accuracy", self.dev_accuracy, prog_bar=True, batch_size=len(batch))

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        self.test_accuracy(self.read(batch), batch.labels)
        self.log("test/accuracy", self.test_accuracy, batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        decayed = [p for p in self.parameters() if p.requires_grad and p.dim() > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.dim() <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.lr,
        )
        if not self.linear_decay:
            return optimizer
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = get_linear_schedule_with_warmup(optimizer, int(self.warmup * total), total)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def drop_words(batch: PairBatch, share: float) -> PairBatch:
    """The batch with random words hidden in about ``share`` of its pairs."""
    b, width = batch.word_valid.shape
    keep = torch.rand(b, width, device=batch.device) < torch.rand(b, 1, device=batch.device)
    keep |= torch.rand(b, 1, device=batch.device) >= share
    return replace(batch, attention=keep_tokens(batch.word_of_token, batch.attention, keep))


def gated(embedding: nn.Module, inputs: ModelInput) -> Tensor:
    """The word embeddings (N, L, D) of an input, each times its gate (Eq. 1)."""
    words: Tensor = embedding(inputs.token_ids)
    if inputs.gate is None:
        return words
    gate = inputs.gate[..., None].to(words.dtype)
    words = words * gate
    if inputs.substitute is not None:
        instead = embedding(torch.tensor(inputs.substitute, device=words.device))
        words = words + (1 - gate) * instead
    return words


def output_columns(
    labels: Sequence[str], stored: Sequence[str], label_order: Sequence[str] | None, source: str
) -> list[int]:
    """The stored model's output column of each dataset label.

    ``stored`` are the label names the model carries. Raises UserError when neither they nor
    ``label_order`` say which output is which label, and when they contradict each other.
    """
    names = list(label_order) if label_order is not None else list(stored)
    for said, given in ((source, stored), ("label_order", names), ("labels", labels)):
        if len({*given}) < len(given):
            raise UserError(
                f"{said} names the outputs {list(given)}, of which two have one name: give each "
                "class a name of its own, in the model's config.json (id2label) or by label_order"
            )
    if sorted(names) != sorted(labels):
        said = "label_order" if label_order is not None else source
        raise UserError(
            f"{said} names the outputs {names}, but the dataset's labels are {list(labels)}: set "
            f"label_order to the dataset's label of each of the model's {len(stored)} outputs"
        )
    if len(names) != len(stored):
        raise UserError(f"label_order has {len(names)} names, the model has {len(stored)} outputs")
    if names != list(stored) and sorted(names) == sorted(stored):
        raise UserError(
            f"label_order names the outputs {names}, but the model at {source} itself says "
            f"{list(stored)}: leave label_order out, or correct the names in its config.json"
        )
    return [names.index(label) for label in labels]


@contextmanager
def no_hooks_left(network: nn.Module) -> Iterator[None]:
    """Hooks that transformers puts on a network within are gone afterwards.

    It does where attention is asked for, and leaves them; they cannot be pickled.
    """
    before = {id(hook) for hooks in _hooks(network) for hook in hooks.values()}
    marked = [module for module in network.modules() if hasattr(module, _HOOKED)]
    try:
        yield
    finally:
        for hooks in _hooks(network):
            for key, hook in list(hooks.items()):
                if id(hook) not in before and not _watches(hook):
                    del hooks[key]
        for module in network.modules():
            if hasattr(module, _HOOKED) and not any(module is other for other in marked):
                delattr(module, _HOOKED)


def is_watched(network: nn.Module) -> bool:
    """Whether a hook on a part of a network may want to see every token in it."""
    return any(map(_watches, (h for hooks in _hooks(network) for h in hooks.values())))


def _hooks(network: nn.Module) -> Iterator[dict[int, Any]]:
    for part in network.modules():
        yield from (part._forward_hooks, part._forward_pre_hooks)


def _watches(hook: Any) -> bool:
    """Not those that transformers leaves behind, which record what a caller has asked to see."""
    return not str(getattr(hook, "__module__", "")).startswith("transformers.")
