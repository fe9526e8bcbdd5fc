"""Pairs that a model cannot answer about are left out with a reason; the others do not notice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LABELS, UNNAMED, explainer_of, holds, make_example, silent_about, untrained
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from gmask_pl import loops
from gmask_pl.data.pairs import Pairs
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.occlusion import Occlusion
from gmask_pl.explanation import Explanation
from gmask_pl.loops import ExplainLoop, ScoreLoop
from gmask_pl.masking.masked_model import NOT_FINITE, MaskedModel
from gmask_pl.masking.token_packing import out_of_memory
from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.metrics.faithfulness.degradation import Degradation
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.failures import check_any_left, check_run, check_split
from gmask_pl.types import ModelInput, PairExample, PairScore, PairsFailed, UserError

SETTINGS = {
    "gmask": ("explainer.k=3", "explainer.fit.epochs=5", "explainer.word_filter.epochs=1"),
    "gradient_x_input": ("explainer.removal=zero",),
    "imask": ("explainer.epochs=2",),
    "integrated_gradients": ("explainer.removal=zero", "explainer.n_steps=3"),
    "kernel_shap": ("explainer.samples=20",),
    "lime": ("explainer.samples=20",),
    "occlusion": (),
    "shapley": ("explainer.k=3",),
}


def explained(
    classifier: PairClassifier, examples: Sequence[PairExample], name: str, *settings: str
) -> tuple[list[Explanation], dict[str, str]]:
    explainer = explainer_of(name, *(settings or SETTINGS.get(name, ())))
    kept: list[tuple[list[Explanation], dict[str, str]]] = []
    loop = ExplainLoop(
        classifier, explainer, [0], lambda i, *found: kept.append(found), token_budget=512
    )
    loop.predict_step(classifier.encoder("word")(examples), 0)
    ((found, failed),) = kept
    return [replace(e, seconds=0.0) for e in found], failed


@pytest.mark.parametrize("name", SETTINGS)
def test_the_other_pairs_are_explained_as_without_the_one_that_failed(
    responsive: PairClassifier, examples: list[PairExample], name: str
) -> None:
    silent_about(responsive, holds(responsive, "two"))
    found, failed = explained(responsive, examples, name)
    assert failed == {"pair-1": NOT_FINITE}
    expected, none = explained(responsive, [examples[0], examples[2]], name)
    assert none == {}
    assert found == expected


@pytest.mark.parametrize("name", ["occlusion", "lime", "gmask", "kernel_shap"])
def test_an_answer_about_a_masked_pair_alone_is_enough_to_fail(
    responsive: PairClassifier, examples: list[PairExample], name: str
) -> None:
    """Here about any text of pair-2, the shortest, without one of its words."""
    sleeps, nobody = (holds(responsive, word) for word in ("sleeps", "nobody"))
    silent_about(responsive, lambda inputs: sleeps(inputs) & ~nobody(inputs))
    found, failed = explained(responsive, examples, name, *SETTINGS[name], "explainer.removal=pad")
    assert (list(failed), [e.id for e in found]) == (["pair-2"], ["pair-0", "pair-1"])


def test_a_pair_that_only_a_metric_fails_at_keeps_its_explanation(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    sleeps, nobody = (holds(responsive, word) for word in ("sleeps", "nobody"))
    silent_about(responsive, lambda inputs: sleeps(inputs) & ~nobody(inputs))
    found, failed = explained(responsive, examples, "random", "explainer.removal=pad")
    assert failed == {}
    assert len(found) == 3
    rows, failed = scored(responsive, examples, found)
    assert failed == {"pair-2": NOT_FINITE}
    expected, none = scored(responsive, examples[:2], found[:2])
    assert none == {}
    assert rows == expected
    assert {row.id for row in rows} == {"pair-0", "pair-1"}


def scored(
    classifier: PairClassifier, examples: Sequence[PairExample], found: Sequence[Explanation]
) -> tuple[list[PairScore], dict[str, str]]:
    """Under two removals; the second would keep what the first one fails at."""
    kept: list[tuple[list[PairScore], dict[str, str]]] = []
    metrics = {
        removal: {
            "aopc": AOPC(max_removed=10, resamples=10, seed=0),
            "degradation": Degradation(steps=10, resamples=10, seed=0, min_denominator=0.01),
        }
        for removal in ("pad", "delete")
    }
    loop = ScoreLoop(
        classifier,
        metrics,
        [0],
        lambda number: found,
        lambda number, *rows: kept.append(rows),
        token_budget=512,
    )
    loop.predict_step(classifier.encoder("word")(examples), 0)
    return kept[0]


def test_pairs_without_an_explanation_are_passed_over(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    found, _ = explained(responsive, examples, "random", "explainer.removal=pad")
    rows, failed = scored(responsive, examples, found[::2])
    assert failed == {}
    assert {row.id for row in rows} == {"pair-0", "pair-2"}
    assert scored(responsive, examples, []) == ([], {})


def test_an_input_that_memory_does_not_hold_fails_its_pair_alone(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    long = make_example("long", "two dogs run " * 16, "two animals")

    def hook(module: Any, inputs: tuple[ModelInput]) -> None:
        if inputs[0].token_ids.shape[1] > 40:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    classifier.register_forward_pre_hook(hook)
    found, failed = explained(classifier, [*examples, long], "occlusion")
    assert [e.id for e in found] == ["pair-0", "pair-1", "pair-2"]
    assert list(failed) == ["long"]
    assert "memory ran out over one input of " in failed["long"]


def test_a_batch_of_which_every_pair_fails_is_a_batch_all_the_same(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    silent_about(classifier, lambda inputs: torch.ones(len(inputs.token_ids), dtype=torch.bool))
    found, failed = explained(classifier, examples, "occlusion")
    assert found == []
    assert failed == {e.id: NOT_FINITE for e in examples}


def test_a_score_that_is_no_number_fails_its_pair(
    classifier: PairClassifier, examples: list[PairExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = explainer_of("random")
    kept: list[Any] = []
    loop = ExplainLoop(
        classifier, explainer, [0], lambda i, *found: kept.append(found), token_budget=512
    )

    def broken(own: Any, masked: MaskedModel) -> Any:
        found = type(explainer).__call__(explainer, masked)
        for row, id in enumerate(masked.batch.ids):
            found.scores[row, 0] = math.inf if id == "pair-0" else found.scores[row, 0]
        return found

    loop.explainer = type("Broken", (Explainer,), {"__call__": broken})(removal="pad")
    loop.predict_step(classifier.encoder("word")(examples), 0)
    assert kept[0][1] == {"pair-0": "a score is not a finite number"}
    assert [e.id for e in kept[0][0]] == ["pair-1", "pair-2"]


def test_memory_is_given_back_after_every_batch(
    classifier: PairClassifier, examples: list[PairExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(loops, "trim_memory", lambda: trimmed.append(1))
    batch = classifier.encoder("word")(examples)
    loop = ExplainLoop(
        classifier, explainer_of("random"), [0, 1], lambda *kept: None, token_budget=512
    )
    trainer = Trainer(
        logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.predict(loop, DataLoader([batch, batch], batch_size=None))  # type: ignore[arg-type]
    assert len(trimmed) == 2
    monkeypatch.undo()
    loops.trim_memory()  # wherever this runs


def test_where_nobody_leaves_it_out_it_is_one_message(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """As of training pairs, which some explainers learn from."""
    silent_about(classifier, holds(classifier, "two"))
    batch = classifier.encoder("word")(examples)
    with pytest.raises(PairsFailed, match=f"^pair pair-1: {NOT_FINITE}$") as error:
        MaskedModel(classifier, batch, "pad", token_budget=512)
    assert isinstance(error.value, UserError)


def pairs(folder: Path, *sides: str) -> Pairs:
    lines = (f'{{"text1": "{side}", "text2": "b"}}\n' for side in sides)
    (folder / "p.jsonl").write_text("".join(lines), "utf-8")
    return Pairs(name="pairs", path=str(folder / "p.jsonl"), clean=True, labels=LABELS, **UNNAMED)


def test_too_many_unreadable_lines_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = pairs(tmp_path, "a", "", "a", " ")
    assert list(check_split(source, "test", 0.5)) == [f"{tmp_path}/p.jsonl:{n}" for n in (2, 4)]
    assert "2 of 4 lines of the test split hold no pair: " in capsys.readouterr().out
    with pytest.raises(UserError, match=r"2 of 4 lines .*p\.jsonl:2: text 1 is empty.*=0\.49"):
        check_split(source, "test", 0.49)
    assert check_split(pairs(tmp_path, "a"), "test", 0.0) == {}
    assert capsys.readouterr().out == ""


def test_too_many_failed_pairs_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    every = {f"p{i}": "no number" for i in range(4)}
    failed = {"reading": {"f:3": "empty"}, "explaining": every, "scoring": {"p9": "too long"}}
    check_run(failed, 500, 0.01)
    told = "5 of 500 pairs failed and are left out: p0: no number; p1: no number; p2: no "
    assert capsys.readouterr().out == f"{told}number; and 2 more\n"
    with pytest.raises(UserError, match="5 of 499 pairs failed .* larger share than max_failed=0"):
        check_run(failed, 499, 0.01)
    check_run({}, 500, 0.0)
    check_any_left(failed, 6)
    with pytest.raises(UserError, match="all 5 pairs failed: p0: no number"):
        check_any_left(failed, 5)
    check_run({"explaining": {"\x1b[31m": "no number"}}, 500, 0.01)
    assert "\x1b" not in capsys.readouterr().out  # a terminal would obey it


SAID = (
    MemoryError("Unable to allocate 3.2 GiB"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("could not create a memory object"),
    RuntimeError("std::bad_alloc"),
)


@pytest.mark.parametrize("error", SAID, ids=lambda error: str(error)[:40])
def test_memory_that_runs_out_is_told_from_faults(error: Exception) -> None:
    assert out_of_memory(error)
    assert not out_of_memory(ValueError(str(error)))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize("error", SAID, ids=lambda error: str(error)[:40])
def test_masks_that_memory_does_not_hold_fail_their_pair_alone(
    error: Exception,
    examples: list[PairExample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Outside the model, where nothing is asked of it yet."""
    classifier = untrained("dattn")
    expected = [explained(classifier, [examples[i]], "occlusion")[0][0] for i in (0, 2)]
    effects = Occlusion._effects

    def failing(self: Occlusion, masked: MaskedModel, *rest: Any) -> torch.Tensor:
        if "pair-1" in masked.batch.ids:
            raise error
        return effects(self, masked, *rest)

    monkeypatch.setattr(Occlusion, "_effects", failing)
    found, failed = explained(classifier, examples, "occlusion")
    assert found == expected
    assert list(failed) == ["pair-1"]
    assert "memory ran out over the masks" in failed["pair-1"]


def test_a_fault_is_no_lack_of_memory(
    classifier: PairClassifier, examples: list[PairExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Occlusion, "_effects", failing)
    with pytest.raises(RuntimeError, match="shapes"):
        explained(classifier, examples, "occlusion")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("name", "words"),
    [("occlusion", 60_000), ("interaction_groups", 600), ("imask", 600), ("random", 600)],
)
def test_words_that_were_cut_off_widen_nothing(name: str, words: int, side: int) -> None:
    """What the model reads is scored as in a pair that has no other words; the others are 0."""
    classifier = untrained("bert_tiny")
    long, short = "two dogs run on stage " * (words // 5), "the man plays the guitar"
    grouped = ("explainer.k=3", "explainer@explainer.word_filter=occlusion")  # which draws nothing
    settings = grouped if "groups" in name else SETTINGS.get(name, ())
    pair = make_example("long", *(long, short)[:: -1 if side else 1])
    batch = classifier.encoder("word")([pair, make_example("other", short, short)])
    places = batch.places[0]
    assert batch.word_valid.shape[1] == len(places) <= classifier.max_length
    assert batch.select([1]).narrowed().word_valid.shape[1] == 10
    (found,), failed = explained(classifier, [pair], name, *settings)
    assert failed == {}
    assert len(found.words) == len(found.scores) == words + 5
    assert {i for i, score in enumerate(found.scores) if score} <= set(places)
    read = [found.words[place] for place in places]
    first = sum(place < len(pair.words1) for place in places)
    whole = make_example("long", " ".join(read[:first]), " ".join(read[first:]))
    (alone,), _ = explained(classifier, [whole], name, *settings)
    if name in ("imask", "random"):  # they draw
        assert any(found.scores)
        return
    assert [found.scores[i] for i in places] == pytest.approx(alone.scores, abs=1e-6)
    if found.groups is not None and alone.groups is not None:
        own = [found.words[i] for i in found.groups.candidates]
        assert own == [alone.words[i] for i in alone.groups.candidates]
        assert {place < len(pair.words1) for place in found.groups.candidates} == {True, False}
    rows, _ = scored(classifier, [pair], [found])
    expected, _ = scored(classifier, [whole], [alone])
    assert [row.row for row in rows] == [pytest.approx(row.row, abs=1e-5) for row in expected]


def test_interactions_and_groups_name_words_among_all_of_the_pair() -> None:
    classifier = untrained("bert_tiny")
    pair = make_example("long", "two dogs run on stage " * 40, "nobody sleeps here")
    (found,), _ = explained(classifier, [pair], "interaction", "explainer.k=4")
    assert found.interactions is not None
    assert {found.words[j] for _, j in found.interactions.pairs} <= set(pair.words2)
    assert {found.words[i] for i, _ in found.interactions.pairs} <= set(pair.words1)
    assert all(i < 200 <= j for i, j in found.interactions.pairs)
