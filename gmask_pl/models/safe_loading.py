"""Networks and tokenizers from a folder or the hub: safetensors only, and no foreign code."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from huggingface_hub import model_info, try_to_load_from_cache
from huggingface_hub.errors import RepositoryNotFoundError, StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME
from transformers.utils.hub import cached_file

from gmask_pl.command_names import command_name
from gmask_pl.question import OF_A_SCORE
from gmask_pl.types import UserError

SUFFIX = ".safetensors"
OUTPUTS = ("softmax", "sigmoid", "logit", "score")  # what outputs of a network may mean
# What sentence-transformers keeps beside config.json, and in it under this name.
_OWN_CONFIG, _MODULES = "config_sentence_transformers.json", "modules.json"
_OF_ITS_CONFIG, _EMBEDDER = "sentence_transformers", "SentenceTransformer"
_FILES = {"safe": "model.safetensors", "pickle": "pytorch_model.bin"}
_ADAPTER = "adapter_config.json"  # of the package peft
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_WAIT = 10  # seconds for the hub to say whether it has a model
_ACTIVATIONS = {"Identity": "score", "Sigmoid": "logit"}  # by their classes in torch
# What a damaged or strange folder leads transformers to.
_UNREADABLE = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError),
    StrictDataclassError,  # of a configuration
)


def load(
    source: str,
    setting: str,
    *,
    whole: bool,
    revision: str | None,
    head: Any = AutoModelForSequenceClassification,
    **settings: Any,
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The network and tokenizer at a folder or hub id, of a ``revision`` of the latter.

    setting: what the user calls ``source``. whole: refuse weights that lack a part, as those of a
    model that was never fine-tuned do. head: the class of transformers that loads it. Raises
    UserError for whatever cannot be loaded, for weights that are not in safetensors files of the
    folder itself, and for a model that brings its code.
    """
    check_there(source, setting, revision=revision)
    if revision is not None and Path(source).is_dir():
        raise UserError(
            f"model.revision={revision}: {setting}={source} is a folder, which has none; leave it "
            "out, or name a hub id"
        )
    hub: dict[str, Any] = {} if revision is None else {"revision": revision}
    try:
        check_index(source, setting, **hub)
        _check_whole(source, setting, **hub)
        network, found = head.from_pretrained(
            source,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **hub,
            **settings,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **hub)
        classifies = head is AutoModelForSequenceClassification
        if (
            classifies
            and count_outputs(network) == 1
            and not hasattr(network.config, _OF_ITS_CONFIG)
        ):
            said = json_of(source, _OWN_CONFIG, **hub)
            if isinstance(said, dict) and said.get("activation_fn") is not None:
                network.config.sentence_transformers = said
    except (*_UNREADABLE, SafetensorError) as error:
        raise UserError(_why(source, setting, error)) from error
    if whole and (missing := sorted(found["missing_keys"])):
        raise UserError(
            f"{setting}={source}: no weights for {', '.join(missing[:4])}"
            f"{' ...' if len(missing) > 4 else ''}: a classifier that was not fine-tuned has "
            f"nothing to explain; train it first, by {command_name('train')} model.pretrained=..."
        )
    return network, right_tokenizer(network, tokenizer, f"{setting}={source}")


def check_there(source: str, setting: str, *, revision: str | None = None) -> None:
    """Raises UserError for what is neither a folder nor a model of the hub that can be had.

    Loading asks for one file after the other, and waits long for each where nobody answers. So the
    hub is asked once, of a model that no earlier download has left here.
    """
    if Path(source).exists():
        return
    if source.count("/") > 1 or source.startswith((".", "~", "/")) or Path(source).is_absolute():
        raise UserError(f"{setting}={source}: there is no such folder")
    try:
        files = (CONFIG_NAME, _MODULES)
        if any(isinstance(_cached(source, name, revision), str) for name in files):
            return
        model_info(source, revision=revision, timeout=_WAIT)
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{setting}={source}: there is no such folder, and no such model on the hub that this "
            "machine may see: correct the name, or log in by `hf auth login` for a private one"
        ) from error
    except Exception as error:  # the library for requests has errors of its own, as has a proxy
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{setting}={source}: there is no such folder, and the hub cannot be asked for a model "
            f"of this name ({reason}): set {setting} to a local folder that holds {CONFIG_NAME}, "
            f"{_FILES['safe']} and the tokenizer, or to a hub id that this machine can reach"
        ) from error


def _cached(source: str, name: str, revision: str | None) -> object:
    return try_to_load_from_cache(source, name, revision=revision)


def _check_whole(source: str, setting: str, **hub: Any) -> None:
    """Raises UserError for an adapter, without which the model beside it would be explained."""
    if _there(source, _ADAPTER, **hub) is not None:
        raise UserError(_of_an_adapter(f"{setting}={source}"))


def _of_an_adapter(told: str) -> str:
    return (
        f"{told}: it holds {_ADAPTER}, an adapter of peft, which is not read here: merge it into "
        "its model, by model.merge_and_unload().save_pretrained(FOLDER) with peft, save the "
        "tokenizer there too, and name that folder"
    )


def _why(source: str, setting: str, error: BaseException) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if "custom code" in reason:
        return (
            f"{setting}={source}: the model brings its own Python code, which is never run here; "
            "choose one that transformers knows by itself"
        )
    if "single_label_classification" in reason and "num_labels" in reason:
        return (
            f"{setting}={source}: its {CONFIG_NAME} has one label, and a problem_type of "
            "single_label_classification, which is of two and more: take problem_type out where "
            "the output is a logit (its sigmoid is a probability), or set it to regression where "
            "it is a score"
        )
    if _complete(Path(source)):
        return (
            f"{setting}={source}: the files of a model are there, and it cannot be made of them "
            f"({reason}): correct what this names, or save the model and its tokenizer anew by "
            "save_pretrained"
        )
    return (
        f"{setting}={source}: no safetensors model could be loaded from there ({reason}). "
        f"Set {setting} to a local folder that holds config.json, model.safetensors and "
        "the tokenizer, or to a hub id that this machine can reach"
    )


def _complete(folder: Path) -> bool:
    """Whether a folder has a configuration, weights and a tokenizer, whatever they hold."""
    kinds = ((CONFIG_NAME,), (_FILES["safe"], SAFE_WEIGHTS_INDEX_NAME), _TOKENIZER)
    return all(any((folder / name).is_file() for name in names) for names in kinds)


def is_embedder(source: str, *, revision: str | None = None) -> bool:
    """Whether a folder or hub id holds a SentenceTransformer, which embeds one text at a time.

    Raises UserError for what sentence-transformers keeps there and is not known here.
    """
    hub: dict[str, Any] = {} if revision is None else {"revision": revision}
    try:
        if json_of(source, _MODULES, **hub) is None:
            return False
        said = json_of(source, _OWN_CONFIG, **hub)
    except _UNREADABLE as error:
        if not Path(source).is_dir():
            return False  # whoever loads it says why it cannot
        raise UserError(_why(source, "weights", error)) from error
    kind = said.get("model_type", _EMBEDDER) if isinstance(said, dict) else _EMBEDDER
    if kind not in (_EMBEDDER, "CrossEncoder"):
        raise UserError(
            f"weights={source}: it holds a {kind} of sentence-transformers, which is not known "
            "here: give a function from Python, f(pairs) -> scores"
        )
    return bool(kind == _EMBEDDER)


def load_embedder(source: str, setting: str, *, revision: str | None = None) -> Any:
    """The SentenceTransformer at a folder or hub id, of a ``revision`` of the latter.

    setting: what the user calls ``source``. Raises UserError where sentence-transformers is not
    installed, for weights that are not in safetensors files, and for modules that are not its own.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(
            f"{setting}={source}: an embedder needs sentence-transformers: "
            "pip install sentence-transformers"
        ) from error
    check_there(source, setting, revision=revision)
    hub: dict[str, Any] = {} if revision is None else {"revision": revision}
    try:
        check_index(source, setting, **hub)
        _check_whole(source, setting, **hub)
        _check_modules(source, setting, **hub)
        _check_files(Path(source), setting)
        return SentenceTransformer(
            source,
            revision=revision,
            device="cpu",
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        ).eval()
    except (*_UNREADABLE, SafetensorError) as error:
        raise UserError(_why(source, setting, error)) from error


def _check_modules(source: str, setting: str, **hub: Any) -> None:
    """Raises UserError for modules of an embedder that bring their code or a pickle."""
    modules = json_of(source, _MODULES, **hub)
    if not isinstance(modules, list):
        raise UserError(f"{setting}={source}: there is no {_MODULES}: it holds no embedder")
    for module in modules:
        kind, path = str(module["type"]), str(module["path"])
        if not kind.startswith("sentence_transformers."):
            raise UserError(
                f"{setting}={source}: {_MODULES} names {kind[:100]!r}, which is code of its own "
                "and is never run here; choose a model that sentence-transformers knows by itself"
            )
        inside = PurePosixPath(path.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise UserError(f"{setting}={source}: {_MODULES} names {path[:100]!r}, outside of it")
        names = {end: f"{path}/{name}".lstrip("/") for end, name in _FILES.items()}
        if _there(source, names["pickle"], **hub) and not _there(source, names["safe"], **hub):
            raise UserError(
                f"{setting}={source}: {names['pickle']} is a pickle, which is never loaded here: "
                "save the model anew, which writes safetensors"
            )


def _check_files(folder: Path, setting: str) -> None:
    """Raises UserError for a pickle of weights, an index of some or an adapter below a folder."""
    for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if file.name == _ADAPTER:
            raise UserError(_of_an_adapter(f"{setting}={file.parent}"))
        if file.name == _FILES["pickle"] and not file.with_name(_FILES["safe"]).exists():
            raise UserError(
                f"{setting}={folder}: {file.relative_to(folder)} is a pickle, which is never "
                "loaded here: save the model anew, which writes safetensors"
            )
        if file.name == SAFE_WEIGHTS_INDEX_NAME:
            check_index(str(file.parent), setting)


def json_of(source: str, name: str, **hub: Any) -> Any:
    """What a JSON file of a folder or hub id holds; None where there is none. Raises ValueError."""
    file = _there(source, name, **hub)
    return None if file is None else json.loads(Path(file).read_text("utf-8"))


def _there(source: str, name: str, **hub: Any) -> str | None:
    """The path of a file of a folder or hub id; None where there is none."""
    return cached_file(
        source,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
        **hub,
    )


def check_index(source: str, setting: str, **hub: Any) -> None:
    """Raises UserError for an index of shards that names anything but safetensors files beside it.

    transformers loads what an index names: another kind of file as a pickle, and any path.
    """
    read = json_of(source, SAFE_WEIGHTS_INDEX_NAME, **hub)
    if read is None:
        return
    shards = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(shards, dict):
        raise UserError(f"{setting}={source}: {SAFE_WEIGHTS_INDEX_NAME} holds no weight_map")
    for shard in sorted({str(name) for name in shards.values()}):
        plain = PurePosixPath(shard.replace("\\", "/")).name == shard
        if not plain or not shard.endswith(SUFFIX):
            raise UserError(
                f"{setting}={source}: {SAFE_WEIGHTS_INDEX_NAME} names {shard[:100]!r}; weights are "
                f"read from {SUFFIX} files of the same folder only"
            )


def right_tokenizer(
    network: PreTrainedModel, tokenizer: object, of: str
) -> PreTrainedTokenizerFast:
    """The tokenizer. Raises UserError for a slow one, and one of more tokens than the network."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"{of}: {type(tokenizer).__name__} is no fast tokenizer, which alone "
            "says where in a text a token stands; choose a model that has one (tokenizer.json)"
        )
    rows = embedding_rows(network)
    special = {*tokenizer.all_special_ids}
    known = () if rows is None else tokenizer.get_vocab().values()
    if beyond := [id for id in known if id >= (rows or 0) and id not in special]:
        raise UserError(
            f"{of}: the tokenizer has token ids up to {max(beyond)}, the network embeddings of "
            f"{rows} tokens: they do not belong together; give the model its own tokenizer"
        )
    return tokenizer


def embedding_rows(network: PreTrainedModel) -> int | None:
    """How many tokens the network has embeddings of; None where it does not show them."""
    try:
        embedding = network.get_input_embeddings()
    except NotImplementedError:
        return None
    return embedding.num_embeddings if isinstance(embedding, nn.Embedding) else None


def meaning_of(network: PreTrainedModel, outputs: str | None, source: str) -> str:
    """What the outputs mean: one of OUTPUTS.

    outputs: what the user says; None: as the configuration has it. source: what messages call the
    network. Raises UserError where that does not go with the number of outputs.
    """
    meaning, count = outputs or _configured(network), count_outputs(network)
    if meaning not in OUTPUTS:
        raise UserError(f"outputs={meaning}: choose one of {', '.join(OUTPUTS)}")
    if meaning in ("score", "logit") and count != 1:
        raise UserError(
            f"{source}: it has {count} outputs, and outputs={meaning} is of a model with one: set "
            "outputs=softmax (classes that exclude one another) or outputs=sigmoid (labels)"
        )
    if meaning == "softmax" and count == 1:
        raise UserError(
            f"{source}: it has 1 output, and outputs=softmax is of several classes: set "
            "outputs=logit (its sigmoid is a probability) or outputs=score"
        )
    return meaning


def _configured(network: PreTrainedModel) -> str:
    """What the configuration says of the outputs.

    ``softmax`` over classes, ``sigmoid`` of every label, a ``score``, or one ``logit``, whose
    sigmoid is a probability. transformers writes ``problem_type`` into the configuration of what it
    trains; sentence-transformers, which trains re-rankers of one output, the activation of theirs.
    A single output of which nothing is said is a logit.
    """
    kind = getattr(network.config, "problem_type", None)
    if kind == "multi_label_classification":
        return "sigmoid"
    if kind == "regression":
        return "score"
    if count_outputs(network) != 1:
        return "softmax"
    config = network.config.to_dict()
    said = config.get(_OF_ITS_CONFIG) or {}
    activation = said.get("activation_fn") if isinstance(said, dict) else None
    activation = activation or config.get("sbert_ce_default_activation_function")
    return "logit" if activation is None else of_activation(str(activation).rpartition(".")[2])


def of_activation(name: str) -> str:
    """What one output means that sentence-transformers sends through an activation of this name.

    Raises UserError for one that makes neither a score nor a probability of it.
    """
    if name not in _ACTIVATIONS:
        raise UserError(
            f"the model's one output goes through {name}, which is not known here: say what it "
            "means by outputs=logit (a probability by its sigmoid) or outputs=score (as it is)"
        )
    return _ACTIVATIONS[name]


def count_outputs(network: PreTrainedModel) -> int:
    return int(network.config.num_labels or 0)


def label_names(network: PreTrainedModel, outputs: str) -> list[str] | None:
    """The names of what the model decides between, in the order of its outputs.

    None where the configuration numbers its outputs otherwise. outputs: what they mean. One logit
    decides between no and yes, or not LABEL and LABEL; a score between below its threshold and not.
    """
    if outputs == "score":
        return list(OF_A_SCORE)
    names: dict[int, str] = network.config.id2label or {}  # type: ignore[assignment]
    if set(names) != set(range(count_outputs(network))):
        return None
    found = [str(names[i]) for i in range(len(names))]
    if outputs != "logit":
        return found
    return ["no", "yes"] if found == ["LABEL_0"] else [f"not {found[0]}", found[0]]
