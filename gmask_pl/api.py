"""Explanations from Python, without a command line or files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gmask_pl.config import quieten, register
from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.data.jsonl import whole_characters
from gmask_pl.data.source import BrokenRow, Row, to_example
from gmask_pl.engine.loops import ExplainLoop, Keep
from gmask_pl.engine.session import (
    check_numbers,
    make_trainer,
    model_identity,
    stored_classifier,
)
from gmask_pl.engine.study import make_study
from gmask_pl.identity.parts import CONF
from gmask_pl.packing import TokenBudget
from gmask_pl.types import Explanation, PairExample, PairSource, UserError


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


class PairExplainer:
    """Explains pairs of texts by a model in memory, as explain.py does with the same settings.

    overrides: settings as on its command line, such as ``"model=bert"``, ``"weights=FOLDER"``,
    ``"explainer=gmask_two_sided"``; of the data set only its labels are used, and its training
    pairs by explainers that learn. What it says of the i-th pair (from 1) is what explain.py says
    of line i of a file without ids. Raises UserError where there are no weights, and for more
    than one process.
    """

    def __init__(self, *overrides: str) -> None:
        register()
        quieten()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            self.cfg = cfg = compose("explain", list(overrides))
            check_numbers(cfg)
            source: PairSource = instantiate(cfg.dataset)
            self.explainer = instantiate(cfg.explainer)
        if cfg.trainer.devices != 1:
            raise UserError(f"trainer.devices={cfg.trainer.devices}: pairs from Python need 1")
        weights = cfg.weights or cfg.weights_dir
        if cfg.weights is None and not Path(weights).is_dir():
            raise UserError(f"no weights at {weights}: give weights=FOLDER, or run train.py first")
        self.classifier = stored_classifier(cfg, source, weights, cfg.label_order)
        self.labels = source.labels
        quiet = {"inference_mode": False, "enable_progress_bar": False}
        self.trainer = make_trainer(cfg, loggers=[], callbacks=[], **quiet)
        self.model = model_identity(self.classifier, self.trainer)
        self.explainer.prepare(make_study(cfg, source, self.classifier, self.model))

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[Explanation]:
        """The explanation of every pair, in their order.

        ``prediction`` is an index of ``labels``. Raises NotExplained, with the explanations of
        the other pairs, where a text has no words or the model gives no finite answer.
        """
        cfg, found = self.cfg, dict[int, Explanation]()
        given = _Given(pairs, self.labels, clean=cfg.dataset.get("clean", False))
        failed = given.unread

        def keep(batch: int, explained: list[Explanation], lacking: dict[str, str]) -> None:
            found.update({int(explanation.id) - 1: explanation for explanation in explained})
            failed.update({int(id) - 1: reason for id, reason in lacking.items()})

        if given.pairs:
            self._explain(given, keep)
        if failed:
            raise NotExplained([found.get(i) for i in range(len(pairs))], failed)
        return [found[i] for i in range(len(pairs))]

    def _explain(self, given: _Given, keep: Keep) -> None:
        """``keep`` is called with every batch of the pairs, as in `ExplainLoop`."""
        cfg = self.cfg
        data = PairDataModule(
            source=given,
            encoder=self.classifier.encoder(cfg.unit),
            batch_size=cfg.batch_size,
            explain_batch_size=cfg.batch_size,
            explain_split="test",
            limit=None,
            limit_seed=0,
            workers=cfg.workers,
        )
        loop = ExplainLoop(
            self.classifier,
            self.explainer,
            range(data.batches),
            keep,
            token_budget=TokenBudget(cfg.token_budget),
            answers=cfg.answers,
            model=self.model.digest,
        )
        self.trainer.predict(loop, data, return_predictions=False)


class _Given:
    """Pairs of texts as a data set whose only split is test. A types.PairSource."""

    def __init__(
        self, pairs: Sequence[tuple[str, str]], labels: tuple[str, ...], *, clean: bool
    ) -> None:
        self.labels = labels
        self.pairs: list[PairExample] = []
        self.unread: dict[int, str] = {}
        for i, (text1, text2) in enumerate(pairs):
            sides = whole_characters(text1), whole_characters(text2)
            row = Row(f"pair {i + 1}", str(i + 1), *sides, None)
            try:
                self.pairs.append(to_example(row, labels, clean=clean))
            except BrokenRow as error:
                self.unread[i] = error.reason

    def load(self, split: str) -> list[PairExample]:
        return self.pairs

    def failed(self, split: str) -> dict[str, str]:
        return {}
