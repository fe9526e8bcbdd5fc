"""GMASK with the choices of the authors' released code, as a reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.explainers._coalition import choose_candidates
from gmask_pl.explainers._group_mask import Fit, Objective, Sampling
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.gmask import ESTIMATORS, GMask
from gmask_pl.explainers.imask import IMask
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import OneOf, Seed, checked
from gmask_pl.types import PairBatch


class GMaskReleased(GMask):
    """GMASK as https://github.com/UVa-NLP/GMASK runs it, where that differs from the paper.

    - settings: those of `GMask`. word_filter: None is IMASK as their code has it, `IMask.released`.

    The masks are learnt on a pair rewritten to hold the k words only, in importance order; the
    other differences are settings of GMask: logits through a sigmoid, a softmax of sums in
    Eq. 6, cosine annealing, no early stop. The prediction to preserve is that on the whole pair.

    The defaults are for models whose attention is masked (BERT). The authors' attention mask has
    the slope 1e4 and ours 1; ``sampling.gradient_scale`` makes up for this. Set it to 1 if
    embeddings are masked. Raises UserError as `GMask` does.

    >>> from gmask_pl import Fit, GMaskReleased, Occlusion, PairExplainer, TinyBert
    >>> model = TinyBert.from_data(  # or any network: PairExplainer(network, tokenizer)
    ...     labels=["no", "yes"], word_counts={"two": 9, "dogs": 9, "run": 9, "sleep": 9}
    ... )
    >>> method = GMaskReleased(k=2, word_filter=Occlusion(), fit=Fit(epochs=5))
    >>> explain = PairExplainer(model, method=method)
    >>> found = explain("two dogs run", "dogs sleep")
    >>> len(found.scores), len(found.groups.candidates)  # the k words that are grouped
    (5, 2)
    """

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        word_filter: Explainer | None = None,
        estimator: Annotated[str, OneOf(ESTIMATORS)] = "straight_through",
        sampling: Sampling = Sampling(gradient_scale=1e4),
        objective: Objective = Objective(logit_bound=1.0, init_noise=0.0, evenness="softmax"),
        fit: Fit = Fit(tolerance=None, cosine_period=10),
        seed: Seed = 0,
        **settings: Any,
    ) -> None:
        super().__init__(
            removal=removal,
            word_filter=word_filter or IMask.released(removal=removal, seed=seed),
            estimator=estimator,
            sampling=sampling,
            objective=objective,
            fit=fit,
            seed=seed,
            **settings,
        )

    def candidates(self, filtered: Tensor, batch: PairBatch) -> Tensor:
        return choose_candidates(filtered, batch, self.k)

    def learnt_on(self, masked: MaskedModel, candidates: Tensor) -> MaskedModel:
        return masked.rebind(cut(masked.batch, candidates))


def cut(batch: PairBatch, candidates: Tensor) -> PairBatch:
    """The batch with only the candidates' tokens, each side's words in the order of candidates.

    Special tokens stay where they are; word positions keep their meaning.
    """
    orders = [_token_order(batch, row, candidates[row].tolist()) for row in range(len(batch))]
    length = max(map(len, orders))
    padding = batch.token_ids.shape[1]
    index = torch.tensor([o + [padding] * (length - len(o)) for o in orders], device=batch.device)

    def pick(tensor: Tensor, fill: int) -> Tensor:
        spare = torch.cat([tensor, tensor.new_full((len(batch), 1), fill)], 1)
        return spare.gather(1, index)

    word_of_token = pick(batch.word_of_token, -1)
    left = torch.zeros(len(batch), batch.word_valid.shape[1] + 1, device=batch.device)
    left.scatter_(1, torch.where(word_of_token < 0, left.shape[1] - 1, word_of_token), 1.0)
    return replace(
        batch,
        token_ids=pick(batch.token_ids, 0),
        attention=pick(batch.attention, False),
        segment=pick(batch.segment, 0),
        word_of_token=word_of_token,
        word_valid=left[:, :-1].bool(),
    )


def _token_order(batch: PairBatch, row: int, candidates: list[int]) -> list[int]:
    """Positions of the tokens to keep: a side's words all go where its first word stood."""
    length = int(batch.attention[row].sum())
    words = batch.word_of_token[row, :length].tolist()
    side = batch.word_side[row].tolist()
    order: list[int] = []
    placed: set[int] = set()
    for position, word in enumerate(words):
        if word < 0:
            order.append(position)
        elif side[word] not in placed:
            placed.add(side[word])
            for chosen in candidates:
                if chosen >= 0 and side[chosen] == side[word]:
                    order += [p for p, owner in enumerate(words) if owner == chosen]
    return order
