"""What a user holds, as a model that can be asked about masked pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.function import FunctionClassifier
from gmask_pl.models.judge import JudgeClassifier
from gmask_pl.models.pair_classifier import CONFIG, PairClassifier
from gmask_pl.models.parts import BiEncoder
from gmask_pl.models.safe_loading import check_there, is_embedder, json_of, load, of_activation
from gmask_pl.types import UserError

JUDGE = "judge"
_HOW = (
    "give a Hugging Face model and its tokenizer, a CrossEncoder or a SentenceTransformer, a "
    "PairClassifier of this project, or a function of a list of pairs; "
    "PairExplainer.from_pretrained reads a folder or a hub id"
)


def classifier_of(
    model: Any,
    tokenizer: Any = None,
    *,
    labels: Sequence[str] | None = None,
    outputs: str | None = None,
    max_length: int | None = None,
    batch_size: int = 8,
    mask: str | None = None,
    template: str | None = None,
    answers: Sequence[str] | None = None,
) -> PairClassifier:
    """The model that somebody holds, as a PairClassifier.

    - model: a PairClassifier; a Hugging Face network for sequence classification, or a causal
      language model that judges, with its tokenizer; a CrossEncoder or a SentenceTransformer of
      sentence-transformers; or a function of a list of pairs, see `FunctionClassifier`.
    - tokenizer: the fast tokenizer of a Hugging Face network.
    - labels: names of its classes in the order of its outputs; None: its own.
    - outputs: what its outputs mean, see `BertPairClassifier`; None: what it says itself.
    - max_length: tokens that it reads of a pair; None: as many as it can.
    - batch_size, mask: of a function.
    - template, answers: of a causal language model, see `JudgeClassifier`.

    Raises UserError for anything else, and for settings that do not go with the model.
    """
    given: dict[str, Any] = {"tokenizer": tokenizer, "outputs": outputs, "max_length": max_length}
    given |= {"template": template, "answers": answers}
    if isinstance(model, PairClassifier):
        _refuse(given | {"labels": labels, "mask": mask}, "the model has its own")
        return model
    encoder = getattr(model, "model", None)
    if isinstance(encoder, PreTrainedModel) and callable(getattr(model, "predict", None)):
        _refuse({"tokenizer": tokenizer, "mask": mask}, "a CrossEncoder has its own")
        own = "max_seq_length" if hasattr(model, "max_seq_length") else "max_length"
        max_length = max_length or getattr(model, own, None)
        outputs = outputs or _of_activation(model, encoder)
        model, tokenizer = encoder, model.tokenizer
    if isinstance(model, PreTrainedModel):
        if tokenizer is None:
            raise UserError(f"{type(model).__name__}: give its tokenizer, too: (model, tokenizer)")
        if type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
            _refuse({"mask": mask, "outputs": outputs}, "it is not of a language model")
            given_prompt: dict[str, Any] = {
                "template": template,
                "answers": answers,
                "labels": labels,
            }
            return JudgeClassifier(
                network=model,
                tokenizer=tokenizer,
                max_length=max_length,
                **{key: value for key, value in given_prompt.items() if value is not None},
            ).to(model.device)
        _refuse({"template": template, "answers": answers}, "it is of a language model")
        _refuse({"mask": mask}, "it is of a function; this model has a mask token or none")
        return BertPairClassifier.from_network(
            model,
            tokenizer,
            label_order=labels,
            outputs=outputs,
            max_length=max_length,
        )
    if callable(getattr(model, "similarity_pairwise", None)):
        _refuse(given | {"labels": labels, "mask": mask}, "an embedder has its own")
        return BiEncoder(model)
    if callable(model) and not isinstance(model, type):
        _refuse(given, "it is not of a function")
        return FunctionClassifier(model, labels=labels, batch_size=batch_size, mask=mask)
    raise UserError(f"{type(model).__name__} is no model that is known here: {_HOW}")


def stored_model(
    source: str | Path,
    *,
    labels: Sequence[str] | None = None,
    outputs: str | None = None,
    max_length: int | None = None,
    template: str | None = None,
    answers: Sequence[str] | None = None,
    revision: str | None = None,
) -> PairClassifier:
    """The model in a folder or on the hub; one that train.py made by its own class, and one that
    sentence-transformers saved as what it is, a re-ranker or an embedder.

    See `classifier_of` for the settings. revision: of a hub id. Raises UserError.
    """
    check_there(str(source), "weights", revision=revision)
    given: dict[str, Any] = {"outputs": outputs, "max_length": max_length}
    prompt: dict[str, Any] = {"template": template, "answers": answers}
    kind = kind_of(source, revision=revision)
    if kind != JUDGE:
        _refuse(prompt, "it is of a causal language model")
    if kind == "dattn":
        _refuse(given, "the model has its own")
        return DecomposableAttention.from_weights(source, label_order=labels)
    if kind == "embedder":
        _refuse(given, "an embedder has its own")
        return BiEncoder.from_weights(source, label_order=labels, revision=revision)
    head = AutoModelForCausalLM if kind == JUDGE else AutoModelForSequenceClassification
    network, tokenizer = load(str(source), "weights", whole=True, revision=revision, head=head)
    return classifier_of(network, tokenizer, labels=labels, **given, **prompt)


def kind_of(source: str | Path, *, revision: str | None = None) -> str:
    """What a folder or hub id holds, by the name of its model in ``conf/model``.

    ``dattn``, ``embedder``, ``judge``, or else ``bert``. Raises UserError for what
    sentence-transformers keeps there and is not known here.
    """
    hub: dict[str, Any] = {} if revision is None else {"revision": revision}
    if is_embedder(str(source), **hub):
        return "embedder"
    try:
        said = json_of(str(source), CONFIG, **hub)
    except (OSError, ValueError, RecursionError):
        return "bert"  # whoever loads it says why it cannot
    said = said if isinstance(said, dict) else {}
    if said.get("model_type") == DecomposableAttention.__name__:
        return "dattn"
    heads = said.get("architectures") or [""]
    return JUDGE if heads[0] in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() else "bert"


def _of_activation(model: Any, network: PreTrainedModel) -> str | None:
    """What a CrossEncoder makes of its one output: a score by the identity, else by a sigmoid."""
    if int(network.config.num_labels or 0) != 1:
        return None
    activation = getattr(model, "activation_fn", None)
    activation = activation or getattr(model, "default_activation_function", None)
    return None if activation is None else of_activation(type(activation).__name__)


def _refuse(settings: dict[str, Any], why: str) -> None:
    for key, value in settings.items():
        if value is not None:
            raise UserError(f"{key}: {why}: leave it out")
