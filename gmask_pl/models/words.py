"""Models that read words: one token a word, of a vocabulary of the training words.

And pre-trained vectors of words, in fastText's formats.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from gmask_pl.files import open_lines
from gmask_pl.models.encoding import EncodedPair, check_unit, collate
from gmask_pl.models.pair_classifier import PairClassifier, gated
from gmask_pl.settings import Count, checked
from gmask_pl.types import ModelInput, PairBatch, PairEncoder, PairExample, UserError, WordCounts

PAD, UNKNOWN = "<pad>", "<unk>"


class WordClassifier(PairClassifier):
    """A classifier over word embeddings, which its ``forward`` reads by `embedded`.

    vocabulary: the words in index order, the first two being padding and the unknown word, which
    also serves as mask token.
    """

    pad_token_id = 0
    mask_token_id = 1
    skips_hidden = True
    usual_removal = "zero"  # Eq. 1: masks multiply the word embeddings

    @checked
    def __init__(
        self,
        *,
        labels: Sequence[str],
        vocabulary: Sequence[str],
        embedding_size: Count,
        **optimizer: Any,
    ) -> None:
        super().__init__(labels=labels, **optimizer)
        self.vocabulary = tuple(vocabulary)
        self.embedding = nn.Embedding(len(self.vocabulary), embedding_size, padding_idx=0)

    @classmethod
    def from_data(cls, *, labels: Sequence[str], word_counts: WordCounts, **settings: Any) -> Self:
        by_count = sorted(word_counts, key=lambda word: (-word_counts[word], word))
        return cls(labels=labels, vocabulary=[PAD, UNKNOWN, *by_count], **settings)

    def encoder(self, unit: str) -> PairEncoder:
        check_unit(unit)
        return WordEncoder(self.vocabulary)

    def embedded(self, inputs: ModelInput) -> Tensor:
        """The word embeddings (N, L, D), each times its gate (Eq. 1)."""
        return gated(self.embedding, inputs)


class WordEncoder:
    """Encodes pairs for word-level models: one token a word, no special tokens."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.index = {word: i for i, word in enumerate(vocabulary)}
        self.vocabulary_size = len(vocabulary)

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch:
        return collate(examples, [self._encode(example) for example in examples], 0)

    def _encode(self, example: PairExample) -> EncodedPair:
        words1, words2 = example.words1, example.words2
        ids = [self.index.get(word.lower(), 1) for word in words1 + words2]
        segment = [0] * len(words1) + [1] * len(words2)
        return EncodedPair(ids, segment, range(len(ids)), words1, words2)


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
