"""IBA: information bottlenecks for attribution, per sample (Schulz et al., 2020)."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from gmask_pl.explainers.explainer import Explainer, example_generators
from gmask_pl.explainers.training_context import Learnt, TrainingContext
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Count, NotNegative, Positive, Seed, at_least, checked
from gmask_pl.types import JSON, Attributions, Classifier, PairBatch, PairExample, UserError

NETWORK = "network."  # where a classifier keeps the encoder that it wraps


class IBA(Explainer):
    """How much information about a word the model needs, if noise replaces the rest.

    At one layer, every feature x of every word's tokens becomes

        z = lambda x + (1 - lambda) eps,   eps ~ N(mu, sigma^2),   lambda = sigmoid(alpha)

    and Adam finds, for every pair, the alpha (L, D) that minimise

        cross-entropy to the prediction + beta * mean capacity.

    A word's score is the capacity of its tokens, summed over features, in bits. Special tokens
    pass untouched. There is no smoothing over neighbours, as the words of a pair are no image
    (Schulz et al., 2020).

    - removal: has no effect, since this method removes nothing.
    - layer: a name or an index, see `layer_named`.
    - beta: the weight of the capacity.
    - initial_alpha, lr, steps: of Adam.
    - copies: noisy copies of a pair per step. So a pair needs steps * copies evaluations with
      gradients, and one more to read x.
    - min_std: bounds sigma from below.
    - tokens: at least this many word tokens of training pairs give mu and sigma of every feature.
    - seed: of the noise and of the choice of training pairs.

    Defaults are those of the authors' code. Raises UserError for a layer that the model does not
    have, and if the training pairs have too few tokens.

    >>> from gmask_pl import IBA, PairExplainer, TinyBert
    >>> model = TinyBert.from_data(  # or any network: PairExplainer(network, tokenizer)
    ...     labels=["no", "yes"], word_counts={"two": 9, "dogs": 9, "run": 9, "sleep": 9}
    ... )
    >>> pairs = [("two dogs run", "dogs sleep"), ("dogs run", "two dogs sleep")]
    >>> method = IBA(tokens=10, steps=2, copies=2)
    >>> explain = PairExplainer(model, method=method, training_pairs=pairs)
    >>> found = explain("two dogs run", "dogs sleep")
    >>> len(found.scores), found.gradients  # steps * copies
    (5, 4)
    """

    score_meaning = "bits of information that the model needs; never negative"

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        layer: str | int = 0,  # the first encoder layer was best on e-SNLI dev pairs
        beta: NotNegative = 10.0,
        initial_alpha: float = 5.0,  # nearly everything passes at first
        lr: Positive = 1.0,
        steps: Count = 10,
        copies: Count = 10,
        min_std: Positive = 0.01,
        tokens: Annotated[int, at_least(2, "for a standard deviation")] = 10_000,
        seed: Seed = 0,
    ) -> None:
        super().__init__(removal=removal)
        self.layer, self.beta, self.initial_alpha = layer, beta, initial_alpha
        self.lr, self.steps, self.copies = lr, steps, copies
        self.min_std, self.tokens, self.seed = min_std, tokens, seed
        self.mean: Tensor | None = None
        self.std: Tensor | None = None

    def prepare(self, training: TrainingContext) -> JSON:
        pairs = self._enough(training)
        place = training.place("iba", {"layer": self.layer}, pairs)
        learnt, facts = place.learnt(lambda: self._statistics(training, pairs))
        self.mean, self.std = learnt["mean"], learnt["std"].clamp_min(self.min_std)
        return facts

    def _statistics(self, training: TrainingContext, pairs: Sequence[PairExample]) -> Learnt:
        """Mean and standard deviation (D,) of the layer over the word tokens of the pairs."""
        start = time.perf_counter()
        seen: list[Tensor] = []

        def see(first: int, masked: MaskedModel) -> None:
            seen.append(self._features(masked)[word_tokens(masked.batch)].double().cpu())

        evaluations = training.visit(pairs, self.removal, see)
        features = torch.cat(seen)
        facts = {
            "pairs": len(pairs),
            "tokens": len(features),
            "evaluations": evaluations,
            "seconds": time.perf_counter() - start,
        }
        return {"mean": features.mean(0).float(), "std": features.std(0).float()}, facts

    def _enough(self, training: TrainingContext) -> list[PairExample]:
        """Training pairs, drawn at random, that together have ``tokens`` word tokens."""
        pairs = training.pairs(None, self.seed)
        count = found = 0
        for batch in training.batches(pairs):
            count, found = count + len(batch), found + int(word_tokens(batch).sum())
            if found >= self.tokens:
                return pairs[:count]
        raise UserError(
            f"tokens={self.tokens}: the training pairs hold only {found} tokens of words; give a "
            f"larger train split, or set explainer.tokens={found} and expect a rougher noise"
        )

    def __call__(self, masked: MaskedModel) -> Attributions:
        if self.mean is None or self.std is None:
            raise RuntimeError("IBA explains only after prepare(training)")
        batch, copies = masked.batch, self.copies
        x, tokens = self._features(masked), word_tokens(batch)
        mean, std = self.mean.to(x), self.std.to(x)
        r = (x - mean) / std
        layer = layer_named(masked.classifier, self.layer)
        alpha = torch.full_like(x, self.initial_alpha, requires_grad=True)
        optimizer = torch.optim.Adam([alpha], lr=self.lr)
        generators = example_generators(self.seed, batch.keys)
        for _ in range(self.steps):
            noise = mean + std * self._noise(generators, batch, x)

            def around(rows: Tensor, noise: Tensor = noise) -> AbstractContextManager[None]:
                pairs, own = rows // copies, noise.flatten(0, 1)[rows]

                def restrict(hidden: Tensor) -> Tensor:
                    length = hidden.shape[1]
                    keep = alpha[pairs, :length].sigmoid()
                    mixed = keep * hidden + (1 - keep) * own[:, :length]
                    return torch.where(tokens[pairs, :length, None], mixed, hidden)

                return replaced(layer, restrict)

            _, gradient = masked.loss_within(around, alpha, copies=copies)
            with torch.enable_grad():
                penalty = self.beta * mean_capacity(capacity(alpha, r), tokens).sum()
                (of_penalty,) = torch.autograd.grad(penalty, alpha)
            alpha.grad = gradient / copies + of_penalty
            optimizer.step()
        bits = capacity(alpha.detach(), r).sum(-1) / math.log(2)
        return Attributions(word_sums(bits, batch), (None,) * len(batch))

    def _features(self, masked: MaskedModel) -> Tensor:
        """What the layer computes of the whole pairs, (B, L, D); zero on padding."""
        layer = layer_named(masked.classifier, self.layer)
        length = masked.batch.token_ids.shape[1]
        found: list[tuple[Tensor, Tensor]] = []

        def around(rows: Tensor) -> AbstractContextManager[None]:
            def keep(hidden: Tensor) -> Tensor:
                found.append((rows, hidden.detach().float()))
                return hidden

            return replaced(layer, keep)

        masked.watch(around)
        features = found[0][1].new_zeros(len(masked.batch), length, found[0][1].shape[2])
        for rows, hidden in found:
            features[rows, : hidden.shape[1]] = hidden
        return features * masked.batch.attention[..., None]

    def _noise(self, generators: list[torch.Generator], batch: PairBatch, x: Tensor) -> Tensor:
        """N(0, 1) noise (B, copies, L, D): each pair draws its own length, the rest is 0."""
        noise = torch.zeros(len(batch), self.copies, *x.shape[1:])
        for row, length in enumerate(batch.attention.sum(1).tolist()):
            shape = (self.copies, length, x.shape[2])
            noise[row, :, :length] = torch.randn(shape, generator=generators[row])
        return noise.to(x.device)


def capacity(alpha: Tensor, r: Tensor) -> Tensor:
    """KL(p(z|x) || N(mu, sigma^2)) of every feature in nats, with lambda = sigmoid(alpha).

    -1/2 (1 + log (1 - lambda)^2 - (lambda r)^2 - (1 - lambda)^2), r = (x - mu) / sigma.
    """
    log_rest = torch.nn.functional.logsigmoid(-alpha)
    return -0.5 * (1 + 2 * log_rest - (alpha.sigmoid() * r) ** 2 - (2 * log_rest).exp())


def mean_capacity(nats: Tensor, tokens: Tensor) -> Tensor:
    """The mean (B,) of capacities (B, L, D) over features and over the ``tokens`` (B, L)."""
    count = tokens.sum(1).clamp_min(1) * nats.shape[2]
    return (nats * tokens[..., None]).sum((1, 2)) / count


def word_tokens(batch: PairBatch) -> Tensor:
    """The tokens (B, L) bool that belong to a word: no special tokens, no padding."""
    return batch.attention & (batch.word_of_token >= 0)


def word_sums(values: Tensor, batch: PairBatch) -> Tensor:
    """Sums (B, W) of token values (B, L) over the tokens of every word."""
    width = batch.word_valid.shape[1]
    owner = torch.arange(width, device=batch.device)[:, None] == batch.word_of_token[:, None]
    return (owner * (values * word_tokens(batch))[:, None]).sum(2)


def layer_named(classifier: Classifier, layer: str | int) -> nn.Module:
    """The module of a name, as in ``bert.encoder.layer.3``, or the block of an index.

    The name is a dotted path from the encoder, or from the classifier itself. The blocks are the
    members of the longest `ModuleList`, which in transformers are the encoder's layers; -1 is
    the last one. Raises UserError with the names that come near.
    """
    if not isinstance(classifier, nn.Module):
        raise UserError(
            f"layer={layer}: this model shows no layers, only its answers; choose an explainer "
            "that does not look inside"
        )
    if isinstance(layer, int):
        return _block(classifier, layer)
    modules: dict[str, nn.Module] = {
        name: part for name, part in classifier.named_modules() if name
    }
    for name in (layer, NETWORK + layer):
        if name in modules:
            return modules[name]
    names = [name.removeprefix(NETWORK) for name in modules]
    near = difflib.get_close_matches(layer, names, n=6, cutoff=0.5) or names[:12]
    raise UserError(
        f"layer={layer}: the model has no such layer; near it are {', '.join(near)}; or give the "
        "index of an encoder layer"
    )


def _block(classifier: nn.Module, index: int) -> nn.Module:
    lists = [list(m) for m in classifier.modules() if isinstance(m, nn.ModuleList)]
    blocks = max(lists, key=len, default=[])
    if not -len(blocks) <= index < len(blocks):
        names = [name for name, _ in classifier.named_modules() if name and "." not in name]
        raise UserError(
            f"layer={index}: the model has {len(blocks)} encoder layers, counted from 0; or give "
            f"a name, as of {', '.join(names)} and what is in them"
        )
    return blocks[index]


@contextmanager
def replaced(layer: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it, ``change`` of the layer's output (N, L, D) takes the output's place.

    Raises UserError for a layer that gives something else, or not just once a forward pass.
    """
    calls = 0

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        hidden = output[0] if isinstance(output, tuple) else output
        if not isinstance(hidden, Tensor) or hidden.dim() != 3:
            found = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__
            raise UserError(
                f"layer {type(module).__name__} gives {found}, not a vector for every token "
                "(N, L, D): choose another layer"
            )
        changed = change(hidden).to(hidden.dtype)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    if calls != 1:
        raise UserError(
            f"layer {type(layer).__name__} is used {calls} times in a forward pass: choose one "
            "that is used once"
        )
