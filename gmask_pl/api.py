"""Explanations from Python: of a model in memory, without a command line or files."""

from __future__ import annotations

import copy
import inspect
import math
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer, seed_everything

from gmask_pl.data.cleaning import Segment
from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.data.in_memory import Given, Handed, class_numbers, handed, in_full, own_ids, texts_of
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.methods import method_named
from gmask_pl.explainers.training_context import TrainingContext
from gmask_pl.explanation import Explanation
from gmask_pl.explanations import Explanations
from gmask_pl.identity.of_model import cut_by, identity_of_model
from gmask_pl.loops import ExplainLoop, Keep, removal_of
from gmask_pl.masking.masked_model import RemovalName
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.models.adapters import classifier_of, stored_model
from gmask_pl.models.model_check import Verdict
from gmask_pl.models.only_asked import only_asked
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.parts import Compared, compared_example
from gmask_pl.models.units import encoder_of, sides_of
from gmask_pl.process_switches import apart
from gmask_pl.processes import new_trainer, trainer_on
from gmask_pl.question import SCORE, Question
from gmask_pl.seed_agreement import disagreement
from gmask_pl.settings import Count, Seed, Whole, check_keywords, checked
from gmask_pl.suitability import removal_for, tried
from gmask_pl.types import UserError

# As conf/trainer/default.yaml has it.
_TRAINER = {"precision": "32-true", "deterministic": "warn", "enable_model_summary": False}


class NotExplained(UserError):
    """Some of the pairs could not be explained, and the others were.

    - explanations: one a pair in their order, None where there is none.
    - reasons: why, by the position of the pair from 0.

    >>> from gmask_pl import NotExplained, PairExplainer
    >>> explain = PairExplainer(lambda pairs: [1.0 for _ in pairs], method="random")
    >>> try:
    ...     explain.many([("a dog", "a cat"), ("", "a cat")])
    ... except NotExplained as error:
    ...     print(error.reasons, [found is not None for found in error.explanations])
    {1: "text 1 is empty: ''"} [True, False]
    """

    def __init__(self, explanations: list[Explanation | None], reasons: dict[int, str]) -> None:
        told = [f"pair {i + 1}: {why}" for i, why in sorted(reasons.items())]
        more = f"; {len(told) - 3} more" if len(told) > 3 else ""
        others = " (the others: .explanations of this error)" * (len(explanations) > len(reasons))
        super().__init__(f"{'; '.join(told[:3])}{more}{others}")
        self.explanations, self.reasons = explanations, reasons


class Truncated(UserWarning):
    """Pairs are longer than the model reads: they are explained by what it read of them.

    >>> import warnings
    >>> from gmask_pl.api import Truncated
    >>> warnings.simplefilter("error", Truncated)  # to be stopped by such a pair
    >>> warnings.simplefilter("default", Truncated)
    """


class PairExplainer:
    """Explains what a model says of pairs of texts.

    - model, tokenizer: a Hugging Face network for sequence classification, or a causal language
      model that judges, and its tokenizer; a CrossEncoder or SentenceTransformer of
      sentence-transformers; a PairClassifier of this project; or a function of a list of pairs,
      which gives scores (n,) or probabilities (n, C). It is left as it is.
    - method: the name of an explainer, as in ``conf/explainer``, or an Explainer, which is copied.
    - labels: names of the classes, in the order of the outputs; None: the model's own. outputs:
      what the outputs mean, see `BertPairClassifier`; None: what the model says.
    - target, against, threshold, reference: the question, see `question_about`; None: the
      probability of the predicted class, or the score, which decides by a threshold of 0. A call
      may ask another question.
    - budget: the largest number of masked inputs per pair; the method's settings are reduced to fit
      it. None: as many as the settings need.
    - unit: what gets a score, a ``word``, a ``token`` or a ``sentence``; or one unit per side, as
      in ``["sentence", "word"]`` for a passage and a claim.
    - removal: how words are removed; None: as the method says, else as the model usually does, else
      in the best way that is right for it.
    - max_length: the most tokens of a pair that are read; None: as many as the model can read.
    - mask: what replaces a word in the texts of a function under the removal ``mask``.
    - template, answers: the prompt of a causal language model, and the answers that it chooses
      from, see `JudgeClassifier`.
    - device: such as ``cuda:0``; None: a GPU, where there is one that Lightning finds.
    - batch_size: pairs explained together, and pairs in one call of a function.
    - seed: the seed of all random draws.
    - seeds: how many seeds, from ``seed`` on, explain each pair. You get the first explanation; if
      the others disagree, its ``warnings`` say so. Each seed costs as much as the first.
    - cache: a folder that keeps the model's answers for later calls; None: none.
    - responses: whether explanations hold what the model said of every mask, some 20 kB a pair;
      their pages and notebook cards answer from it. False saves memory over many pairs.
    - token_budget: the most tokens in one forward pass; None: 4,096 on a processor, on a GPU what
      fits.
    - training_pairs: pairs of texts without labels, or a `TrainingContext` of them, for an
      explainer that learns, such as `IBA` and `L2X`.
    - learnt: a folder that keeps what such an explainer learns; None: none.
    - clean: lower the case of texts and leave special characters out (Appendix B).
    - segment: a function that cuts a text into its words, or gives their spans; None: by spaces,
      signs and, where a script has no spaces, the word boundaries of Unicode.
    - workers: processes that load data.
    - trainer: further settings of Lightning's Trainer, such as ``{"accelerator": "cpu"}`` or
      ``{"precision": "bf16-mixed"}``.

    Raises UserError where what the explainer asks of the model is not right for it: the model is
    tried first, against its own direct call.

    Random states, warnings, log levels and other switches of the process (see
    `gmask_pl.process_switches`) take no part and are left as they were. Threads may share an
    explainer: of all that are asked in one process one works at a time. It can be pickled, with its
    model, and so be handed to a process that is started by spawn.

    >>> from gmask_pl import PairExplainer
    >>> def contradicts(pairs):  # a model of yours, or (network, tokenizer), or a CrossEncoder
    ...     return [[0.1, 0.9] if "guitar" in a and "banjo" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(contradicts, labels=["no", "yes"])
    >>> found = explain("a man plays the guitar", "a man plays the banjo")
    >>> found.predicted, found.top_group
    ('yes', ('guitar', 'banjo'))
    >>> print(found.word_groups[0])
    1.00 guitar banjo (alone 0.900, without 0.100; suffices, is missed; act together; stable 1.00)
    """

    @checked
    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        method: str | Explainer = "joint_groups",
        labels: Sequence[str] | None = None,
        outputs: str | None = None,
        target: str | None = None,
        against: str | None = None,
        threshold: float | None = None,
        reference: float | None = None,
        budget: Count | None = None,
        unit: str | Sequence[str] = "word",
        removal: RemovalName | None = None,
        max_length: Count | None = None,
        mask: str | None = None,
        template: str | None = None,
        answers: Sequence[str] | None = None,
        device: str | None = None,
        batch_size: Count = 8,
        seed: Seed = 0,
        seeds: Count = 1,
        cache: str | Path | None = None,
        responses: bool = True,
        token_budget: Count | None = None,
        training_pairs: Iterable[tuple[str, str]] | TrainingContext = (),
        learnt: str | Path | None = None,
        clean: bool = False,
        segment: Segment | None = None,
        workers: Whole = 0,
        trainer: Mapping[str, Any] | None = None,
    ) -> None:
        self.explainer = _explainer(method, seed, removal, budget)
        self.method = method if isinstance(method, str) else type(method).__name__
        self.classifier = classifier = classifier_of(
            model,
            tokenizer,
            labels=labels,
            outputs=outputs,
            max_length=max_length,
            batch_size=batch_size,
            mask=mask,
            template=template,
            answers=answers,
        )
        self.labels = classifier.labels
        self.asked = {
            "target": target,
            "against": against,
            "threshold": threshold,
            "reference": reference,
        }
        self.question = self._question({})
        self.unit, self.batch_size, self.seed, self.budget = unit, batch_size, seed, budget
        self.token_budget, self.cache, self.clean = token_budget, cache, clean
        self.workers, self.segment, self.seeds = workers, segment, seeds
        self.responses = responses
        self.trainer = _trainer_settings(device, trainer)
        with apart(), only_asked(classifier):
            encoder_of(classifier, unit)
            if self.explainer.learns and classifier.declared is not None:
                raise UserError(
                    f"{type(self.explainer).__name__} learns from what a network reads, and a "
                    "function shows only its answers: choose a method that learns nothing"
                )
            self._new_trainer()
            self.explainer.removal, self.instead = removal_for(self.explainer, classifier)
            if self.explainer.learns:
                self._learn(training_pairs, learnt)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, revision: str | None = None, **settings: Any
    ) -> PairExplainer:
        """Of the model in a folder or of a hub id, in safetensors; one of train.py's, too.

        - source: the folder or hub id, also of what sentence-transformers saved.
        - revision: of a hub id.
        - settings: of the constructor.

        Raises UserError for what cannot be loaded; no pickle is, and no foreign code runs.

        >>> import tempfile
        >>> from gmask_pl import PairExplainer, TinyBert
        >>> model = TinyBert.from_data(labels=["no", "yes"], word_counts={"dog": 9, "cat": 9})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder)
        ...     explain = PairExplainer.from_pretrained(folder, method="occlusion")
        >>> explain.labels
        ('no', 'yes')
        """
        _check_settings(settings)
        own = ("labels", "outputs", "max_length", "template", "answers")
        of_model = {key: settings.pop(key, None) for key in own}
        return cls(stored_model(source, revision=revision, **of_model), **settings)

    @classmethod
    def from_config(cls, *overrides: str) -> PairExplainer:
        """With the settings of explain.py, given as on its command line; it needs Hydra.

        - overrides: as on the command line, such as ``"model=bert"``, ``"weights=FOLDER"``.

        Raises UserError for settings that cannot be. See
        `gmask_pl.pipeline.from_python.from_settings`.

        >>> from gmask_pl import PairExplainer
        >>> PairExplainer.from_config("weights=no/such/folder", "model=bert")
        Traceback (most recent call last):
        gmask_pl.types.UserError: ...
        """
        from gmask_pl.pipeline.from_python import from_settings

        return from_settings(*overrides)

    def __call__(
        self, text1: str, text2: str, *, progress: bool = False, **asked: Any
    ) -> Explanation:
        """The explanation of one pair.

        - text1, text2: its texts.
        - progress: show a progress bar.
        - asked: what to ask in place of what the constructor said, see `many`, which raises the
          same errors.

        >>> from gmask_pl import PairExplainer
        >>> def shared(pairs):
        ...     return [float(len(set(a.split()) & set(b.split()))) for a, b in pairs]
        >>> PairExplainer(shared, method="occlusion")("two dogs run", "dogs sleep").top(1)
        [('dogs', 1.0)]
        """
        return self._many(handed([(text1, text2)]), asked, progress=progress)[0]

    def many(
        self,
        pairs: Any,
        *,
        text1: str | None = None,
        text2: str | None = None,
        id: str | None = None,
        label: str | None = None,
        progress: bool = False,
        **asked: Any,
    ) -> Explanations:
        """The explanation of every pair, in their order; the same alone and among others.

        - pairs: a list, or anything else that gives pairs of strings one after the other; or a
          table, such as a DataFrame.
        - text1, text2: the names of its columns; None: ``text1`` and ``text2``.
        - id, label: those of the pairs' own names and of their known classes, which explanations
          then have, too; None: ``id`` and ``label`` where there are such columns. A class is one of
          ``labels`` or its number; null and -1 are unknown. A score has no classes, so there a
          column of this name counts only where it is asked for.
        - progress: show a progress bar.
        - asked: ``target``, ``against``, ``threshold`` or ``reference`` in place of those of the
          constructor.

        ``prediction`` is an index of ``labels``. Warns of pairs that the model could not read
        whole (`Truncated`); their ``truncated`` is true. Raises UserError, before anything is
        explained, for what is no pair of strings, an id of two pairs and an unknown label; and
        NotExplained, with the explanations of the other pairs, where a text is missing or has no
        words, or the model gives no finite answer.

        >>> from gmask_pl import PairExplainer
        >>> def shared(pairs):
        ...     return [float(len(set(a.split()) & set(b.split()))) for a, b in pairs]
        >>> explain = PairExplainer(shared, method="occlusion")
        >>> explain.many([("two dogs run", "dogs sleep"), ("a cat", "a dog")])
        [<Explanation of 'two dogs run' | 'dogs sleep': score 1.000; dogs +1.00, dogs +1.00>,
         <Explanation of 'a cat' | 'a dog': score 1.000; a +1.00, a +1.00>]
        """
        scored = self.classifier.outputs == SCORE
        known = handed(pairs, text1, text2, id, label, labelled=label is not None or not scored)
        return self._many(known, asked, progress=progress)

    def _many(
        self, pairs: Handed, asked: Mapping[str, Any], *, progress: bool = False
    ) -> Explanations:
        question = self._question(asked)
        if question != self.question:
            self._refuse_what_is_learnt(question.name)
        ids, classes = own_ids(pairs.ids), class_numbers(pairs.labels, self.labels)
        given = Given(pairs.texts, self.labels, clean=self.clean, segment=self.segment)
        found, failed = dict[int, Explanation](), given.unread
        count = len(given.pairs) + len(failed)

        def keep(batch: int, explained: list[Explanation], lacking: dict[str, str]) -> None:
            found.update({int(one.id) - 1: one for one in explained})
            failed.update({int(id) - 1: reason for id, reason in lacking.items()})

        if given.pairs:
            with apart(), only_asked(self.classifier):
                self._explain(given, keep, question, progress=progress)
                again = [self._reseeded(given, question, i) for i in range(1, self.seeds)]
            for i, one in found.items():
                others = [other[one.id] for other in again if one.id in other]
                named = self._named(one, self.instead, disagreement([one, *others]))
                whole = in_full(named, pairs.texts[i], clean=self.clean)
                found[i] = replace(whole, id=ids[i], label=classes[i])
        if cut := [str(i + 1) for i in sorted(found) if found[i].truncated]:
            first = ", ".join(cut[:10]) + ", ..." * (len(cut) > 10)
            told = f"{len(cut)} of {count} pairs are longer than the model reads (pair {first})"
            warnings.warn(f"{told}: explained by what it read", Truncated, stacklevel=3)
        if failed:
            raise NotExplained([found.get(i) for i in range(count)], failed)
        return Explanations(found[i] for i in range(count))

    def compare(
        self, query: str, better: str, worse: str, *, target: str | None = None
    ) -> Explanation:
        """Why one document stands before another for a query: the difference of their scores.

        - query, better, worse: their texts. ``words1`` of the explanation are the query's;
          ``text2`` holds both documents with a record separator (U+001E) between them, ``words2``
          those of ``better`` and then those of ``worse``. A positive score speaks for ``better``.
        - target: the label by which a model of three or more classes compares, see
          `gmask_pl.models.parts.Compared`.

        It needs a method that asks for answers only. Raises UserError as `many` does.

        >>> from gmask_pl import PairExplainer
        >>> def shared(pairs):
        ...     return [float(len(set(a.split()) & set(b.split()))) for a, b in pairs]
        >>> explain = PairExplainer(shared, method="occlusion")
        >>> found = explain.compare("quit smoking", "stop smoking", "smoke a ham")
        >>> found.question, found.value, found.top(2)
        ('score of A less score of B', 1.0, [('smoking', 1.0), ('smoking', 1.0)])
        """
        self._refuse_what_is_learnt("the difference of two documents")
        model = Compared(self.classifier, target)
        documents = Given(
            texts_of([(query, better), (query, worse)]),
            model.labels,
            clean=self.clean,
            segment=self.segment,
        )
        for number, reason in documents.unread.items():
            raise UserError(f"document {number + 1}: {reason}")
        given = Given([], model.labels, clean=self.clean)
        given.pairs = [compared_example(*documents.pairs)]
        found: list[Explanation] = []
        failed: dict[str, str] = {}

        def keep(batch: int, explained: list[Explanation], lacking: dict[str, str]) -> None:
            found.extend(explained)
            failed.update(lacking)

        with apart(), only_asked(self.classifier):
            explainer = copy.deepcopy(self.explainer)
            explainer.removal, instead = removal_for(explainer, model)
            self._explain(given, keep, model.question(), model=model, explainer=explainer)
        if failed:
            raise NotExplained([None], {0: next(iter(failed.values()))})
        if found[0].truncated:
            told = "a document is longer than the model reads: explained by what it read"
            warnings.warn(told, Truncated, stacklevel=2)
        return in_full(self._named(found[0], instead), (query, None), clean=self.clean)

    def check(self) -> Verdict:
        """What is right for the model: removals, their gradients, its attention.

        The model is tried against its own direct call. Raises UserError where that itself fails.

        >>> from gmask_pl import PairExplainer
        >>> verdict = PairExplainer(lambda pairs: [1.0 for _ in pairs], method="random").check()
        >>> verdict.right(gradients=False)
        ['pad', 'delete']
        """
        with apart(), only_asked(self.classifier):
            return tried(self.classifier, None, gradients=True)

    def _reseeded(self, given: Given, question: Question, more: int) -> dict[str, Explanation]:
        """The explanations by id under a seed that is so much higher; of pairs that have one."""
        explainer = copy.deepcopy(self.explainer)
        for part in explainer.parts():
            if hasattr(part, "seed"):
                part.seed += more
        found: dict[str, Explanation] = {}

        def keep(batch: int, explained: list[Explanation], lacking: dict[str, str]) -> None:
            found.update({one.id: one for one in explained})

        self._explain(given, keep, question, explainer=explainer)
        return found

    def _named(self, found: Explanation, *warnings: str) -> Explanation:
        """An explanation with its method, and with warnings beside its own, "" being none."""
        told = (*found.warnings, *(warning for warning in warnings if warning))
        return replace(found, method=self.method, warnings=told)

    def _refuse_what_is_learnt(self, asked: str) -> None:
        """Raises UserError where the explainer has learnt what another question leads to."""
        if self.explainer.learns:
            raise UserError(
                f"{type(self.explainer).__name__} has learnt to explain {self.question.name}, and "
                f"not {asked}: make a PairExplainer that asks so from the beginning, or choose a "
                "method that learns nothing"
            )

    def _question(self, asked: Mapping[str, Any]) -> Question:
        """Raises UserError for what the model cannot be asked."""
        usual = dict(self.asked)
        if unknown := [key for key in asked if key not in usual]:
            raise UserError(f"{unknown[0]}: there is no such setting: give {', '.join(usual)}")
        for key in ("threshold", "reference"):
            number = asked.get(key)
            real = isinstance(number, int | float) and not isinstance(number, bool)
            if number is not None and not (real and math.isfinite(number)):
                raise UserError(
                    f"{key}={number!r}: give a finite number, or None for the usual one"
                )
        if asked.get("target") is not None:  # against goes with a target
            usual["against"] = None
        return self.classifier.question(**{**usual, **asked})

    def _explain(
        self,
        given: Given,
        keep: Keep,
        question: Question,
        *,
        progress: bool = False,
        model: PairClassifier | None = None,
        explainer: Explainer | None = None,
    ) -> None:
        """``keep`` is called with every batch of the pairs, as in `ExplainLoop`."""
        model = model or self.classifier
        seed_everything(self.seed, workers=True, verbose=False)  # as explain.py does
        data = PairDataModule(
            source=given,
            encoder=encoder_of(model, self.unit),
            batch_size=self.batch_size,
            explain_batch_size=self.batch_size,
            workers=self.workers,
        )
        loop = ExplainLoop(
            model,
            explainer or self.explainer,
            range(data.batches),
            keep,
            question=question,
            budget=self.budget,
            token_budget=TokenBudget(self.token_budget),
            response_cache=self.cache,
            responses=self.responses,
        )
        trainer = self._new_trainer(inference_mode=False, enable_progress_bar=progress)
        trainer.predict(loop, data, return_predictions=False)

    def _learn(
        self, training_pairs: Iterable[tuple[str, str]] | TrainingContext, learnt: str | Path | None
    ) -> None:
        """Lets the explainer learn what it needs. Raises UserError where there are no pairs."""
        seed_everything(self.seed, workers=True, verbose=False)
        if isinstance(training_pairs, TrainingContext):
            self.explainer.prepare(training_pairs)
            return
        given = Given(texts_of(training_pairs), self.labels, clean=self.clean, segment=self.segment)
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
                    encode=encoder_of(self.classifier, self.unit),
                    train=lambda: given.pairs,
                    labels=self.labels,
                    removal=removal_of(self.explainer, self.classifier),
                    trainer=self._new_trainer,
                    token_budget=TokenBudget(self.token_budget),
                    batch_size=self.batch_size,
                    workers=self.workers,
                    folder=Path(nowhere if learnt is None else learnt),
                    identity={"model": model.told, "unit": self.unit, **cut_by(self.segment)},
                    question=self.question,
                )
            )

    def _new_trainer(self, **settings: Any) -> Trainer:
        return new_trainer(**{**self.trainer, "logger": False, **settings})


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Raises UserError for settings that are right of no model, before one is loaded."""
    given = inspect.signature(PairExplainer).bind(None, **settings)
    check_keywords(PairExplainer, settings)
    given.apply_defaults()
    named = given.arguments
    _explainer(named["method"], named["seed"], named["removal"], named["budget"])
    sides_of(named["unit"])
    with apart():
        new_trainer(**_trainer_settings(named["device"], named["trainer"]) | {"logger": False})


def _trainer_settings(device: str | None, trainer: Mapping[str, Any] | None) -> dict[str, Any]:
    found = {**_TRAINER, **trainer_on(device), **(trainer or {})}
    devices = found.setdefault("devices", 1)
    if devices != 1 and not (isinstance(devices, list) and len(devices) == 1):
        raise UserError(f"trainer.devices={devices}: pairs from Python need 1")
    return found


def _explainer(
    method: str | Explainer, seed: int, removal: str | None, budget: int | None
) -> Explainer:
    """The explainer of a name, or a copy of the one that is given, with these settings."""
    if isinstance(method, str):
        found = method_named(method, seed=seed, removal=removal)
    else:
        found = copy.deepcopy(method)
        for part in found.parts() if removal is not None else ():
            part.removal = removal
    return found if budget is None else found.within(budget)
