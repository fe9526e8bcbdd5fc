"""Files appear whole or not at all, alike for whoever writes them, and nothing else goes."""

from __future__ import annotations

import contextvars
import errno
import gzip
import math
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import LABELS, ROOT, untrained, within
from matplotlib.figure import Figure

from gmask_paper.curve_figures import save as save_figure
from gmask_pl import files
from gmask_pl.data.split_files import read_lines
from gmask_pl.explainers.training_context import Place
from gmask_pl.explanation import Explanation
from gmask_pl.files import (
    CannotWrite,
    check_folder,
    limit_expanded,
    put_folder,
    remove_ours,
    whole_file,
    whole_folder,
    write_text,
)
from gmask_pl.masking.response_cache import _write as write_answers
from gmask_pl.metrics.faithfulness.naopc import BoundsCache
from gmask_pl.models.words import read_vectors
from gmask_pl.pipeline.checkpoint import SafeCheckpoints
from gmask_pl.store import write_explanations, write_parquet
from gmask_pl.types import UserError

LONG = tuple(f"word{i}" for i in range(3000))
EXPLANATION = Explanation(
    "a", LONG, ("b",), None, 0, (1.0, 0.0, 0.0), (0.5,) * 3001, None, 3, 0, 0.1
)
NUMBERS = torch.rand(4000, generator=torch.Generator().manual_seed(0))


def drawn() -> Figure:
    figure = Figure()
    figure.add_subplot().plot(NUMBERS[:500].tolist())
    return figure


# Everything that writes, by the file that it leaves.
WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "text": ("a.json", lambda folder: write_text(folder / "a.json", "x" * 9999)),
    "Parquet": (
        "a.parquet",
        lambda folder: write_explanations(folder / "a.parquet", [EXPLANATION], LABELS),
    ),
    "numbers in Parquet": (
        "b.parquet",
        lambda folder: write_parquet(
            folder / "b.parquet",
            pa.schema([pa.field("x", pa.float64())]),
            ({"x": x} for x in NUMBERS.tolist()),
        ),
    ),
    "safetensors": (
        "state.safetensors",
        lambda folder: SafeCheckpoints().save_checkpoint(
            {"x": NUMBERS}, folder / "state.safetensors"
        ),
    ),
    "answers": (
        "pair.safetensors",
        lambda folder: write_answers(
            folder / "pair.safetensors", {b"\x07": np.ones(3000, np.float32)}
        ),
    ),
    "PNG": ("f.png", lambda folder: save_figure(drawn(), folder / "f")),
    "a model": ("model.safetensors", lambda folder: untrained("dattn").save(folder)),
}


@contextmanager
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it no file can be longer than 1,000 bytes, whoever writes it."""
    monkeypatch.setattr(files, "FULL", (errno.EFBIG,))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_message_and_the_file_that_was_there_stays(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, write = WRITERS[kind]
    (tmp_path / name).write_text("earlier")
    with small_disk(monkeypatch), pytest.raises(CannotWrite) as caught:
        write(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "the disk is full (File too large): make room" in message
    assert "\n" not in message
    assert (tmp_path / name).read_text() == "earlier"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    write(tmp_path)
    assert (tmp_path / name).stat().st_size > 1000


def test_all_files_have_the_permissions_of_the_user(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        for _, write in WRITERS.values():
            write(tmp_path)
        with whole_folder(tmp_path / "bert", ()) as draft:
            untrained("bert_tiny").save(draft)
        Place(tmp_path / "place", "{}").write({"x": NUMBERS}, {})
        BoundsCache(tmp_path / "bounds").add(["a"], [(0.0, 1.0, True)])
    finally:
        os.umask(before)
    found = {path: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert len(found) > 15
    assert set(found.values()) == {0o640}, found


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = write_text(tmp_path / "mine.html", "before")
    path.chmod(mode)
    with whole_file(path) as draft:
        assert draft.stat().st_mode & 0o077 == mode & 0o077
        draft.write_text("after")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("after", mode)


def test_what_is_learnt_and_cannot_be_kept_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(monkeypatch):
        Place(tmp_path / "place", "{}").write({"x": NUMBERS}, {})
    assert "what was learnt is not kept for other runs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_fails_while_writing_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    for error in (UserError("a mistake"), ValueError("a fault"), RuntimeError("killed")):
        with pytest.raises(type(error), match=str(error)), whole_file(tmp_path / "a"):
            raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_written_is_told(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Path, *arguments: Any, **named: Any) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "touch", failing)
    with pytest.raises(CannotWrite, match=f"{tmp_path}/a.json: it cannot be written") as caught:
        write_text(tmp_path / "a.json", "x")
    assert os.strerror(number) in str(caught.value)
    assert "name a folder" in str(caught.value)


def test_a_folder_in_the_place_of_a_file_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "full.aside").mkdir()
    for name in ("empty", "full"):
        write_text(tmp_path / name, "ours")
        assert (tmp_path / name).read_text() == "ours"
    assert (tmp_path / "full.aside1" / "thesis.txt").read_text() == "mine"
    assert "which is now full.aside1" in capsys.readouterr().out


def test_of_an_earlier_folder_only_what_is_ours_goes(tmp_path: Path) -> None:
    folder, draft = tmp_path / "it", tmp_path / "draft"
    for place, text in ((folder, "earlier"), (draft, "new")):
        place.mkdir()
        for name in ("a", "b"):
            (place / name).write_text(text)
    (folder / "b").unlink()
    (folder / "c").write_text("earlier")
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "d" / "e" / "thesis.txt").write_text("mine")
    (folder / "thesis.txt").write_text("mine")
    (folder / "mine").write_text("mine")
    (draft / "mine").write_text("new")
    put_folder(draft, folder, ("a", "b", "c", "d"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it"]
    assert (folder / "mine").read_text() == "new"
    assert (folder / "mine.aside").read_text() == "mine"
    for name in ("mine", "mine.aside"):
        (folder / name).unlink()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "d", "thesis.txt"]
    assert {(folder / name).read_text() for name in "ab"} == {"new"}
    assert (folder / "d" / "e" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("step", range(6))
def test_a_kill_while_a_folder_is_put_loses_nothing(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it"
    folder.mkdir()
    for name in ("a", "thesis.txt", "notes.txt"):
        (folder / name).write_text("earlier")
    rename, done = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(self)
        return rename(self, target)

    def put() -> None:
        with whole_folder(folder, ("a",)) as draft:
            (draft / "a").write_text("new")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        try:
            put()
        except KeyboardInterrupt:
            assert step < 4
    put()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "a": "new",
        "thesis.txt": "earlier",
        "notes.txt": "earlier",
    }
    assert list(tmp_path.iterdir()) == [folder]


def test_of_a_folder_only_our_files_are_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "it"
    (folder / "a").mkdir(parents=True)
    mine = [".thesis.draft", ".thesis.1-x.draft", "thesis.1-2.draft", "thesis.txt"]
    for name in ("b", ".b.1-2.draft", *mine):
        (folder / name).write_text("x")
    with pytest.raises(KeyboardInterrupt), whole_file(folder / "c") as draft:
        shutil.copyfile(draft, tmp_path / draft.name)
        raise KeyboardInterrupt
    (tmp_path / draft.name).rename(draft)  # of a process that was killed
    remove_ours(folder, lambda name: name in "ab")
    assert sorted(path.name for path in folder.iterdir()) == sorted(["a", *mine])
    assert f"{folder} stays" in capsys.readouterr().out
    (tmp_path / "link").symlink_to(folder)
    remove_ours(tmp_path / "link", lambda name: True)
    assert (folder / "thesis.txt").exists()
    remove_ours(tmp_path / "none", lambda name: True)


def test_a_place_that_cannot_be_a_folder_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    check_folder("output", tmp_path / "new" / "er")
    check_folder("output", tmp_path)
    for name, what in {
        "file": "a file",
        "file/a/b": "a file",
        "link/a": "a link to nothing",
    }.items():
        with pytest.raises(UserError, match=f"^output={tmp_path}/{name}: {tmp_path}.* is {what}"):
            check_folder("output", tmp_path / name)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="nothing can be written in"):
        check_folder("output", tmp_path / "new")
    check_folder("weights_dir", tmp_path, written=False)


def test_what_a_compressed_file_expands_to_has_a_bound_that_can_be_raised(tmp_path: Path) -> None:
    """Of pairs and of word vectors alike; a few kB expand to 1 MB."""
    bomb = tmp_path / "pairs.jsonl.gz"
    with gzip.open(bomb, "wt") as file:
        file.write('{"text1": "a", "text2": "b"}\n' * 40_000)
    context = contextvars.copy_context()
    context.run(limit_expanded, 0.001)
    with pytest.raises(UserError, match=r"expands to more than 0.001 GB.* set max_expanded_gb"):
        context.run(lambda: list(read_lines(bomb)))
    context.run(limit_expanded, 0.002)
    assert context.run(lambda: sum(1 for _ in read_lines(bomb))) == 40_000
    vectors = tmp_path / "a.vec.gz"
    with gzip.open(vectors, "wt") as file:
        file.write("9 2\n" + "a 1 2\n" * 400_000)
    with pytest.raises(UserError, match="set max_expanded_gb to more"):
        context.run(read_vectors, vectors, ["a"], 2)
    for size in (0, -1, math.nan, True, "8"):
        with pytest.raises(UserError, match="max_expanded_gb="):
            limit_expanded(size)  # type: ignore[arg-type]


def test_a_line_that_no_text_has_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 10**6)
    with gzip.open(tmp_path / "a.gz", "wt") as file:
        file.write("x" * 10**7)
    with pytest.raises(UserError, match="a line of over 1000000 bytes"):
        list(read_lines(tmp_path / "a.gz"))


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train.py", "explain.py"])
@pytest.mark.parametrize("more", [(), ("-m", "seed=0,1")])
def test_results_that_have_no_place_are_one_message(
    script: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "thesis").write_text("mine")
    for setting in ("output=thesis", "output=thesis/below"):
        done = within(str(ROOT / script), tmp_path, *more, setting)
        assert done.returncode == 2
        assert done.stderr.strip().splitlines() == [
            f"error: {setting}: {tmp_path}/thesis is a file where a folder is needed: name a folder"
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


@pytest.mark.slow
def test_answers_that_are_a_file_are_one_message(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("mine")
    for setting in ("response_cache", "explainers_dir", "weights_dir"):
        done = within(
            str(ROOT / "explain.py"), tmp_path, f"{setting}=thesis", "dataset.test_size=9"
        )
        assert done.returncode == 2, done.stderr
        assert f"error: {setting}=thesis: {tmp_path}/thesis is a file" in done.stderr
    assert (tmp_path / "thesis").read_text() == "mine"
