"""IBA: capacity in bits, its statistics, the reference procedure, and known deciding words."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import context_of, explainer_of, make_example
from torch import Tensor, nn

from gmask_pl.explainers.explainer import example_generators
from gmask_pl.explainers.iba import IBA, capacity, layer_named, mean_capacity, replaced, word_sums
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.words import WordEncoder
from gmask_pl.types import ModelInput, PairExample, UserError

FILLERS = tuple(f"filler{i}" for i in range(12))
SETTINGS: dict[str, Any] = {
    "removal": "pad",
    "layer": "embedding",
    "beta": 10.0,
    "initial_alpha": 5.0,
    "lr": 1.0,
    "steps": 10,
    "copies": 10,
    "min_std": 0.01,
    "tokens": 20,
    "seed": 0,
}


class Verdicts(nn.Module):
    """Sure of class 1 where both sides say ``yes``, by a dimension of its own; a network."""

    pad_token_id, mask_token_id, skips_hidden = 0, 1, True
    words = ("<pad>", "<unk>", "yes", *FILLERS)

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(self.words), 4)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.randn(len(self.words), 4, generator=generator))
            self.embedding.weight[:, 0] = 0.0
            self.embedding.weight[2, 0] = 3.0
        self.requires_grad_(False)

    def forward(self, inputs: ModelInput) -> Tensor:
        said = self.embedding(inputs.token_ids)[..., 0] * inputs.attention
        sides = [(said * (inputs.segment == side)).sum(1) for side in (0, 1)]
        both = 2 * torch.minimum(sides[0], sides[1])
        return torch.stack([3 - both, both - 3], 1)


def verdict_pairs() -> list[PairExample]:
    texts = [
        ("filler0 yes filler1", "filler2 filler3 filler4 yes"),
        ("yes filler5", "filler6 filler7 yes filler8 filler0"),
        ("filler9 filler10 filler11 yes", "yes filler1 filler2"),
    ]
    return [make_example(f"pair-{i}", *pair) for i, pair in enumerate(texts)]


def explained(folder: Path, **changes: Any) -> tuple[MaskedModel, Tensor]:
    model, encode, pairs = Verdicts(), WordEncoder(Verdicts.words), verdict_pairs()
    explainer = IBA(**SETTINGS | changes)
    explainer.prepare(context_of(model, encode, pairs, folder))
    masked = MaskedModel(model, encode(pairs), "pad", token_budget=64)
    return masked, explainer(masked).scores


def test_capacity_by_hand() -> None:
    """lambda = 1/2, r = 2: -1/2 (1 + log 1/4 - 1 - 1/4) nats."""
    found = float(capacity(torch.tensor(0.0), torch.tensor(2.0)))
    assert found == pytest.approx(-0.5 * (1 + math.log(0.25) - 1 - 0.25), rel=1e-6)


def test_capacity_is_the_divergence_of_two_normals() -> None:
    generator = torch.Generator().manual_seed(0)
    alpha = torch.randn(200, generator=generator, dtype=torch.float64) * 3
    r = torch.randn(200, generator=generator, dtype=torch.float64) * 3
    keep, mean, std = alpha.sigmoid(), 0.7, 1.9
    x = mean + std * r
    passed = torch.distributions.Normal(keep * x + (1 - keep) * mean, (1 - keep) * std)
    noise = torch.distributions.Normal(
        torch.full_like(x, mean), torch.full_like(x, std), validate_args=False
    )
    expected = torch.distributions.kl_divergence(passed, noise)
    torch.testing.assert_close(capacity(alpha, r), expected)


def test_capacity_stays_finite_where_everything_or_nothing_passes() -> None:
    alpha = torch.tensor([-60.0, 60.0], requires_grad=True)
    found = capacity(alpha, torch.tensor([3.0, 3.0]))
    (gradient,) = torch.autograd.grad(found.sum(), alpha)
    assert bool(found.isfinite().all() & gradient.isfinite().all())
    assert float(found[0].detach()) == pytest.approx(0.0, abs=1e-6)


def test_deciding_words_come_first(tmp_path: Path) -> None:
    masked, scores = explained(tmp_path)
    for example, row in zip(verdict_pairs(), scores, strict=True):
        words = example.words1 + example.words2
        assert [words[i] for i in row.topk(2).indices.tolist()] == ["yes", "yes"]
        others = [float(s) for word, s in zip(words, row, strict=False) if word != "yes"]
        assert max(others) < 0.5 * float(row.topk(2).values.min())
    # The prediction, the layer's output, and ten copies in each of ten steps.
    assert masked.evaluations.tolist() == [1 + 1 + 100] * 3
    assert masked.gradients.tolist() == [100] * 3


def test_without_a_price_all_stays_and_at_a_high_one_nothing(tmp_path: Path) -> None:
    """Three features of four never touch the answer, so only a price can move them."""
    masked, kept = explained(tmp_path, beta=0.0)
    at_first = 4 * float(capacity(torch.tensor(5.0), torch.tensor(0.0))) / math.log(2)
    valid = masked.batch.word_valid
    decisive = masked.batch.token_ids == 2
    assert bool((kept[valid] > 0.75 * at_first).all())
    assert bool((kept[decisive] > at_first).all())
    _, none = explained(tmp_path, beta=1e6)
    assert float(none.max()) < 0.001 * at_first


def layer_outputs(classifier: PairClassifier, example: PairExample) -> tuple[str | int, Tensor]:
    """A layer, and what the model itself says it computes of the tokens of a pair's words."""
    batch = classifier.encoder("word")([example])
    own = batch.word_of_token[0] >= 0
    if isinstance(classifier, DecomposableAttention):
        return "project", classifier.project(classifier.embedding(batch.token_ids[0]))
    assert isinstance(classifier, BertPairClassifier)
    states = classifier.network.base_model(
        input_ids=batch.token_ids,
        attention_mask=batch.attention.long(),
        token_type_ids=batch.segment,
        output_hidden_states=True,
    ).hidden_states
    return 0, states[1][0][own]


def test_statistics_are_those_of_the_word_tokens(
    classifier: PairClassifier, examples: list[PairExample], tmp_path: Path
) -> None:
    """Special tokens and padding take no part; sigma is bounded from below."""
    outputs = [layer_outputs(classifier, example) for example in examples]
    layer, features = outputs[0][0], torch.cat([found for _, found in outputs])
    encode = classifier.encoder("word")
    settings = SETTINGS | {"layer": layer, "tokens": len(features)}
    explainer = IBA(**settings)
    cost = explainer.prepare(context_of(classifier, encode, examples, tmp_path))
    assert cost["tokens"] == len(features)
    assert explainer.mean is not None
    assert explainer.std is not None
    torch.testing.assert_close(explainer.mean, features.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(explainer.std, features.std(0), atol=1e-5, rtol=1e-5)
    least = float(explainer.std.max())
    coarse = IBA(**settings | {"min_std": least})
    again = coarse.prepare(context_of(classifier, encode, examples, tmp_path))
    assert again["reused"]
    assert coarse.std is not None
    torch.testing.assert_close(coarse.std, torch.full_like(coarse.std, least))


def test_too_few_training_tokens(
    classifier: PairClassifier, examples: list[PairExample], tmp_path: Path
) -> None:
    training = context_of(classifier, classifier.encoder("word"), examples, tmp_path)
    with pytest.raises(UserError, match=r"tokens=10000: .* set explainer.tokens="):
        IBA(**SETTINGS | {"tokens": 10000}).prepare(training)


def test_the_reference_procedure(
    classifier: PairClassifier, examples: list[PairExample], tmp_path: Path
) -> None:
    """One pair after the other, one loss and one backward pass a step, as in the authors' code."""
    layer, _ = layer_outputs(classifier, examples[0])
    encode = classifier.encoder("word")
    explainer = IBA(**SETTINGS | {"layer": layer, "copies": 3, "steps": 4})
    explainer.prepare(context_of(classifier, encode, examples, tmp_path))
    assert explainer.mean is not None
    assert explainer.std is not None
    mean, std = explainer.mean, explainer.std
    batch = encode(examples)
    found = explainer(MaskedModel(classifier, batch, "pad", token_budget=100)).scores
    module = layer_named(classifier, layer)
    for row, example in enumerate(examples):
        own = encode([example])
        (generator,) = example_generators(0, own.keys)
        words = own.word_of_token[0] >= 0
        x: list[Tensor] = []

        def note(hidden: Tensor, x: list[Tensor] = x) -> Tensor:
            x.append(hidden)
            return hidden

        with replaced(module, note):
            prediction = classifier.read(own).argmax(-1)
        r = (x[0][0] - mean) / std
        alpha = torch.full_like(r, 5.0, requires_grad=True)
        optimizer = torch.optim.Adam([alpha], lr=1.0)
        inputs = ModelInput(
            *(t.expand(3, -1) for t in (own.token_ids, own.attention, own.segment)),
            torch.arange(len(words)).expand(3, -1),
        )
        for _ in range(4):
            eps = mean + std * torch.randn(3, *r.shape, generator=generator)

            def restrict(
                hidden: Tensor, alpha: Tensor = alpha, eps: Tensor = eps, words: Tensor = words
            ) -> Tensor:
                keep = torch.where(words[:, None], alpha.sigmoid(), 1.0)
                return keep * hidden + (1 - keep) * eps

            optimizer.zero_grad()
            with replaced(module, restrict):
                loss = nn.functional.cross_entropy(classifier(inputs), prediction.expand(3))
            (loss + 10.0 * capacity(alpha, r)[words].mean()).backward()
            optimizer.step()
        bits = capacity(alpha.detach(), r) / math.log(2)
        for word in range(len(example.words1 + example.words2)):
            expected = float(bits[own.word_of_token[0] == word].sum())
            assert float(found[row, word]) == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_sums_over_tokens_and_means_over_features(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    batch = classifier.encoder("word")(examples)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(*batch.token_ids.shape, 5, generator=generator)
    tokens = batch.attention & (batch.word_of_token >= 0)
    summed, means = word_sums(values.sum(-1), batch), mean_capacity(values, tokens)
    for b in range(len(batch)):
        owners = batch.word_of_token[b].tolist()
        for w in range(summed.shape[1]):
            own = [float(values[b, i].sum()) for i, owner in enumerate(owners) if owner == w]
            assert float(summed[b, w]) == pytest.approx(sum(own))
        every = [v for i, owner in enumerate(owners) if owner >= 0 for v in values[b, i].tolist()]
        assert float(means[b]) == pytest.approx(sum(every) / len(every))


def test_gradient_of_a_perturbed_layer(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """Against finite differences, over passes smaller than the batch; all copies are counted."""
    layer, _ = layer_outputs(classifier, examples[0])
    module = layer_named(classifier, layer)
    batch = classifier.encoder("word")(examples)
    masked = MaskedModel(classifier, batch, "pad", token_budget=100)
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(len(batch), 2, generator=generator)
    directions = torch.randn(16, generator=generator)

    def ask(scale: Tensor) -> tuple[Tensor, Tensor]:
        def around(rows: Tensor) -> AbstractContextManager[None]:
            own = scale.flatten()[rows, None, None]
            return replaced(module, lambda hidden: hidden + own * directions[: hidden.shape[2]])

        return masked.loss_within(around, scale, copies=2)

    before = masked.evaluations.clone()
    loss, gradient = ask(scale.clone().requires_grad_())
    assert (masked.evaluations - before).tolist() == masked.gradients.tolist() == [2] * len(batch)
    step = 1e-2
    up = ask((scale + step).requires_grad_())[0]
    down = ask((scale - step).requires_grad_())[0]
    assert loss.shape == scale.shape
    assert float(gradient.abs().max()) > 1e-3
    torch.testing.assert_close(gradient, (up - down) / (2 * step), atol=2e-3, rtol=2e-2)


def test_layers_have_names_and_indices(classifier: PairClassifier) -> None:
    if isinstance(classifier, BertPairClassifier):
        blocks = classifier.network.base_model.encoder.layer
        assert layer_named(classifier, "bert.encoder.layer.1") is blocks[1]
        assert layer_named(classifier, "network.bert.encoder.layer.1") is blocks[1]
        assert layer_named(classifier, -1) is blocks[1]
        with pytest.raises(UserError, match=r"has 2 encoder layers"):
            layer_named(classifier, 2)
        with pytest.raises(UserError, match=r"bert\.encoder\.layer\.1"):
            layer_named(classifier, "bert.encoder.layers.1")
    else:
        assert layer_named(classifier, "project") is classifier.project
        with pytest.raises(UserError, match="has 0 encoder layers.*project"):
            layer_named(classifier, 0)
        with pytest.raises(UserError, match="near it are .*project"):
            layer_named(classifier, "projection")


def test_layers_that_cannot_hold_a_bottleneck(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    batch = classifier.encoder("word")(examples)
    classifier.read(batch)  # how it is asked is found out, by asking
    name = "aggregate" if isinstance(classifier, DecomposableAttention) else "bert.pooler"
    with (
        pytest.raises(UserError, match="not a vector for every token"),
        replaced(layer_named(classifier, name), lambda hidden: hidden),
    ):
        classifier.read(batch)
    with (
        pytest.raises(UserError, match="used 2 times"),
        replaced(layer_named(classifier, "project" if name == "aggregate" else 0), lambda h: h),
    ):
        classifier.read(batch)
        classifier.read(batch)
    with pytest.raises(UserError, match="shows no layers"):
        layer_named(lambda inputs: inputs, "embedding")  # type: ignore[arg-type]


def test_the_yaml_names_the_layer_of_every_model() -> None:
    layers = {name: explainer_of("iba", f"model={name}").layer for name in ("dattn", "bert_tiny")}
    assert layers["dattn"] != layers["bert_tiny"]
