"""Explanations from Python: of a model in memory, without a command line or files."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer, seed_everything

from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.data.in_memory import Given, texts_of
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.gmask import GMask
from gmask_pl.explainers.training_context import TrainingContext
from gmask_pl.identity.of_model import identity_of_model
from gmask_pl.loops import ExplainLoop, Keep, removal_of
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.process_switches import apart
from gmask_pl.processes import new_trainer
from gmask_pl.settings import Count, Seed, Whole, checked
from gmask_pl.suitability import removal_for
from gmask_pl.types import Explanation, UserError

# As conf/trainer/default.yaml has it.
_TRAINER = {"precision": "32-true", "deterministic": "warn", "enable_model_summary": False}


class NotExplained(UserError):
    """Some of the pairs could not be explained, and the others were.

    explanations: one a pair in their order, None where there is none. reasons: why, by the
    position of the pair from 0.
    """

    def __init__(self, explanations: list[Explanation | None], reasons: dict[int, str]) -> None:
        told = [f"pair {i + 1}: {why}" for i, why in sorted(reasons.items())]
        more = f"; {len(told) - 3} more" if len(told) > 3 else ""
        super().__init__(f"{'; '.join(told[:3])}{more} (the others: .explanations of this error)")
        self.explanations, self.reasons = explanations, reasons


class Truncated(UserWarning):
    """Pairs are longer than the model reads: they are explained by what it read of them."""


class PairExplainer:
    """Explains pairs of texts by a model in memory.

    - classifier: the model; it is left as it is.
    - explainer: None is GMASK. It is copied, so one may be given to several. Where its ``removal``
      is None, words are removed as the model usually does, else in the best way that is right.
    - unit: what gets a score, a ``word`` or a ``token``.
    - batch_size: pairs explained together; on a GPU many keep it busy.
    - seed: of what an explainer draws that learns; others have their own.
    - token_budget: most tokens of one forward pass; None: 4,096 on a processor, on a GPU what fits.
    - response_cache: a folder where the model's answers are kept and found again; None: nowhere.
    - training_pairs: what an explainer that learns, such as `IBA` and `L2X`, learns from: pairs of
      texts without labels, or a `TrainingContext` of them.
    - learnt: a folder where what it learns is kept and found again; None: nowhere.
    - clean: lower the case of texts and leave special characters out (Appendix B).
    - workers: processes that load data.
    - trainer: further settings of Lightning's Trainer, such as ``{"accelerator": "cpu"}`` or
      ``{"precision": "bf16-mixed"}``.

    Raises UserError where what the explainer asks of the model is not right for it: the model is
    tried first, against its own direct call.

    Random states, warnings, log levels and other switches of the process (see
    `gmask_pl.process_switches`) take no part and are left as they were. Threads may share an
    explainer: of all that are asked in one process one works at a time. It can be pickled, with its
    model, and so be handed to a process that is started by spawn.

    Example::

        explain = PairExplainer(BertPairClassifier.from_weights("FOLDER"))
        (found,) = explain([("a man plays the guitar", "a man plays the banjo")])
        print(explain.labels[found.prediction], found.word_groups)
    """

    @checked
    def __init__(
        self,
        classifier: PairClassifier,
        explainer: Explainer | None = None,
        *,
        unit: str = "word",
        batch_size: Count = 8,
        seed: Seed = 0,
        token_budget: Count | None = None,
        response_cache: str | Path | None = None,
        training_pairs: Iterable[tuple[str, str]] | TrainingContext = (),
        learnt: str | Path | None = None,
        clean: bool = False,
        workers: Whole = 0,
        trainer: Mapping[str, Any] | None = None,
    ) -> None:
        self.classifier, self.labels = classifier, classifier.labels
        self.explainer = GMask() if explainer is None else copy.deepcopy(explainer)
        self.unit, self.batch_size, self.seed = unit, batch_size, seed
        self.token_budget, self.response_cache, self.clean = token_budget, response_cache, clean
        self.workers, self.trainer = workers, {**_TRAINER, **(trainer or {})}
        if (devices := self.trainer.setdefault("devices", 1)) != 1:
            raise UserError(f"trainer.devices={devices}: pairs from Python need 1")
        with apart(), _asked(classifier):
            classifier.encoder(unit)
            self._new_trainer()
            self.explainer.removal = removal_for(self.explainer, classifier)
            if self.explainer.learns:
                self._learn(training_pairs, learnt)

    def __call__(self, pairs: Iterable[tuple[str, str]]) -> list[Explanation]:
        """The explanation of every pair, in their order; the same alone and among others.

        ``prediction`` is an index of ``labels``. Warns of pairs that the model could not read
        whole (`Truncated`); their ``truncated`` is true. Raises UserError, before anything is
        explained, for what is no pair of strings; and NotExplained, with the explanations of the
        other pairs, where a text is missing or has no words, or the model gives no finite answer.
        """
        given = Given(texts_of(pairs), self.labels, clean=self.clean)
        found, failed = dict[int, Explanation](), given.unread
        count = len(given.pairs) + len(failed)

        def keep(batch: int, explained: list[Explanation], lacking: dict[str, str]) -> None:
            found.update({int(explanation.id) - 1: explanation for explanation in explained})
            failed.update({int(id) - 1: reason for id, reason in lacking.items()})

        if given.pairs:
            with apart(), _asked(self.classifier):
                self._explain(given, keep)
        if cut := [str(i + 1) for i in sorted(found) if found[i].truncated]:
            first = ", ".join(cut[:10]) + ", ..." * (len(cut) > 10)
            told = f"{len(cut)} of {count} pairs are longer than the model reads (pair {first})"
            warnings.warn(f"{told}: explained by what it read", Truncated, stacklevel=2)
        if failed:
            raise NotExplained([found.get(i) for i in range(count)], failed)
        return [found[i] for i in range(count)]

    def _explain(self, given: Given, keep: Keep) -> None:
        """``keep`` is called with every batch of the pairs, as in `ExplainLoop`."""
        seed_everything(self.seed, workers=True, verbose=False)  # as explain.py does
        data = PairDataModule(
            source=given,
            encoder=self.classifier.encoder(self.unit),
            batch_size=self.batch_size,
            explain_batch_size=self.batch_size,
            workers=self.workers,
        )
        loop = ExplainLoop(
            self.classifier,
            self.explainer,
            range(data.batches),
            keep,
            token_budget=TokenBudget(self.token_budget),
            response_cache=self.response_cache,
        )
        trainer = self._new_trainer(inference_mode=False, enable_progress_bar=False)
        trainer.predict(loop, data, return_predictions=False)

    def _learn(
        self, training_pairs: Iterable[tuple[str, str]] | TrainingContext, learnt: str | Path | None
    ) -> None:
        """Lets the explainer learn what it needs. Raises UserError where there are no pairs."""
        seed_everything(self.seed, workers=True, verbose=False)
        if isinstance(training_pairs, TrainingContext):
            self.explainer.prepare(training_pairs)
            return
        given = Given(texts_of(training_pairs), self.labels, clean=self.clean)
        if not given.pairs or given.unread:
            wrong = [f": pair {i + 1}: {why}" for i, why in given.unread.items()]
            raise UserError(
                f"{type(self.explainer).__name__} learns from training pairs{''.join(wrong[:1])}: "
                "give training_pairs=[(text1, text2), ...], each with words on both sides"
            )
        model = identity_of_model(self.classifier, str(self._new_trainer().precision))
        with tempfile.TemporaryDirectory() as nowhere:
            self.explainer.prepare(
                TrainingContext(
                    classifier=self.classifier,
                    encode=self.classifier.encoder(self.unit),
                    train=lambda: given.pairs,
                    labels=self.labels,
                    removal=removal_of(self.explainer, self.classifier),
                    trainer=self._new_trainer,
                    token_budget=TokenBudget(self.token_budget),
                    batch_size=self.batch_size,
                    workers=self.workers,
                    folder=Path(nowhere if learnt is None else learnt),
                    identity={"model": model.told, "unit": self.unit},
                )
            )

    def _new_trainer(self, **settings: Any) -> Trainer:
        return new_trainer(**{**self.trainer, "logger": False, **settings})


@contextmanager
def _asked(classifier: PairClassifier) -> Iterator[None]:
    """Within it a model only answers; afterwards it is as it was, and where it was."""
    with ExitStack() as stack:
        for weight in classifier.parameters():
            stack.callback(weight.requires_grad_, weight.requires_grad)
        for module in classifier.modules():
            stack.callback(setattr, module, "training", module.training)
        stack.callback(classifier.to, classifier.device)
        classifier.eval().requires_grad_(False)
        yield
