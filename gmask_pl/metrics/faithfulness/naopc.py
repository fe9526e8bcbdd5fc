"""AOPC between the lowest and the highest value that the pair allows (Edin et al., 2025)."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.files import warn_once, whole_file
from gmask_pl.masking.removal_orders import HIGHEST, LOWEST, TIE, extreme_orders
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.metrics.removal_curves import area_over_curve, without_top
from gmask_pl.question import Answers
from gmask_pl.settings import Count, Range, Whole, checked
from gmask_pl.types import JSON

Bounds = tuple[float, float, bool]  # lowest and highest AOPC of a pair, and whether exact


class NormalisedAOPC(PairMetric):
    """(AOPC - lowest) / (highest - lowest), pair by pair: 0 the worst order, 1 the best.

    AOPC values of two models cannot be compared, since they depend on how much each model can lose
    at all. Normalised values can. The bounds are those of Eq. 9 with U removals (Edin et al. remove
    every word), over all orders of the pair's words, under the removal that the metric is asked
    with. They are exact for at most ``exact_words`` words, and found by a beam search of width
    ``beam`` otherwise. Rules:

    - If the explained order lies beyond a bound that was searched for, the bound moves to it, for
      this explainer alone; ``widened`` counts these pairs.
    - A pair whose bounds are less than ``min_range`` apart says nothing about an order: it is
      left out of value and n; ``flat`` counts these pairs.
    - lowest, highest: the means of the bounds over all pairs, as searched, the same for every
      explainer. exact: how many pairs have exact bounds.

    Settings:

    - max_removed: U, as in AOPC (Section 5.1.1).
    - exact_words: words; at most 2^12 evaluations per pair.
    - beam: sets kept per step and bound (the authors' default).
    - min_range: the least distance between the bounds of a pair that counts.
    - cache: a folder where bounds are kept for the other explainers of the same model; or None.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    >>> import torch
    >>> from gmask_pl import ExplanationMetric, NormalisedAOPC
    >>> def ask(keep):  # the first word decides: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[2.0, 3.0, 1.0]])
    >>> metric = ExplanationMetric(NormalisedAOPC(max_removed=2))
    >>> metric.update(ask, scores, valid, ask(valid))
    >>> found = metric.compute()
    >>> round(found["value"], 3), round(found["highest"], 3)  # the second word goes first
    (0.5, 0.533)
    """

    presentation = Presentation(
        meaning="AOPC between the lowest (0) and the highest (1) that any order of the words has",
        unit="share of what an order can gain",
        range=(0, 1),
    )

    @checked
    def __init__(
        self,
        *,
        max_removed: Count = 10,
        beam: Count = 5,
        exact_words: Whole = 12,
        min_range: Annotated[float, Range(0, 1, above=True)] = 0.01,
        cache: str | None = None,
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.min_range = min_range
        self.settings = {"max_removed": max_removed, "beam": beam, "exact_words": exact_words}
        self.cache = BoundsCache(cache)

    def masks(self, pairs: RankedPairs) -> Tensor:
        return without_top(pairs.order, pairs.n_words, self.settings["max_removed"])

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        """Columns: normalised AOPC, whether it counts, lowest, highest, exact, widened."""
        bounds = torch.tensor(self.bounds(pairs), dtype=torch.float64).reshape(-1, 3)
        low, high, exact = bounds.to(pairs.whole).unbind(1)
        area = area_over_curve(pairs.whole, answers.value)
        counts = high - low >= self.min_range
        widened = (area > high + 2 * TIE) | (area < low - 2 * TIE)
        lowest, highest = torch.minimum(low, area), torch.maximum(high, area)
        share = (area - lowest) / (highest - lowest).masked_fill(~counts, 1.0)
        return torch.stack([share * counts, counts, low, high, exact, widened], 1)

    def bounds(self, pairs: RankedPairs) -> list[Bounds]:
        """The bounds of every pair, searched for unless another run has left them."""
        names: list[str] = []
        if self.cache.folder is not None and pairs.keys is not None:
            names = list(map(self._name, pairs.keys()))
        known = {row: found for row, name in enumerate(names) if (found := self.cache.get(name))}
        if missing := [row for row in range(len(pairs.whole)) if row not in known]:
            searched = self._search(pairs, missing)
            known |= dict(zip(missing, searched, strict=True))
            if names:
                self.cache.add([names[row] for row in missing], searched)
        return [known[row] for row in range(len(pairs.whole))]

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return averages[..., 0] / averages[..., 1]

    def result(self, rows: Tensor) -> JSON:
        """value, low, high, n; lowest, highest; how many pairs are exact, widened, flat."""
        found = self.estimate(rows, lambda averages: self.summary(averages).unsqueeze(-1))
        counts, low, high, exact, widened = found.averages[1:].tolist()
        return {
            **found.headline(),
            "n": round(counts * found.n),
            "lowest": low,
            "highest": high,
            "exact": round(exact * found.n),
            "widened": round(widened * found.n),
            "flat": round((1 - counts) * found.n),
        }

    def _search(self, pairs: RankedPairs, rows: list[int]) -> list[Bounds]:
        """Bounds of some rows of the batch; the others are asked about whole meanwhile."""
        valid, whole = pairs.valid, pairs.whole

        def ask_rows(keep: Tensor) -> Tensor:
            every = valid[:, None].repeat(1, keep.shape[1], 1)
            every[rows] = keep
            return pairs.ask(every).value[rows]

        found = extreme_orders(
            ask_rows, valid[rows], whole[rows], (LOWEST, HIGHEST), **self.settings
        )
        return [(low.area, high.area, low.exact) for low, high in found]

    def _name(self, key: str) -> str:
        """What the bounds of a pair depend on: the pair as its model reads it, and the search."""
        text = json.dumps([key, self.settings])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class BoundsCache:
    """Bounds by a key that names all they depend on: model, pair, removal, search.

    folder: None keeps nothing. Every process writes a JSON Lines file of its own, whole or not
    at all, and reads those that others have left when it starts; so runs can share a folder on
    any file system. Two runs at a time may search the same pair twice, and find the same. What
    cannot be read is searched again, and what cannot be written is not kept; both are told once.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.known: dict[str, Bounds] | None = None
        self.own: dict[str, Bounds] = {}
        self.name = f"{uuid.uuid4().hex}.jsonl"

    def get(self, key: str) -> Bounds | None:
        """The bounds of that key, if any run has found them."""
        if self.known is None:
            self.known = self._read()
        return self.known.get(key)

    def add(self, keys: Sequence[str], found: Sequence[Bounds]) -> None:
        """Keep bounds, on disk as well."""
        if self.folder is None:
            return
        self.own |= dict(zip(keys, found, strict=True))
        self.known = (self.known or {}) | self.own
        lines = (
            json.dumps({"key": key, "lowest": low, "highest": high, "exact": exact})
            for key, (low, high, exact) in self.own.items()
        )
        try:
            with whole_file(self.folder / self.name, lasting=False) as draft:
                draft.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        except OSError as error:
            warn_once("bounds", f"bounds are not kept for other runs: {error}")

    def _read(self) -> dict[str, Bounds]:
        found: dict[str, Bounds] = {}
        files = [] if self.folder is None else sorted(self.folder.glob("*.jsonl"))
        for file in files:
            own: dict[str, Bounds] = {}
            try:
                for line in file.read_text("utf-8").splitlines():
                    row = json.loads(line)
                    own[row["key"]] = _checked(row["lowest"], row["highest"], row["exact"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                warn_once(
                    f"bounds {file}",
                    f"{file}, line {len(own) + 1}: not a bound of AOPC ({error}): what is not read "
                    "is searched again",
                )
            found |= own
        return found


def _checked(low: object, high: object, exact: object) -> Bounds:
    """Bounds as they were stored. Raises ValueError for what cannot be any."""
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    if not numbers or not isinstance(exact, bool) or not -math.inf < low <= high < math.inf:  # type: ignore[operator]
        raise ValueError(f"lowest {low!r}, highest {high!r}, exact {exact!r}")
    return float(low), float(high), exact  # type: ignore[arg-type]
