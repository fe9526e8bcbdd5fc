"""Pre-trained word vectors in fastText's formats."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gmask_pl.files import open_lines
from gmask_pl.types import UserError


def read_vectors(path: str | Path, vocabulary: Sequence[str], size: int) -> dict[int, Tensor]:
    """Vectors (size,) of those vocabulary words that the file knows, by vocabulary index.

    Reads `.vec` and `.vec.gz` text (a header ``count size``, then a word and its numbers a line)
    and fastText's `.bin`, which also composes vectors of unseen words from their character
    n-grams. Raises UserError on a missing file, a wrong size or a bad line.
    """
    file = Path(path)
    if not file.is_file():
        found = "this is a folder" if file.is_dir() else "there is no such file"
        raise UserError(f"model.embeddings={file}: {found}; give a .vec, .vec.gz or .bin file")
    if file.suffix == ".bin":
        return _read_bin(file, vocabulary, size)
    if not file.name.endswith((".vec", ".vec.gz")):
        raise UserError(f"model.embeddings={file}: expected a .vec, .vec.gz or .bin file")
    try:
        return _read_text(file, {word: i for i, word in enumerate(vocabulary)}, size)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"model.embeddings={file}: the file cannot be read: {error}") from error


def _read_text(file: Path, index: Mapping[str, int], size: int) -> dict[int, Tensor]:
    vectors: dict[int, Tensor] = {}
    with open_lines(file, "utf-8") as lines:
        header = lines.readline().split()
        if len(header) != 2 or not header[0].isdigit() or header[1] != str(size):
            raise UserError(
                f"{file}:1: the header is {' '.join(header)[:80]!r}, expected 'COUNT {size}' "
                "(model.net.embedding_size)"
            )
        shown = tqdm(lines, f"reading {file.name}", int(header[0]), unit=" words", leave=False)
        for number, line in enumerate(shown, start=2):
            word, _, rest = line.rstrip().partition(" ")
            if word not in index:
                continue
            try:
                vector = np.array(rest.split(" "), dtype=np.float32)
            except ValueError as error:
                raise UserError(f"{file}:{number}: the vector of {word!r}: {error}") from error
            if vector.shape != (size,):
                raise UserError(
                    f"{file}:{number}: {word!r} has {vector.size} numbers, expected {size}"
                )
            vectors[index[word]] = torch.from_numpy(vector)
    return vectors


def _read_bin(file: Path, vocabulary: Sequence[str], size: int) -> dict[int, Tensor]:
    try:
        from gensim.models.fasttext import load_facebook_vectors
    except ImportError as error:
        raise UserError(
            f"model.embeddings={file}: .bin files are read by gensim; install the extra 'fasttext' "
            "or give the .vec file"
        ) from error
    try:
        known = load_facebook_vectors(str(file))
    except Exception as error:  # gensim raises whatever a broken byte leads to
        raise UserError(f"model.embeddings={file}: not a fastText .bin file: {error}") from error
    if known.vector_size != size:
        raise UserError(f"{file}: vectors of size {known.vector_size}, expected {size}")
    return {i: torch.from_numpy(np.array(known[w])) for i, w in enumerate(vocabulary) if i > 1}
