"""A language model as a judge: what it answers to a prompt about two texts."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.encoding import EncodedPair, check_unit, collate, word_at, words_at
from gmask_pl.models.pair_classifier import is_watched, output_columns
from gmask_pl.models.reading_traits import Reading
from gmask_pl.models.safe_loading import load, right_tokenizer
from gmask_pl.types import ModelInput, PairBatch, PairEncoder, PairExample, UserError, WordCounts

FIELDS = ("text1", "text2")
_WORTH = 4  # tokens that all rows begin with, from which on they are read once
TEMPLATE = "{text1}\nQuestion: {text2} True or False?\nAnswer:"


class JudgeClassifier(BertPairClassifier):
    """A causal language model that answers a prompt by one of two or more words.

    - network, tokenizer: of transformers, for causal language modelling.
    - template: the prompt, with ``{text1}`` and ``{text2}`` once each, in this order; nothing of it
      is ever removed. For a chat model it is what ``tokenizer.apply_chat_template`` gives.
    - answers: what stands behind the prompt for each label, such as ``(" no", " yes")`` with the
      space that it begins with. What is compared is the first token of each: the logit of the last
      answer less that of the first is the log-odds of two.
    - labels: names of the answers; None: the answers without spaces around them.
    - max_length: tokens of the longest prompt; of longer ones the longer text is cut at its end.
      None: as many as the tokenizer says.

    Raises UserError for a template or answers that say nothing.

    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from gmask_pl import JudgeClassifier, PairExplainer, TinyBert
    >>> words = {"dogs": 9, "run": 9, "no": 9, "yes": 9}
    >>> tokenizer = TinyBert.from_data(labels=["no", "yes"], word_counts=words).tokenizer
    >>> sizes = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 64}
    >>> network = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes))
    >>> judge = JudgeClassifier(  # or AutoModelForCausalLM.from_pretrained(...) and its tokenizer
    ...     network=network, tokenizer=tokenizer, template="{text1} {text2}", answers=("no", "yes")
    ... )
    >>> judge.labels, len(PairExplainer(judge, method="occlusion")("dogs run", "dogs").scores)
    (('no', 'yes'), 3)
    """

    weights_tag = "JudgeClassifier"
    usual_removal = "delete"  # decoders read texts without gaps
    # Whether it may go on from what all rows begin with; found by trying, see `_logits`.
    _shares: bool | None = None
    found_out = (*BertPairClassifier.found_out, "_shares")

    def __init__(
        self,
        *,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        template: str = TEMPLATE,
        answers: Sequence[str] = (" False", " True"),
        labels: Sequence[str] | None = None,
        max_length: int | None = 512,
    ) -> None:
        tokenizer = right_tokenizer(network, tokenizer, "the network")
        names = [answer.strip() for answer in answers] if labels is None else list(labels)
        if len(names) != len(answers) or len({*names}) < max(2, len(names)):
            raise UserError(f"labels={names}: give each of two or more answers a name of its own")
        columns = list(range(len(names)))
        super().__init__(
            network=network,
            tokenizer=tokenizer,
            labels=names,
            columns=columns,
            max_length=max_length,
            first_token=False,
            outputs="softmax",
        )
        self.template, self.parts = template, _parts(template)
        self.answers = [_first_token(tokenizer, answer) for answer in answers]
        if len({*self.answers}) < len(self.answers):
            raise UserError(f"answers={list(answers)}: two of them begin with the same token")
        room = self.max_length - len(self._prompt("", "").ids)
        if room < 2:
            raise UserError(
                f"max_length={self.max_length}: the template alone has {self.max_length - room} "
                "tokens: give a larger one, or a shorter template"
            )

    @classmethod
    def from_data(
        cls,
        *,
        labels: Sequence[str],
        word_counts: WordCounts,
        revision: str | None = None,
        **settings: Any,
    ) -> Self:
        raise UserError("model=judge is not trained here: give the one you have, weights=FOLDER")

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
        """The causal language model in a folder or on the hub, in safetensors, as a judge.

        - weights: the folder or hub id.
        - labels: names of the answers, in their order; label_order: the same, where the data set
          has its labels in another order.
        - revision: of a hub id.
        - settings: of the constructor.

        Raises UserError for what cannot be loaded, and for labels that do not fit.

        >>> import tempfile
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> from gmask_pl import JudgeClassifier, TinyBert
        >>> words = {"dogs": 9, "run": 9, "no": 9, "yes": 9}
        >>> tokenizer = TinyBert.from_data(labels=["no", "yes"], word_counts=words).tokenizer
        >>> config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1, n_head=1)
        >>> with tempfile.TemporaryDirectory() as folder:  # or one of yours, or a hub id
        ...     GPT2LMHeadModel(config).save_pretrained(folder)
        ...     _ = tokenizer.save_pretrained(folder)
        ...     judge = JudgeClassifier.from_weights(folder, answers=("no", "yes"))
        >>> judge.labels
        ('no', 'yes')
        """
        network, tokenizer = load(
            str(weights), "weights", whole=True, revision=revision, head=AutoModelForCausalLM
        )
        given = {"network": network, "tokenizer": tokenizer} | settings
        model = cls(labels=label_order or labels, **given)
        if labels is not None:
            columns = output_columns(labels, model.labels, label_order, f"weights={weights}")
            model.answers = [model.answers[column] for column in columns]
            model.labels = tuple(labels)
        return model

    @classmethod
    def as_stored(cls, weights: str | Path, **settings: Any) -> Self:
        return cls.from_weights(weights, **settings)

    def encoder(self, unit: str) -> PairEncoder:
        if check_unit(unit) == "token":
            raise UserError("unit=token: of a prompt words are explained: set unit=word")
        return _PromptEncoder(self)

    def direct(
        self,
        example: PairExample,
        removal: str | None = None,
        removed: Tensor | None = None,
        *,
        as_padding: bool = True,
    ) -> Tensor:
        """By the network's own call on the prompt."""
        batch = self.encoder("word")([example]).to(self.device)
        named = {"input_ids": batch.token_ids, "attention_mask": batch.attention.long()}
        if self._sends_segments:
            named["token_type_ids"] = batch.segment
        if removal is not None and removed is not None:
            named = self.without(named, removal, removed[None], as_padding=as_padding)
            if removal == "zero":
                embedded = self.network.get_input_embeddings()(named.pop("input_ids"))
                named["inputs_embeds"] = embedded * ~removed[None, :, None]
            elif removal == "pad":
                named["attention_mask"] = named["attention_mask"].long()
                if (first := self.reading().first_position) is not None:
                    places = torch.arange(len(removed), device=removed.device)
                    named["position_ids"] = places[None] + first
        found: Tensor = self.network(**named).logits[0, -1, self.answers]
        return found

    def _logits(self, inputs: ModelInput, reading: Reading) -> Tensor:
        """The logits of the answers behind the last token that is read."""
        places = torch.arange(inputs.token_ids.shape[1], device=inputs.token_ids.device)
        last = ((inputs.attention > 0) * places).amax(1)
        begin = self._shared(inputs, last)
        if begin == 0:
            return self._behind(last, self._named(inputs, reading))
        if self._shares is None:  # some networks do not go on from where they were as they would
            plain = self._behind(last, self._named(inputs, reading))
            try:
                found = self._behind(last - begin, self._continued(inputs, reading, begin))
            except (AttributeError, TypeError, ValueError, RuntimeError, LookupError):
                self._shares = False
                return plain
            self._shares = torch.allclose(found, plain, rtol=1e-4, atol=1e-4)
            return plain
        return self._behind(last - begin, self._continued(inputs, reading, begin))

    def _behind(self, last: Tensor, named: Mapping[str, Any]) -> Tensor:
        """The logits of the answers behind the token ``last`` (N,) of each row."""
        # Of few places, as a vocabulary is large.
        needed, which = last.unique(return_inverse=True)
        if "logits_to_keep" in self._accepts:
            logits = self.network(**named, logits_to_keep=needed).logits[:, :, self.answers]
        else:
            logits = self.network(**named).logits[:, needed][:, :, self.answers]
        found: Tensor = logits[torch.arange(len(which), device=which.device), which]
        return found

    def _shared(self, inputs: ModelInput, last: Tensor) -> int:
        """How many tokens all rows begin with, which need to be read once; 0 where it is not worth
        it, or where somebody watches the network or differentiates its answers."""
        if self._shares is False or len(last) < 2 or inputs.attention.dtype != torch.bool:
            return 0
        if inputs.gate is not None or torch.is_grad_enabled() or is_watched(self.network):
            return 0
        alike = inputs.attention.all(0)
        for field in (inputs.token_ids, inputs.positions):
            alike &= (field == field[:1]).all(0)
        count = min(int(alike.long().cumprod(0).sum()), int(last.min()))
        return count if count >= _WORTH else 0

    def _continued(self, inputs: ModelInput, reading: Reading, begin: int) -> dict[str, Any]:
        """What the network is asked about the tokens from ``begin`` on, the others being read."""
        first = ModelInput(
            inputs.token_ids[:1, :begin],
            inputs.attention[:1, :begin],
            inputs.segment[:1, :begin],
            inputs.positions[:1, :begin],
        )
        few = {"logits_to_keep": 1} if "logits_to_keep" in self._accepts else {}
        named = self._named(first, reading)
        read = self.network(**named, **few, use_cache=True).past_key_values
        read.batch_repeat_interleave(len(inputs.token_ids))
        rest: dict[str, Any] = dict(self._named(inputs, reading))
        for name in ("input_ids", "token_type_ids", "position_ids"):
            if name in rest:
                rest[name] = rest[name][:, begin:]
        return rest | {"past_key_values": read, "use_cache": True}

    def _prompt(self, text1: str, text2: str) -> Any:
        """The tokens of the prompt."""
        begin, between, end = self.parts
        bos = getattr(self.tokenizer, "bos_token", None)
        begins = bool(bos) and begin.startswith(str(bos))  # a chat template has said so
        prompt = f"{begin}{text1}{between}{text2}{end}"
        return self.tokenizer(prompt, add_special_tokens=not begins).encodings[0]


class _PromptEncoder:
    """Encodes the prompts about pairs; only the words of both texts can be removed."""

    def __init__(self, classifier: JudgeClassifier) -> None:
        self.classifier = classifier
        self.vocabulary_size = max(classifier.tokenizer.get_vocab().values()) + 1

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch:
        encoded = [self._encode(example) for example in examples]
        return collate(examples, encoded, self.classifier.pad_token_id)

    def _encode(self, example: PairExample) -> EncodedPair:
        tokens = self.classifier._prompt(example.text1, example.text2)
        begin, between, _ = self.classifier.parts
        first = len(begin)
        second = first + len(example.text1) + len(between)
        owner = words_at([(s + first, e + first) for s, e in example.spans1])
        n1 = len(example.spans1)
        owner |= words_at([(s + second, e + second) for s, e in example.spans2], n1)
        words = [word_at(owner, span) for span in tokens.offsets]
        over = len(words) - self.classifier.max_length
        sides = ([i for i, w in enumerate(words) if 0 <= w < n1], _from(words, n1))
        if sum(map(len, sides)) < over:
            raise UserError(
                f"pair {example.id}: its prompt has more than {self.classifier.max_length} "
                "tokens even without words: give a larger max_length, or shorter texts"
            )
        cut = {max(sides, key=len).pop() for _ in range(over)}
        read = [place for place in range(len(words)) if place not in cut]
        ids, words = [tokens.ids[place] for place in read], [words[place] for place in read]
        segment = [0] * len(ids)  # to the tokenizer a prompt is one text
        words1, words2 = example.words1, example.words2
        return EncodedPair(ids, segment, words, words1, words2, truncated=over > 0)


def _from(words: Sequence[int], first: int) -> list[int]:
    return [place for place, word in enumerate(words) if word >= first]


def _parts(template: str) -> tuple[str, str, str]:
    """What stands before, between and after the texts. Raises UserError."""
    try:
        found = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"template={template!r}: {error}; write a brace itself twice") from None
    if [name for _, name, _, _ in found if name is not None] != list(FIELDS):
        raise UserError(f"template={template!r}: give {{text1}} and then {{text2}}, each once")
    texts = [text for text, *_ in found]
    return texts[0], texts[1], "".join(texts[2:])


def _first_token(tokenizer: Any, answer: str) -> int:
    ids: list[int] = tokenizer(answer, add_special_tokens=False)["input_ids"]
    if not ids:
        raise UserError(f"answers: {answer!r} has no token")
    return ids[0]
