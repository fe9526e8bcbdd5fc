"""Files and folders that appear whole or not at all; of what lies there, only our own goes."""

from __future__ import annotations

import errno
import gzip
import io
import logging
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from safetensors import SafetensorError

from gmask_pl.escaping import terminal
from gmask_pl.types import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
_DRAFT = re.compile(r"\..{1,200}\.\d+-[0-9a-f]+\.draft", re.DOTALL)
_WARNED: set[str] = set()
_log = logging.getLogger(__name__)


class CannotWrite(UserError, OSError):
    """A file that cannot be written: its name, why, and the way out."""


@contextmanager
def whole_file(path: Path | str, *, lasting: bool = True) -> Iterator[Path]:
    """A draft beside ``path`` to write to, which takes its place when the block ends.

    When anything fails, the draft goes and an earlier file stays as it was. The file is on disk
    before its name is (``lasting=False``, for what may be lost: perhaps not). It has the
    permissions of the file that it replaces, else those of any file that the user makes, whoever
    writes it. A folder of that name is set aside. Raises CannotWrite.
    """
    path = Path(path)
    draft = _draft_of(path)
    with _telling(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.touch()
            mode = (path if path.is_file() else draft).stat().st_mode
            draft.chmod(mode | stat.S_IWUSR)  # private from the first byte on
            yield draft
            draft.chmod(mode)
            if lasting:
                _flush(draft)
            set_aside(path, kept=os.path.isfile)
            draft.replace(path)
            if lasting:
                _flush(path.parent)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def check_name(path: Path) -> None:
    """Raises UserError for a name, given by the user, of what is there and is no file."""
    if "\0" in str(path):
        raise UserError(f"{path}: this can be no name of a file: it holds a NUL")
    if os.path.lexists(path) and not path.is_file():
        kind = "a folder" if path.is_dir() else "no file of data"
        raise UserError(f"{path}: this is {kind}: give another name")


def write_text(path: Path, text: str) -> Path:
    """Writes a UTF-8 file as `whole_file` does."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")
    return path


@contextmanager
def whole_folder(folder: Path, ours: Collection[str]) -> Iterator[Path]:
    """A draft beside ``folder`` to fill, which takes its place when the block ends.

    ours: see `put_folder`. When anything fails, the draft goes and ``folder`` stays as it was.
    """
    draft = _draft_of(folder)
    with _telling(folder):
        try:
            draft.mkdir(parents=True)
            yield draft
            put_folder(draft, folder, ours)
        finally:
            shutil.rmtree(draft, ignore_errors=True)  # nobody else knows of it


def put_folder(draft: Path, folder: Path, ours: Collection[str]) -> None:
    """Puts a folder that is complete in the place of another, at once.

    ours: the names of files that may go from an earlier one; whatever else lies there moves to the
    new one. Raises CannotWrite.
    """
    earlier = folder.with_name(f".{folder.name}.earlier")
    with _telling(folder):
        _even_out(draft)
        _move_over(earlier, folder, ours)  # of a run that was killed just here
        set_aside(folder, kept=lambda path: path.is_dir() and not path.is_symlink())
        if folder.is_dir():
            folder.rename(earlier)
        draft.rename(folder)
        _flush(folder.parent)
        _move_over(earlier, folder, ours)


def remove_ours(folder: Path, ours: Callable[[str], bool]) -> None:
    """Removes the files of a folder whose names are ours, drafts too, and itself if it is empty."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if (is_draft(entry) or ours(entry.name)) and (entry.is_symlink() or not entry.is_dir()):
            entry.unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        left = ", ".join(sorted(entry.name for entry in folder.iterdir())[:3])
        _log.info(terminal(f"{folder} stays, as it holds what this project has not made: {left}"))


def is_draft(path: Path) -> bool:
    """Whether a path is a draft that was left by a process that was killed."""
    return bool(_DRAFT.fullmatch(path.name))


def set_aside(path: Path, *, kept: Callable[[Path], bool]) -> None:
    """Makes room where something of another kind lies: an empty folder goes, the rest gets a new
    name. kept: whether what lies there is of the right kind."""
    if not os.path.lexists(path) or kept(path):
        return
    if path.is_dir() and not path.is_symlink():
        with suppress(OSError):
            path.rmdir()
            return
    path.rename(_aside(path))


def _aside(path: Path) -> Path:
    """A new name for what somebody else has put there; it is told."""
    names = (path.with_name(f"{path.name}.aside{number or ''}") for number in range(1000))
    free = next(name for name in names if not os.path.lexists(name))
    _log.info(terminal(f"{path}: something else was in its place, which is now {free.name}"))
    return free


def damaged(path: Path, reason: object) -> None:
    """Says that a piece of earlier work cannot be read and is made again."""
    if str(path) not in _WARNED:
        _WARNED.add(str(path))
        why = " ".join(str(reason).split())[:200]
        _log.info(terminal(f"{path} is damaged ({why}): taken as not done, and made again"))


def warn_once(key: str, message: str) -> None:
    """Warns of what a run does without, the first time in a process."""
    if key not in _WARNED:
        _WARNED.add(key)
        _log.warning(terminal(message))


def check_folder(setting: str, folder: Path | str, *, written: bool = True) -> None:
    """Raises UserError where a folder can be neither written in nor made; makes nothing.

    written: false for a folder that is only read.
    """
    there = Path(os.path.abspath(folder))  # noqa: PTH100  # links are not followed
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    told = f"{setting}={folder}"
    if not there.is_dir():
        kind = "a link to nothing" if there.is_symlink() else "a file"
        raise UserError(f"{told}: {there} is {kind} where a folder is needed: name a folder")
    if written and not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"{told}: nothing can be written in {there} (read-only, or somebody else's): name a "
            "folder of yours, or change its permissions"
        )


def _draft_of(path: Path) -> Path:
    own = f"{os.getpid()}-{threading.get_ident():x}"
    return path.with_name(f".{path.name[:200]}.{own}.draft")


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Tells the failure of whoever writes there, each in its own way, as CannotWrite."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = re.search(r"os error (\d+)|errno (\d+)", str(error), re.IGNORECASE)
        if not found and not isinstance(error, OSError | SafetensorError):
            raise
        number = int(found[1] or found[2]) if found else None
        number = getattr(error, "errno", None) or number
        reason = os.strerror(number) if number else " ".join(str(error).split())
        way = "make room" if number in FULL else "name a folder that can be written in"
        told = "the disk is full" if number in FULL else "it cannot be written"
        again = "start the same command again, it goes on where it was"
        message = f"{path}: {told} ({reason}): {way} and {again}"
        raise CannotWrite(message) from error


def _flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # a folder that may not be listed
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if path.is_file() and error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _even_out(folder: Path) -> None:
    """Gives all files below a folder the permissions of a new one, and waits for the disk."""
    sample = _draft_of(folder / "sample")
    sample.touch()
    mode = sample.stat().st_mode
    sample.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
        _flush(path)
    _flush(folder)


def _move_over(earlier: Path, folder: Path, ours: Collection[str]) -> None:
    """Moves what is not ours from an earlier folder to the one in its place; the rest goes."""
    if not earlier.is_dir() or not folder.is_dir():
        return
    for entry in sorted(earlier.iterdir()):
        here = folder / entry.name
        if is_draft(entry) or (entry.name in ours and not entry.is_dir()):
            entry.unlink()
        else:
            entry.rename(here if not os.path.lexists(here) else _aside(here))
    remove_ours(earlier, lambda name: False)


GIGABYTE = 10**9
LONGEST_LINE = 2**28  # bytes
_expanded_limit: ContextVar[float] = ContextVar("expanded_limit", default=8 * GIGABYTE)


def limit_expanded(gigabytes: float) -> None:
    """Sets how large a compressed file may be once it is expanded, from here on.

    Raises UserError for what is no size.
    """
    if isinstance(gigabytes, bool) or not isinstance(gigabytes, int | float) or not gigabytes > 0:
        raise UserError(f"max_expanded_gb={gigabytes}: give a number of gigabytes above 0")
    _expanded_limit.set(gigabytes * GIGABYTE)


def open_lines(path: Path, encoding: str) -> TextIO:
    """A text file to read, gzipped where its name ends in .gz.

    Raises UserError, while it is read, where it expands to more than `limit_expanded` allows, or
    to a line that no text has: a small file can hold any number of equal bytes.
    """
    if path.suffix != ".gz":
        return path.open(encoding=encoding, newline="\n")
    expanded = io.BufferedReader(_Expanded(path, _expanded_limit.get()))
    return io.TextIOWrapper(expanded, encoding=encoding, newline="\n")


class _Expanded(io.RawIOBase):
    """What a gzipped file expands to, up to so many bytes."""

    def __init__(self, path: Path, most: float) -> None:
        self.path, self.most = path, most
        self.total = self.line = 0
        self.file = gzip.open(path, "rb")  # noqa: SIM115

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read1(len(buffer))
        self.total += len(data)
        end = data.rfind(b"\n")
        self.line = self.line + len(data) if end < 0 else len(data) - end - 1
        if self.total > self.most:
            raise UserError(
                f"{self.path}: it expands to more than {self.most / GIGABYTE:g} GB: if that is "
                "meant, set max_expanded_gb to more"
            )
        if self.line > LONGEST_LINE:
            raise UserError(f"{self.path}: it expands to a line of over {LONGEST_LINE} bytes")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()
