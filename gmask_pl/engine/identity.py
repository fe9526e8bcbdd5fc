"""What decides the results of a run: settings, weights, pairs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from gmask_pl.config import deciding_settings, digest
from gmask_pl.types import JSON, PairExample

IDENTITY = "identity.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """The settings that can change a number, and fingerprints of the weights and of the pairs."""

    settings: JSON
    weights: str
    pairs: str

    @classmethod
    def read(cls, folder: Path) -> Identity | None:
        """The identity of the results in a folder; None where there is none that can be read."""
        try:
            return cls(**json.loads((folder / IDENTITY).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False)
        (folder / IDENTITY).write_text(text + "\n", "utf-8")

    @property
    def digest(self) -> str:
        return digest(asdict(self))

    def explains_as(self, other: Identity) -> bool:
        """Whether both give the same explanations: metrics may differ."""
        own, others = (
            {key: value for key, value in identity.settings.items() if key != "metric"}
            for identity in (self, other)
        )
        return (own, self.weights, self.pairs) == (others, other.weights, other.pairs)

    def differences(self, other: Identity) -> list[str]:
        """What differs, in words."""
        changed = [
            f"setting {key}"
            for key in sorted({*self.settings, *other.settings})
            if self.settings.get(key) != other.settings.get(key)
        ]
        changed += ["weights of the model"] * (self.weights != other.weights)
        return changed + ["pairs"] * (self.pairs != other.pairs)


def run_identity(cfg: DictConfig, weights: str, pairs: Iterable[PairExample]) -> Identity:
    """The identity of a run that explains these pairs by a model of these weights."""
    settings = json.loads(json.dumps(deciding_settings(cfg)))  # as it is read back
    return Identity(settings, weights, pairs_fingerprint(pairs))


def pairs_fingerprint(pairs: Iterable[PairExample]) -> str:
    """A digest of pairs and all that is known of them, in their order."""
    found = hashlib.blake2b(digest_size=16)
    for e in pairs:
        highlights = [
            [None if words is None else sorted(words) for words in (h.words1, h.words2)]
            for h in e.highlights
        ]
        known: list[Any] = [e.label, highlights, [sorted(group) for group in e.evidence]]
        known += [] if e.alignments is None else [sorted(e.alignments)]
        found.update(
            repr((e.id, e.text1, e.text2, e.spans1, e.spans2, known)).encode(
                "utf-8", "surrogatepass"
            )
        )
    return found.hexdigest()
