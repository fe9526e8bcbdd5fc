"""IMASK: an unbiased gradient from answers alone, and known deciding words."""

from __future__ import annotations

import pytest
import torch
from conftest import explainer_of, make_example
from torch import Tensor

from gmask_pl.explainers._coalition import all_coalitions, multilinear_extension
from gmask_pl.explainers.imask import IMask
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.metrics.plausibility.evidence import top_group
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.words import WordEncoder
from gmask_pl.types import ModelInput, PairBatch, PairExample, UserError

SETTINGS = {
    "removal": "pad",
    "estimator": "score_function",
    "samples": 10,
    "epochs": 10,
    "lr": 0.1,
    "beta": 0.0,
    "temperature": 1.0,
    "logit_bound": None,
    "regulariser": "entropy",
    "seed": 0,
}


class Both:
    """Sure of class 1 where it sees both ``dog`` and ``cat``, else of class 0; a black box."""

    pad_token_id, mask_token_id, skips_hidden = 0, 1, True
    words = ("<pad>", "<unk>", "a", "big", "dog", "sees", "small", "cat", "today")

    def __call__(self, inputs: ModelInput) -> Tensor:
        seen = [
            ((inputs.token_ids == self.words.index(word)) & inputs.attention).any(1)
            for word in ("dog", "cat")
        ]
        both = (seen[0] & seen[1]).float() * 6 - 3
        return torch.stack([-both, both], 1)

    def batch(self) -> PairBatch:
        example = make_example("and", "a big dog sees a", "a small cat sees a today")
        return WordEncoder(self.words)([example])


def test_score_function_gradient_is_that_of_the_expectation(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """Against the closed form over all masks of a pair of five words."""
    batch = classifier.encoder("word")(examples[2:])
    masked = MaskedModel(classifier, batch, "pad", token_budget=4096)
    table = masked.loss(all_coalitions(5)[None])
    logits = torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    keep = logits.softmax(-1)[..., 1]
    (exact,) = torch.autograd.grad(multilinear_extension(table, keep[:, None]).sum(), logits)
    samples = 200_000
    uniform = torch.rand(1, samples, 5, generator=torch.Generator().manual_seed(1))
    masks = (uniform < keep.detach()[:, None]).float()
    surrogate = IMask(**SETTINGS | {"samples": samples})._surrogate(masked, masks, logits)
    (estimate,) = torch.autograd.grad(surrogate, logits)
    error = 4 * float(table.std()) / samples**0.5
    assert float(exact.abs().max()) > 5 * error
    assert float((estimate - exact).abs().max()) < error


def test_a_black_box_is_explained() -> None:
    model = Both()
    masked = MaskedModel(model, model.batch(), "pad", token_budget=4096)
    found = IMask(**SETTINGS)(masked)
    assert set(found.scores[0].topk(2).indices.tolist()) == {2, 7}
    found = explainer_of("gmask", "model=bert_tiny", "explainer.k=6")(masked)
    assert found.groups[0] is not None
    assert {2, 7} <= top_group(found.groups[0])
    assert int(masked.gradients.sum()) == 0


@pytest.mark.parametrize(
    ("setting", "value"), [("estimator", "exact"), ("samples", 1), ("regulariser", "none")]
)
def test_impossible_settings(setting: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{value}"):
        IMask(**SETTINGS | {setting: value})  # type: ignore[arg-type]
