"""Data loaders, the draw of explained pairs, the vocabulary, Table 5 and the settings."""

from __future__ import annotations

import inspect
import json
import random
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import within
from hydra.utils import get_class
from omegaconf import OmegaConf

from gmask_paper.dataset_statistics import statistics, table
from gmask_pl.data.datamodule import PairDataModule, draw, word_counts
from gmask_pl.data.split_files import MissingSplit
from gmask_pl.types import PairBatch, PairExample, UserError

ROOT = Path(__file__).parents[1]


def example(name: str, text1: str = "a b", text2: str = "c", label: int | None = 0) -> PairExample:
    def spans(text: str) -> tuple[tuple[int, int], ...]:
        return tuple((2 * i, 2 * i + 1) for i in range(len(text.split())))

    return PairExample(name, text1, text2, spans(text1), spans(text2), label)


class FakeSource:
    """A source of made-up pairs."""

    labels: tuple[str, ...] = ("no", "yes")

    def __init__(self, **splits: list[PairExample]) -> None:
        self.splits = splits

    def load(self, split: str) -> list[PairExample]:
        if split not in self.splits:
            raise MissingSplit(f"no {split} split")
        return self.splits[split]

    def failed(self, split: str) -> dict[str, str]:
        return {}


def encode(examples: Sequence[PairExample]) -> PairBatch:
    """One token a word; enough for a batch."""
    b, width = len(examples), max(len(e.spans1) + len(e.spans2) for e in examples)
    zeros = torch.zeros(b, width, dtype=torch.long)
    return PairBatch(
        ids=tuple(e.id for e in examples),
        keys=tuple(e.id for e in examples),
        words1=tuple(e.words1 for e in examples),
        words2=tuple(e.words2 for e in examples),
        text1=tuple(e.text1 for e in examples),
        text2=tuple(e.text2 for e in examples),
        spans1=tuple(e.spans1 for e in examples),
        spans2=tuple(e.spans2 for e in examples),
        token_ids=zeros,
        attention=zeros.bool(),
        segment=zeros,
        word_of_token=zeros,
        word_place=zeros,
        word_side=zeros,
        word_valid=zeros.bool(),
        labels=torch.tensor([-1 if e.label is None else e.label for e in examples]),
        truncated=torch.zeros(b, dtype=torch.bool),
    )


def module(source: FakeSource, **settings: Any) -> PairDataModule:
    given = {
        "batch_size": 4,
        "explain_batch_size": 2,
        "explain_split": "test",
        "limit": 5,
        "limit_seed": 0,
        "workers": 0,
    }
    return PairDataModule(source=source, encoder=encode, **{**given, **settings})


def many(split: str, count: int = 10) -> list[PairExample]:
    return [example(f"{split}{i}") for i in range(count)]


def ids(loader: Any) -> list[tuple[str, ...]]:
    return [batch.ids for batch in loader]


def flat(loader: Any) -> list[str]:
    return [name for batch in ids(loader) for name in batch]


def test_loaders_hold_their_splits() -> None:
    data = module(FakeSource(train=many("r"), dev=many("d"), test=many("t")))
    assert sorted(flat(data.train_dataloader())) == [f"r{i}" for i in range(10)]
    assert flat(data.val_dataloader()) == [f"d{i}" for i in range(10)]
    assert flat(data.test_dataloader()) == [f"t{i}" for i in range(10)]
    assert [len(batch) for batch in ids(data.test_dataloader())] == [4, 4, 2]
    assert [len(batch) for batch in ids(data.predict_dataloader())] == [2, 2, 1]
    assert flat(data.predict_dataloader()) == [e.id for e in data.explained]
    dev = module(FakeSource(dev=many("d"), test=many("t")), explain_split="dev", limit=None)
    assert flat(dev.predict_dataloader()) == [f"d{i}" for i in range(10)]


def test_a_batch_to_be_explained_holds_the_same_pairs_whatever_is_chosen() -> None:
    data = module(FakeSource(test=many("t")))
    batches = ids(data.predict_dataloader())
    assert data.batches == len(batches) == 3
    data.chosen = [2, 0]
    assert ids(data.predict_dataloader()) == [batches[2], batches[0]]
    data.chosen = []
    assert ids(data.predict_dataloader()) == []


def test_shuffling_follows_the_seed_of_the_run_alone() -> None:
    data = module(FakeSource(train=many("r", 50)))

    def epochs(seed: int, drawn_before: int) -> list[list[str]]:
        torch.manual_seed(seed)
        torch.rand(drawn_before)
        loader = data.train_dataloader()
        return [flat(loader), flat(loader)]

    first = epochs(1, drawn_before=0)
    assert first == epochs(1, drawn_before=3)
    assert first != epochs(2, drawn_before=0)
    assert first[0] != first[1]
    assert first[0] != [f"r{i}" for i in range(50)]


def test_explained_pairs_depend_on_their_own_seed_alone() -> None:
    source = FakeSource(test=many("t", 100))

    def explained(limit_seed: int, seed: int) -> list[str]:
        random.seed(seed)
        torch.manual_seed(seed)
        return [e.id for e in module(source, limit_seed=limit_seed).explained]

    assert explained(0, seed=1) == explained(0, seed=2)
    assert explained(0, seed=1) != explained(1, seed=1)


def test_draw_is_without_replacement_in_order() -> None:
    examples = many("t", 20)
    drawn = draw(examples, 7, seed=3)
    positions = [examples.index(e) for e in drawn]
    assert len(drawn) == 7
    assert positions == sorted(set(positions))
    for limit in (20, 99, None):
        assert draw(examples, limit, seed=3) == examples
    counts = Counter(e.id for seed in range(600) for e in draw(examples, 7, seed))
    assert all(150 < counts[e.id] < 270 for e in examples)  # 210 expected, sd 12
    with pytest.raises(UserError, match="limit=0"):
        draw(examples, 0, seed=3)


def test_pairs_to_learn_from_need_labels() -> None:
    unlabelled = [*many("x"), example("bad", label=None)]
    data = module(FakeSource(train=unlabelled, dev=unlabelled, test=unlabelled))
    with pytest.raises(UserError, match="pair 'bad' of the train split .* no, yes"):
        data.train_dataloader()
    with pytest.raises(UserError, match="pair 'bad' of the dev split"):
        data.val_dataloader()
    assert "bad" in flat(data.test_dataloader())


def test_word_counts() -> None:
    counts = word_counts([example("x", "a b a", "b"), example("y", "c", "a")])
    assert counts == {"a": 3, "b": 2, "c": 1}


def test_statistics_by_hand() -> None:
    source = FakeSource(train=[example("x", "a b a", "b")], test=[example("y", "c", "d e f")] * 2)
    row = statistics(source)
    assert (row.classes, row.vocabulary) == (2, 2)
    assert row.sizes == {"train": 1, "dev": None, "test": 2}
    assert row.length == pytest.approx((3 + 1 + 2 * (1 + 3)) / 6)
    assert table([("mine", row)]).splitlines() == [
        "dataset  C    L  V  #train  #dev  #test",
        "mine     2  2.0  2       1     -      2",
    ]
    with pytest.raises(UserError, match="no test split"):
        statistics(FakeSource())


def run_statistics(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return within(str(ROOT / "gmask_paper" / "dataset_statistics.py"), folder, *overrides)


@pytest.mark.slow
def test_statistics_command_prints_a_row_and_writes_nothing(tmp_path: Path) -> None:
    row = {"id": "1", "text1": "A b.", "text2": "C d.", "label": "paraphrase"}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row) + "\n")
    result = run_statistics(tmp_path, "dataset=mrpc", "dataset.path=.")
    assert result.returncode == 0, result.stderr
    header, row_shown = result.stdout.splitlines()
    assert header.split() == ["dataset", "C", "L", "V", "#train", "#dev", "#test"]
    assert row_shown.split() == ["mrpc", "2", "3.0", "-", "-", "1", "-"]
    assert [path.name for path in tmp_path.iterdir()] == ["dev.jsonl"]


@pytest.mark.slow
def test_statistics_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    result = run_statistics(tmp_path, "dataset=pairs")
    assert result.returncode == 2
    assert result.stderr.startswith("error: dataset=pairs needs dataset.path")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["esnli", "quora", "qqp", "mrpc", "pairs"])
def test_settings_fit_their_class(name: str) -> None:
    settings = OmegaConf.load(ROOT / "conf" / "dataset" / f"{name}.yaml")
    assert settings.name == name
    parameters = inspect.signature(get_class(settings._target_)).parameters
    assert set(parameters) == set(settings) - {"_target_"}
    assert all(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters.values())
