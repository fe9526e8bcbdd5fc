"""Explanations from Python, without a command line or files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gmask_pl.config import CONF, quieten, register
from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.data.jsonl import whole_characters
from gmask_pl.data.source import Row, to_example
from gmask_pl.engine.loops import ExplainLoop
from gmask_pl.engine.session import check_numbers, make_trainer, stored_classifier
from gmask_pl.engine.study import make_study
from gmask_pl.packing import TokenBudget
from gmask_pl.types import Explanation, PairExample, PairSource, UserError


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
        self.explainer.prepare(make_study(cfg, source, self.classifier))

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[Explanation]:
        """The explanation of every pair, in their order.

        ``prediction`` is an index of ``labels``. Raises UserError for a text without words, and
        for a pair about which the model gives no finite answer.
        """
        if not pairs:
            return []
        cfg, found = self.cfg, dict[int, list[Explanation]]()
        given = _Given(pairs, self.labels, clean=cfg.dataset.get("clean", False))
        failed: dict[str, str] = {}

        def keep(batch: int, explained: list[Explanation], lacking: dict[str, str]) -> None:
            found[batch] = explained
            failed.update(lacking)

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
        )
        self.trainer.predict(loop, data, return_predictions=False)
        if failed:
            raise UserError("; ".join(f"pair {id}: {reason}" for id, reason in failed.items()))
        return [explanation for batch in sorted(found) for explanation in found[batch]]


class _Given:
    """Pairs of texts as a data set whose only split is test. A types.PairSource."""

    def __init__(
        self, pairs: Sequence[tuple[str, str]], labels: tuple[str, ...], *, clean: bool
    ) -> None:
        self.labels = labels
        self.pairs = []
        for i, (text1, text2) in enumerate(pairs, start=1):
            sides = whole_characters(text1), whole_characters(text2)
            self.pairs.append(
                to_example(Row(f"pair {i}", str(i), *sides, None), labels, clean=clean)
            )

    def load(self, split: str) -> list[PairExample]:
        return self.pairs

    def failed(self, split: str) -> dict[str, str]:
        return {}
