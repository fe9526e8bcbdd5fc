"""Which setting decides what: all keys of ``conf/explain.yaml`` and ``conf/train.yaml``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it loads torch, which names of folders need not wait for
    from gmask_pl.types import JSON


class Told(Enum):
    """How the identity of a result tells a setting."""

    NOT = "decides no number: where results go, how they are shown, how the work is shared"
    MODEL = "by the model that it leads to"
    PAIRS = "by the pairs that it leads to"
    TRAINING = (
        "decides weights: by the model that it leads to, and nothing of a model that is given"
    )
    REFERRED = "by the settings that refer to it"
    VALUE = "by its value"
    SUMMARY = "by its value; decides averages and intervals, not the numbers of a pair"


def _roles(keys: Mapping[Told, str]) -> dict[str, Told]:
    return {key: how for how, written in keys.items() for key in written.split()}


# A key stands for all below it, but for those that are named themselves; * is any name. A key that
# is not here is told by its value.
_BOTH = _roles(
    {
        Told.NOT: """
            hydra output log_dir logger run_name reuse workers max_expanded_gb max_failed
            trainer.devices trainer.num_nodes trainer.strategy trainer.num_sanity_val_steps
            trainer.log_every_n_steps trainer.enable_model_summary trainer.enable_progress_bar
        """,
        Told.PAIRS: "dataset",
        Told.REFERRED: "model",
        Told.VALUE: "trainer",
    }
)
EXPLAIN = _BOTH | _roles(
    {
        # Runs of earlier versions call response_cache answers, and have archive and beyond, which
        # are of collecting.
        Told.NOT: """
            response_cache answers explainers_dir report collect archive beyond metric.*.cache
        """,
        Told.MODEL: "weights weights_dir label_order model.net trainer.precision",
        Told.TRAINING: """
            model.net.pretrained model.net.embeddings model.net.lr model.net.weight_decay
            model.net.warmup model.net.linear_decay model.net.word_dropout model.fit
        """,
        Told.PAIRS: "split limit limit_seed pairs",
        Told.REFERRED: "seed",
        # The sizes decide the rounding of sums, and the seconds that are measured.
        Told.VALUE: """
            unit batch_size token_budget explainer metric question dataset.segment responses
        """,
        Told.SUMMARY: "metric.*.resamples metric.*.seed metric.*.min_denominator",
    }
)
TRAIN = _BOTH | _roles({Told.NOT: "weights_dir", Told.VALUE: "model.net model.fit seed"})
# Where weights and pairs lie on one machine: what they are is told by themselves.
PATHS = ("weights", "weights_dir", "dataset.path")
BY_VALUE = frozenset((Told.VALUE, Told.SUMMARY))
# They came later: such a value is as if they were not there, so it is not told.
_ADDED = {
    **dict.fromkeys(("question", "dataset.text1", "dataset.text2", "dataset.label"), None),
    **dict.fromkeys(("dataset.id", "dataset.segment"), None),
    "responses": True,
}


def place_of(key: str, table: Mapping[str, Told]) -> Told | None:
    """How a dotted key is told; None for one that the table does not know."""
    names = key.split(".")
    for length in range(len(names), 0, -1):
        own = names[:length]
        for above in (own, [*own[:1], "*", *own[2:]]):
            if (known := ".".join(above)) in table:
                return table[known]
    return None


def told_settings(settings: JSON, table: Mapping[str, Told], how: Collection[Told]) -> JSON:
    """Of nested settings those that are told in one of these ways, numbers as `plain_numbers`."""

    def kept(part: JSON, above: str) -> JSON:
        found: JSON = {}
        for name, value in part.items():
            key = f"{above}{name}"
            if isinstance(value, dict) and value:
                if below := kept(value, f"{key}."):
                    found[name] = below
            elif _ADDED.get(key, ...) is value or (value is None and key.startswith("question.")):
                continue
            elif (place_of(key, table) or Told.VALUE) in how:
                found[name] = value
        return found

    return kept(plain_numbers(settings), "")


def without(settings: JSON, keys: Collection[str]) -> JSON:
    """Nested settings without some dotted keys."""

    def kept(part: JSON, above: str) -> JSON:
        return {
            name: kept(value, f"{above}{name}.") if isinstance(value, dict) else value
            for name, value in part.items()
            if f"{above}{name}" not in keys
        }

    return kept(settings, "")


def plain_numbers(settings: Any) -> Any:
    """Settings in which every whole number is an int: 3.0 is 3."""
    if isinstance(settings, dict):
        return {key: plain_numbers(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [plain_numbers(value) for value in settings]
    whole = isinstance(settings, float) and settings.is_integer()
    return int(settings) if whole else settings


def digest_of(told: Any, *, size: int) -> str:
    """``size`` bytes, in hexadecimal digits, of JSON data, whatever the order of its keys."""
    text = json.dumps(told, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def folder_settings(settings: JSON) -> JSON:
    """What names the folder of a run: all that can decide a number, before anything is loaded.

    settings: resolved, of explain.py or train.py. The seed of a whole run of explain.py decides
    nothing beside the settings that refer to it. Of a folder of weights below ``output`` the place
    there; none where other weights are given, nor what weights are trained with.
    """
    explains = "explainer" in settings
    table = EXPLAIN if explains else TRAIN
    given = settings.get("weights") is not None
    leave = {Told.NOT, Told.REFERRED} | ({Told.TRAINING} if given else set())
    found = told_settings(settings, table, set(Told) - leave)
    if not explains:
        return found
    if given:
        found["weights"] = os.path.normpath(settings["weights"])
        found.pop("weights_dir", None)
    elif "weights_dir" in settings:
        place = os.path.relpath(settings["weights_dir"], settings["output"])
        found["weights_dir"] = settings["weights_dir"] if place.startswith("..") else place
    return found


def seeds_of(settings: Any) -> tuple[int, ...]:
    """The values of every ``seed`` within the settings of an explainer; none: it draws nothing."""
    if isinstance(settings, list):
        return tuple(seed for value in settings for seed in seeds_of(value))
    if not isinstance(settings, dict):
        return ()
    own = (settings["seed"],) if settings.get("seed") is not None else ()
    return own + tuple(seed for value in settings.values() for seed in seeds_of(value))
