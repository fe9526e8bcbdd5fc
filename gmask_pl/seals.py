"""A digest of all bytes of a file within the file itself, so that altered ones are noticed.

Whatever the format, its metadata hold `UNSEALED` while it is written; `seal` puts the digest in its
place. A file without a seal, of an earlier version, is taken as it is.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_MARK, _SIZE = b"gmask_pl seal ", 16
_NONE = b"0" * (2 * _SIZE)
UNSEALED = (_MARK + _NONE).decode()


def seal(draft: Path) -> None:
    """Seals a file that holds `UNSEALED`."""
    with draft.open("r+b") as file:
        data = file.read()
        place = data.rindex(_MARK) + len(_MARK)
        file.seek(place)
        file.write(_digest(data, place))


def read_sealed(path: Path | str) -> bytes:
    """What a file holds. Raises ValueError where that is not what was sealed, and OSError."""
    data = Path(path).read_bytes()
    place = _place(data)
    if place and data[place : place + len(_NONE)] != _digest(data, place):
        raise ValueError("its contents are not those that were written")
    return data


def _place(data: bytes) -> int:
    """Where the digest stands, 0 where there is none. The last mark is the metadata's own."""
    return data.rfind(_MARK) + len(_MARK) if _MARK in data else 0


def _digest(data: bytes, place: int) -> bytes:
    view, digest = memoryview(data), hashlib.blake2b(digest_size=_SIZE)
    for part in (view[:place], _NONE, view[place + len(_NONE) :]):
        digest.update(part)
    return digest.hexdigest().encode()
