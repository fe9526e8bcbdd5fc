"""Answers that one run was given serve another, and change nothing but what is asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import explainer_of, kept
from pytorch_lightning import Trainer
from safetensors.numpy import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from gmask_pl.explainers.gmask_released import cut
from gmask_pl.explanation import Explanation
from gmask_pl.loops import ExplainLoop, ScoreLoop
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.masking.response_cache import ResponseCache
from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import ModelInput, PairExample, PairScore

Ask = Callable[[Tensor, Tensor], Tensor]


class Counting:
    """Answers a mask by its number of words and its pair, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, rows: Tensor, masks: Tensor) -> Tensor:
        self.asked += len(rows)
        weights = 0.5 ** torch.arange(masks.shape[1])
        return torch.stack([rows.float(), (masks * weights).sum(1)], 1)


def test_only_what_is_unknown_is_asked(tmp_path: Path) -> None:
    masks = torch.rand(40, 11, generator=torch.Generator().manual_seed(0)) > 0.5
    rows = torch.arange(40) % 2
    expected = Counting()(rows, masks)
    first, second = (ResponseCache(tmp_path, "ab", classes=2) for _ in range(2))
    ask = Counting()
    torch.testing.assert_close(first.complete(rows[:30], masks[:30], ask), expected[:30])
    torch.testing.assert_close(first.complete(rows, masks, ask), expected)
    distinct = len(torch.unique(torch.cat([rows[:, None], masks], 1), dim=0))
    assert ask.asked == distinct == 40
    assert first.reused == 0
    torch.testing.assert_close(second.complete(rows, masks, ask), expected)
    assert (ask.asked, second.reused) == (80, 0)  # nothing was kept yet
    first.keep()
    third = ResponseCache(tmp_path, "ab", classes=2)
    torch.testing.assert_close(third.complete(rows, masks, ask), expected)
    assert (ask.asked, third.reused) == (80, 40)


def test_a_mask_is_known_in_batches_of_any_width_and_place(tmp_path: Path) -> None:
    masks = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    ask = Counting()
    first = ResponseCache(tmp_path, ["pair"], classes=2)
    answers = first.complete(torch.zeros(3, dtype=torch.int64), masks, ask)
    first.keep()
    wide = torch.zeros(3, 40, dtype=torch.bool)
    wide[:, :3] = masks
    second = ResponseCache(tmp_path, ["other", "pair"], classes=2)
    found = second.complete(torch.ones(3, dtype=torch.int64), wide, ask)
    torch.testing.assert_close(found, answers)
    assert ask.asked == 3
    second.complete(torch.zeros(3, dtype=torch.int64), wide, ask)
    assert ask.asked == 6


def test_runs_add_to_one_another(tmp_path: Path) -> None:
    masks, rows = torch.eye(4, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)
    one, other = (ResponseCache(tmp_path, ["pair"], classes=2) for _ in range(2))
    one.complete(rows, masks[:2], Counting())
    other.complete(rows, masks[2:], Counting())
    one.keep()
    other.keep()
    last = ResponseCache(tmp_path, ["pair"], classes=2)
    last.complete(torch.zeros(4, dtype=torch.int64), masks, Counting())
    assert last.reused == 4
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"]


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def altered(place: int) -> Callable[[Path], object]:
    """Another bit, in the byte at this place from the end."""

    def alter(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[-place] ^= 1
        file.write_bytes(data)

    return alter


def holding(data: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(data)


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "thesis.txt").write_text("mine")


def stored(**tensors: np.ndarray) -> Callable[[Path], object]:
    return lambda file: save_file(tensors, file)


MASK = np.array([[224]], np.uint8)
OTHERS: dict[str, Callable[[Path], object]] = {
    "nothing": holding(b""),
    "cut": cut_off,
    "another mask": altered(1),
    "another answer": altered(6),
    "garbage": holding(b"\x07" * 99),
    "a folder": folder_instead,
    "three classes": stored(masks=MASK, logits=np.ones((1, 3), np.float32)),
    "another type": stored(masks=MASK, logits=np.ones((1, 2), np.float64)),
    "whole numbers": stored(masks=MASK.astype(np.int64), logits=np.ones((1, 2), np.float32)),
    "a single row": stored(masks=MASK[0], logits=np.ones((1, 2), np.float32)),
    "no numbers": stored(masks=MASK, logits=np.full((1, 2), np.nan, np.float32)),
    "other names": stored(questions=MASK, logits=np.ones((1, 2), np.float32)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_cannot_be_an_answer_is_told_and_asked_anew(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row, mask = torch.zeros(1, dtype=torch.int64), torch.ones(1, 3).bool()
    one, ask = ResponseCache(tmp_path, ["pair"], classes=2), Counting()
    expected = one.complete(row, mask, ask)
    one.keep()
    (file,) = tmp_path.rglob("*.safetensors")
    OTHERS[kind](file)
    for _ in range(2):
        again = ResponseCache(tmp_path, ["pair"], classes=2)
    assert torch.equal(again.complete(row, mask, ask), expected)
    assert (ask.asked, again.reused) == (2, 0)
    again.keep()
    told = capsys.readouterr().err
    assert told.count(f"{file}: no answers can be read from there") == 1
    last = ResponseCache(tmp_path, ["pair"], classes=2)
    last.complete(row, mask, ask)
    assert (ask.asked, last.reused) == (2, 1)
    if kind == "a folder":
        assert (file.with_name(f"{file.name}.aside") / "thesis.txt").read_text() == "mine"


def test_answers_that_cannot_be_kept_end_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    one = ResponseCache(tmp_path / "file", ["pair"], classes=2)
    one.complete(torch.zeros(1, dtype=torch.int64), torch.ones(1, 3).bool(), Counting())
    one.keep()
    assert "warning: answers are not kept for other runs: " in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_another_text_is_asked_anew(
    tmp_path: Path, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    batch = classifier.encoder("word")(examples)
    answers = ResponseCache(tmp_path, batch.ids, classes=3)
    masked = MaskedModel(classifier, batch, "pad", token_budget=4096, response_cache=answers)
    shorter = masked.rebind(cut(batch, torch.tensor([[0, 1], [0, 1], [0, 1]])))
    whole = shorter.logits(shorter.batch.word_valid[:, None])
    assert not torch.allclose(whole.softmax(-1)[:, 0], masked.probabilities)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lime", "gmask_two_sided", "oracle"])
def test_a_run_with_known_answers_is_the_same_but_for_its_seconds(
    tmp_path: Path,
    responsive: PairClassifier,
    examples: list[PairExample],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through both loops: explained, and scored under a removal of the same and of another name."""
    batch = responsive.encoder("word")(examples)
    small = {
        "lime": ("explainer.samples=30",),
        "gmask_two_sided": ("explainer.k=3", "explainer.word_filter.samples_per_word=3"),
        "oracle": ("explainer.beam=2",),
    }
    explainer = explainer_of(name, "explainer.removal=pad", *small[name])
    forward, rows_read = type(responsive).forward, []

    def counted(self: PairClassifier, inputs: ModelInput) -> Tensor:
        answers: Tensor = forward(self, inputs)
        rows_read.append(len(answers))
        return answers

    # Of the class: what a model itself holds is what it is.
    monkeypatch.setattr(type(responsive), "forward", counted)

    def run(removal: str, cache: Path | None) -> tuple[list[Explanation], list[PairScore], int]:
        rows_read.clear()
        found: dict[int, list[Explanation]] = {}
        rows: dict[int, list[PairScore]] = {}
        asking = {"token_budget": 4096, "response_cache": cache}
        asked = {removal: {"aopc": AOPC(max_removed=5, resamples=10, seed=0)}}
        for loop in (
            ExplainLoop(responsive, explainer, [0], kept(found), **asking),
            ScoreLoop(responsive, asked, [0], found.__getitem__, kept(rows), **asking),
        ):
            trainer = Trainer(
                logger=False,
                accelerator="cpu",
                inference_mode=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
            )
            trainer.predict(loop, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]
        return found[0], rows[0], sum(rows_read)

    plain, numbers, often = run("pad", None)
    first, same, once = run("pad", tmp_path)
    again, known, never = run("pad", tmp_path)
    assert often > once > never == 0
    assert all(math.isfinite(e.seconds) for e in (*plain, *first))
    assert all(math.isnan(e.seconds) for e in again)
    for found in (first, again):  # alike but for rounding: other batches were asked
        for one, other in zip(plain, found, strict=True):
            assert one.scores == pytest.approx(other.scores, abs=1e-4)
            assert (one.id, one.prediction) == (other.id, other.prediction)
            assert (one.evaluations, one.gradients) == (other.evaluations, other.gradients)
    for one, *others in zip(numbers, same, known, strict=True):
        assert all(one.row == pytest.approx(other.row, abs=1e-5) for other in others)
    assert run("mask", tmp_path)[2] > 0
