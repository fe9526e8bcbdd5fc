"""AOPC between the lowest and the highest value that the pair allows (Edin et al., 2025)."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.masking.removal_orders import HIGHEST, LOWEST, TIE, extreme_orders
from gmask_pl.metrics.faithfulness._bounds import Bounds, BoundsCache
from gmask_pl.metrics.faithfulness.removal_curves import (
    area_over_curve,
    predicted_probability,
    without_top,
)
from gmask_pl.metrics.pair_metric import Ask, Keys, PairMetric
from gmask_pl.settings import Count, Range, Seed, Whole, checked


class NormalisedAOPC(PairMetric):
    """(AOPC - lowest) / (highest - lowest), pair by pair: 0 the worst order, 1 the best.

    AOPC of two models cannot be compared, as it depends on how much each model can lose at all;
    this can. The bounds are those of Eq. 9 with U removals (Edin et al. remove every word), over
    all orders of the pair's words, under the removal that the metric is asked with. They are
    exact for at most ``exact_words`` words, and found by a beam search of width ``beam``
    otherwise. Rules:

    - Where the explained order lies beyond a bound that was searched for, the bound is moved to
      it, for this explainer alone; ``widened`` counts these pairs.
    - A pair whose bounds are less than ``min_range`` apart says nothing about an order: it is
      left out of value and n; ``flat`` counts these pairs.
    - lowest, highest: the means of the bounds over all pairs, as searched, the same for every
      explainer. exact: how many pairs have exact bounds.

    cache: a folder where bounds are kept for the other explainers of the same model; or None.
    """

    meaning = "AOPC between the lowest (0) and the highest (1) that any order of the words has"

    @checked
    def __init__(
        self,
        *,
        max_removed: Count,
        beam: Count,
        exact_words: Whole,
        min_range: Annotated[float, Range(0, 1, above=True)],
        cache: str | None,
        resamples: Count,
        seed: Seed,
    ) -> None:
        super().__init__(n_masks=max_removed, width=6, resamples=resamples, seed=seed)
        self.min_range = min_range
        self.settings = {"max_removed": max_removed, "beam": beam, "exact_words": exact_words}
        self.cache = BoundsCache(cache)
        self.bounds: Tensor | None = None

    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        return without_top(order, n_words, self.settings["max_removed"])

    def explore(self, ask: Ask, valid: Tensor, whole: Tensor, keys: Keys | None) -> None:
        """Finds the bounds of every pair of the batch, unless another run has left them."""
        names = [] if self.cache.folder is None or keys is None else list(map(self._name, keys()))
        found = [self.cache.get(name) for name in names] or [None] * len(whole)
        missing = [row for row, bounds in enumerate(found) if bounds is None]
        if missing:
            searched = self._search(ask, valid, whole, missing)
            for row, bounds in zip(missing, searched, strict=True):
                found[row] = bounds
            if names:
                self.cache.add([names[row] for row in missing], searched)
        self.bounds = torch.tensor(found, dtype=torch.float64).reshape(-1, 3)

    def score(self, probabilities: Tensor, whole: Tensor, n_words: Tensor) -> Tensor:
        """Columns: normalised AOPC, whether it counts, lowest, highest, exact, widened."""
        if self.bounds is None or len(self.bounds) != len(whole):
            raise ValueError("NormalisedAOPC: call explore for the batch before update")
        low, high, exact = self.bounds.to(whole).unbind(1)
        self.bounds = None
        unmasked = predicted_probability(whole.unsqueeze(1), whole).squeeze(1)
        area = area_over_curve(unmasked, predicted_probability(probabilities, whole))
        counts = high - low >= self.min_range
        widened = (area > high + 2 * TIE) | (area < low - 2 * TIE)
        lowest, highest = torch.minimum(low, area), torch.maximum(high, area)
        share = (area - lowest) / (highest - lowest).masked_fill(~counts, 1.0)
        return torch.stack([share * counts, counts, low, high, exact, widened], 1)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return averages[..., 0] / averages[..., 1]

    def compute(self) -> dict[str, Any]:
        """value, low, high, n; lowest, highest; how many pairs are exact, widened, flat."""
        found = self.estimate(lambda averages: self.summary(averages).unsqueeze(-1))
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

    def _search(self, ask: Ask, valid: Tensor, whole: Tensor, rows: list[int]) -> list[Bounds]:
        """Bounds of some rows of the batch; the others are asked about whole meanwhile."""

        def ask_rows(keep: Tensor) -> Tensor:
            every = valid[:, None].repeat(1, keep.shape[1], 1)
            every[rows] = keep
            return predicted_probability(ask(every), whole)[rows]

        sure = predicted_probability(whole.unsqueeze(1), whole).squeeze(1)
        goals = (LOWEST, HIGHEST)
        found = extreme_orders(ask_rows, valid[rows], sure[rows], goals, **self.settings)
        return [(low.area, high.area, low.exact) for low, high in found]

    def _name(self, key: str) -> str:
        """What the bounds of a pair depend on: the pair as its model reads it, and the search."""
        text = json.dumps([key, self.settings])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
