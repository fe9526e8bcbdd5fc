"""A model that is lent: what is done with it leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gmask_pl.models.pair_classifier import PairClassifier


@contextmanager
def only_asked(classifier: PairClassifier) -> Iterator[None]:
    """Within it a model only answers; afterwards it is as it was, and where it was."""
    with ExitStack() as stack:
        for weight in classifier.parameters():
            stack.callback(weight.requires_grad_, weight.requires_grad)
        for module in classifier.modules():
            stack.callback(setattr, module, "training", module.training)
        stack.callback(classifier.to, classifier.device)
        classifier.eval().requires_grad_(False)
        yield
