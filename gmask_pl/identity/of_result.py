"""What decides a result: settings, model, pairs, and the pairs that something was learnt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gmask_pl.files import write_text
from gmask_pl.identity.of_code import code_at
from gmask_pl.identity.of_model import ModelIdentity
from gmask_pl.identity.of_pairs import pairs_digest, texts_digest
from gmask_pl.identity.parts import described
from gmask_pl.identity.setting_roles import BY_VALUE, EXPLAIN, TRAIN, digest_of, told_settings
from gmask_pl.types import JSON, PairExample

IDENTITY = "identity.json"
# Counted on whenever the same settings come to give other numbers, so that earlier ones do not
# stand for them.
REVISION = 1
_NAMES = {
    "weights": "weights of the model",
    "network": "network configuration of the model",
    "tokenizer": "tokenizer of the model",
    "settings": "settings of the model",
    "precision": "precision of the model",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What decides the results in a folder.

    settings: those that are told by their value, each part by its kind. model: a ModelIdentity as
    it is written; empty for a training. pairs: a digest of the pairs. learnt: of the training pairs
    that an explainer learns from, else "". files: digests of what a training starts from, by the
    setting that names it.
    """

    settings: JSON
    model: JSON
    pairs: str
    learnt: str = ""
    files: dict[str, str] = field(default_factory=dict)
    revision: int = REVISION

    @classmethod
    def read(cls, folder: Path) -> Identity | None:
        """The identity of the results in a folder; None where there is none that can be read."""
        try:
            known = json.loads((folder / IDENTITY).read_text("utf-8"))
            if "weights" in known:  # of an earlier version
                weights, settings = known.pop("weights"), known["settings"]
                known |= {"settings": described(settings), "revision": 0}
                known["model"] = {"weights": weights} if weights else {}
            found = cls(**known)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return found if found._is_whole else None

    @property
    def _is_whole(self) -> bool:
        """Whether everything is of its kind: a file may hold anything."""
        texts = (self.pairs, self.learnt)
        return (
            all(isinstance(part, dict) for part in (self.settings, self.model, self.files))
            and all(isinstance(text, str) for text in texts)
            and isinstance(self.revision, int)
        )

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False)
        write_text(folder / IDENTITY, text + "\n")

    @property
    def digest(self) -> str:
        return digest_of(asdict(self), size=4)

    @property
    def of_explanations(self) -> Identity:
        """The identity of a run's explanations alone, whatever scores them."""
        settings = {key: value for key, value in self.settings.items() if key != "metric"}
        return replace(self, settings=settings)

    def differences(self, other: Identity) -> list[str]:
        """What differs, in words."""
        changed = [f"setting {key}" for key in differing_keys(self.settings, other.settings)]
        for key, name in _NAMES.items():
            own, others = self.model.get(key), other.model.get(key)
            if own != others:
                nested = isinstance(own, dict) and isinstance(others, dict)
                where = differing_keys(own, others) if nested else []  # type: ignore[arg-type]
                changed.append(f"{name} ({', '.join(where)})" if where else name)
        changed += [f"contents of {key}" for key in differing_keys(self.files, other.files)]
        changed += ["pairs"] * (self.pairs != other.pairs)
        changed += ["training pairs"] * (self.learnt != other.learnt)
        return changed + ["version of this project"] * (self.revision != other.revision)


def identity_of_run(
    settings: JSON,
    model: ModelIdentity,
    pairs: Iterable[PairExample],
    learnt_from: Iterable[PairExample] = (),
) -> Identity:
    """The identity of a run that explains and scores these pairs.

    settings: of explain.py, resolved. learnt_from: the training pairs, where they decide anything.
    """
    learnt = list(learnt_from)
    return Identity(
        _as_read(told_settings(described(settings, code_at), EXPLAIN, BY_VALUE)),
        model.told,
        pairs_digest(pairs),
        texts_digest(learnt) if learnt else "",
    )


def identity_of_training(settings: JSON, pairs: Iterable[PairExample]) -> Identity:
    """The identity of weights that are trained, and chosen, by these pairs.

    settings: of train.py or explain.py, resolved. What they name, such as a folder to start from,
    is told by its contents.
    """
    net = settings["model"]["net"]
    files = {
        f"model.net.{key}": contents_digest(Path(value))
        for key, value in net.items()
        if isinstance(value, str) and Path(value).exists()
    }
    own = {key: settings[key] for key in ("model", "trainer", "seed") if key in settings}
    deciding = _as_read(told_settings(described(own, code_at), TRAIN, BY_VALUE))
    return Identity(deciding, {}, pairs_digest(pairs), files=files)


def contents_digest(path: Path) -> str:
    """A digest of a file, or of all files in a folder and their names."""
    digest = hashlib.blake2b(digest_size=16)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as data:
            while block := data.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _as_read(settings: JSON) -> JSON:
    """Settings as they are read back from a file."""
    found: JSON = json.loads(json.dumps(settings))
    return found


def differing_keys(own: JSON, other: JSON, above: str = "") -> list[str]:
    """The dotted keys of values that differ."""
    found: list[str] = []
    for key in sorted({*own, *other}):
        one: Any = own.get(key)
        two: Any = other.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            found += differing_keys(one, two, f"{above}{key}.")
        elif one != two:
            found.append(f"{above}{key}")
    return found
