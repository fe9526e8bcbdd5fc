"""How a network is asked: the fastest way that gives the answers of the plainest one.

The plainest way asks about one row at a time, without padding, as the network's own direct call
does, and carries hidden tokens along with the attention paid to them off. What else a network can
is found by trying on a pair of its tokenizer's own words, longer than its attention window.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice, product
from string import ascii_lowercase

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gmask_pl.types import ModelInput, PairBatch, PairExample, Span, UserError

_PIECES = 600  # of a vocabulary that are looked at
UNASKED = "the network cannot be asked about a pair at all: {}"
_POSITIONS = frozenset(
    ("position_embeddings", "position_embedding", "embed_positions", "wpe", "positions_embed")
)
_WINDOWS = (
    *("window", "local_attention", "block", "chunk", "stride", "kernel", "landmark", "bucket"),
    *("relative", "span", "num_rand", "segment_len", "original_max_position"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a network is asked.

    first_position: the position id of the first token; None: the network counts by itself.
    skips_hidden: hidden tokens are left out. together: which rows stand in a batch. softens: the
    attention paid to a token may be a number between 0 and 1. first_token: the last layer is
    computed for the first token alone. unreadable: special tokens that no text may hold, as the
    network finds places by them.
    """

    first_position: int | None = None
    skips_hidden: bool = False
    together: str = "alone"
    softens: bool = False
    first_token: bool = False
    unreadable: frozenset[int] = frozenset()


PLAIN = Reading()
Ask = Callable[[ModelInput, Reading], Tensor]


def find_reading(
    ask: Ask,
    batch: PairBatch,
    *,
    positions: Sequence[int],
    first_token: bool,
    special: Collection[int] = (),
) -> Reading:
    """The fastest way of asking that `ask` allows, tried on the pairs of ``batch``.

    batch: a short pair, one longer than the attention window, and others of various lengths, which
    are tried in a batch with them. positions: the first positions to try; first_token: whether to
    try that; special: ids of tokens that a text may hold by their names. Raises UserError where the
    plainest way fails.
    """
    rows, others = ([one_row(batch, i) for i in some] for some in ((0, 1), range(2, len(batch))))
    try:
        wholes = [ask(row, PLAIN) for row in rows]
        hidden = [partly_hidden(row) for row in rows]
        expected = [ask(row, PLAIN) for row in hidden]
    except Exception as error:
        raise UserError(UNASKED.format(told(error))) from error
    effect = max(
        float((one - other).abs().max())
        for one, other in ((wholes[0], wholes[1]), *zip(wholes, expected, strict=True))
    )

    def same(inputs: ModelInput, how: Reading, wanted: Tensor) -> bool:
        try:
            return alike(ask(inputs, how), wanted, effect)
        except Exception:  # a network may fail at what it cannot in any way
            return False

    best = PLAIN
    for first in positions:
        how = replace(best, first_position=first)
        if all(same(row, how, whole) for row, whole in zip(rows, wholes, strict=True)):
            best = how
            break
    try:  # hidden tokens keep the positions they had
        expected = [ask(row, best) for row in hidden]
    except Exception as error:
        raise UserError(UNASKED.format(told(error))) from error
    if all(same(left_out(r), best, e) for r, e in zip(hidden, expected, strict=True)):
        best = replace(best, skips_hidden=True)
    best = replace(best, together=_together(same, ask, rows, others, best))
    words = (batch.word_of_token[0] >= 0).nonzero().flatten()[[0, -1]]
    unreadable = _unreadable(special, same, ask, rows[0], words, best)
    best = replace(best, unreadable=unreadable)
    soft = [replace(row, attention=row.attention.float()) for row in hidden]
    how = replace(best, softens=True)
    if all(same(row, how, e) for row, e in zip(soft, expected, strict=True)):
        best = how
    if first_token:
        how = replace(best, first_token=True)
        cases = [*zip(hidden, expected, strict=True), *zip(rows, wholes, strict=True)]
        cases += list(zip(soft, expected, strict=True)) if best.softens else []
        if best.together == "any":
            cases.append((padded(rows), torch.cat(wholes)))
        if all(same(inputs, how, e) for inputs, e in cases):
            best = how
    return best


def _together(
    same: Callable[[ModelInput, Reading, Tensor], bool],
    ask: Ask,
    rows: list[ModelInput],
    others: list[ModelInput],
    how: Reading,
) -> str:
    """Which rows may stand in a batch, read by their ids and, where that works, embeddings."""
    short, long = rows
    equal = [[long, replace(long, token_ids=long.token_ids.flip(1))]]
    if how.skips_hidden:  # of a long pair may be left as few tokens, far from the beginning
        seen = long.positions >= long.positions.shape[1] - short.positions.shape[1]
        equal.append([short, left_out(replace(long, attention=seen))])
    cases = []
    for kind, batches in (("any", [[*rows, *others], *equal]), ("equal", equal)):
        found = []
        for batch in batches:
            try:
                found.append((padded(batch), torch.cat([ask(row, how) for row in batch])))
            except Exception:
                return "alone"
            gated = [thinned(row) for row in batch[:2]]
            with suppress(Exception):  # it may take no embeddings: none are asked about together
                found.append((padded(gated), torch.cat([ask(row, how) for row in gated])))
        cases.append((kind, found))
    for kind, found in cases:
        if all(same(inputs, how, wanted) for inputs, wanted in found):
            return kind
    return "alone"


def _unreadable(
    special: Collection[int],
    same: Callable[[ModelInput, Reading, Tensor], bool],
    ask: Ask,
    row: ModelInput,
    words: Tensor,
    how: Reading,
) -> frozenset[int]:
    """The tokens that change how a text is read when they stand in it, at its first and last word.

    Some networks count positions, or find the token that they classify by, by such ids. By
    embeddings they cannot, and in a batch some ask for as many of them in every row.
    """
    whole, gate = ask(row, how), torch.ones_like(row.token_ids, dtype=torch.float32)
    gates = same(replace(row, gate=gate), how, whole)  # it may take no embeddings

    def readable(held: dict[int, ModelInput], wanted: dict[int, Tensor]) -> bool:
        rows, answers = list(held.values()), list(wanted.values())
        cases = [([*rows, row], [*answers, whole])]
        if how.together != "any":
            cases = [([one], [answer]) for one, answer in zip(rows, answers, strict=True)]
        if gates:
            cases += [([replace(r, gate=gate) for r in some], found) for some, found in cases]
        return all(same(padded(some), how, torch.cat(found)) for some, found in cases)

    held = {id: replace(row, token_ids=row.token_ids.index_fill(1, words, id)) for id in special}
    wanted: dict[int, Tensor] = {}
    for id, one in held.items():
        with suppress(Exception):  # whatever the network leads to
            wanted[id] = ask(one, PLAIN)
    if len(wanted) == len(held) and readable(held, wanted):
        return frozenset()
    apart = (id for id in wanted if readable({id: held[id]}, {id: wanted[id]}))
    return frozenset(held) - frozenset(apart)


def alike(found: Tensor, wanted: Tensor, effect: float) -> bool:
    """Whether two answers differ by rounding alone: 0.1 % of what the words change at all."""
    return bool((found - wanted).abs().max() <= tolerance(wanted, effect))


def tolerance(wanted: Tensor, effect: float) -> float:
    """The largest difference of rounding in logits that words change by ``effect``."""
    return max(1e-3 * effect, 4e-6 * float(wanted.abs().max())) + 1e-6


def told(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, UserError):
        return str(error)
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__


def one_row(batch: PairBatch, row: int) -> ModelInput:
    """A pair of a batch alone, without padding."""
    n = int(batch.attention[row].sum())
    place = torch.arange(n, device=batch.device)[None]
    one = slice(row, row + 1)
    return ModelInput(
        batch.token_ids[one, :n], batch.attention[one, :n], batch.segment[one, :n], place
    )


def partly_hidden(row: ModelInput) -> ModelInput:
    """Every second token hidden, but for the first and the last two."""
    place = torch.arange(row.token_ids.shape[1], device=row.token_ids.device)[None]
    keep = (place % 2 == 0) | (place >= row.token_ids.shape[1] - 2)
    return replace(row, attention=row.attention & keep)


def left_out(row: ModelInput) -> ModelInput:
    """The row without its hidden tokens; the others keep their positions."""
    seen = row.attention[0]
    return ModelInput(
        row.token_ids[:, seen], row.attention[:, seen], row.segment[:, seen], row.positions[:, seen]
    )


def thinned(row: ModelInput) -> ModelInput:
    """The row with the embedding of every third token at half its size."""
    place = torch.arange(row.token_ids.shape[1], device=row.token_ids.device)[None]
    return replace(row, gate=torch.where(place % 3 == 2, 0.5, 1.0))


def padded(rows: list[ModelInput]) -> ModelInput:
    """Rows of any lengths in one batch."""
    places = [row.positions for row in rows]
    length = max(p.shape[1] for p in places)

    def together(name: str, filler: float = 0) -> Tensor:
        parts = [getattr(row, name) for row in rows]
        pad = torch.nn.functional.pad
        return torch.cat([pad(p, (0, length - p.shape[1]), value=filler) for p in parts])

    ids, attention, segment = map(together, ("token_ids", "attention", "segment"))
    every = torch.arange(length, device=ids.device)[None]  # padding has positions, too
    positions = torch.cat([torch.cat([p, every[:, p.shape[1] :]], 1) for p in places])
    gate = None if rows[0].gate is None else together("gate", 1.0)
    return ModelInput(ids, attention, segment, positions, gate)


def tables_of_positions(network: PreTrainedModel) -> dict[int, int]:
    """The first position of every table of absolute positions, and how many tokens it has room for.

    RoBERTa and its kin count positions on from their padding index, others leave as many rows
    unused as their table has more than the configuration says, and most count from 0.
    """
    found: dict[int, int] = {}
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if name.rpartition(".")[2] in _POSITIONS and isinstance(weight, Tensor):
            rows, padding = len(weight), getattr(module, "padding_idx", None)
            first = getattr(module, "offset", None)
            if not isinstance(first, int):
                said = getattr(network.config, "max_position_embeddings", rows)
                first = max(0, rows - said) if padding is None else padding + 1
            found[first] = min(rows - first, found.get(first, rows))
    return found


def widest_window(network: PreTrainedModel, longest: int) -> int:
    """The largest number below ``longest`` that the configuration has for a stretch of tokens.

    As windows, blocks and kernels of local attention, or the length from which positions are
    scaled; 0 where there is none.
    """

    def numbers(value: object, named: bool) -> Iterator[int]:
        if isinstance(value, int) and named and not isinstance(value, bool):
            yield value
        elif isinstance(value, list | tuple):
            for part in value:
                yield from numbers(part, named)
        elif isinstance(value, dict):
            for name, part in value.items():
                yield from numbers(part, any(word in str(name) for word in _WINDOWS))

    found = numbers(network.config.to_dict(), named=False)
    return max((number for number in found if 0 < number < longest), default=0)


def tokenizer_words(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Words that the tokenizer's vocabulary holds as pieces, from all over it."""
    special = set(tokenizer.all_special_ids)
    ids = [id for id in sorted(tokenizer.get_vocab().values()) if id not in special]
    step = max(1, len(ids) // _PIECES)
    texts = (str(tokenizer.decode([id])).strip() for id in ids[::step])
    return [text for text in texts if text.isalnum()]


def distinct(words: Sequence[str]) -> Iterator[str]:
    """The words without repetition, the longer ones first, then what two of them make together.

    And what letters make, for a vocabulary of hardly any words.
    """
    seen: set[str] = set()
    known = sorted({word.casefold(): word for word in words}.values(), key=len, reverse=True)
    turned = (known[shift:] + known[:shift] for shift in range(1, len(known)))
    made = (one + other for others in turned for one, other in zip(known, others, strict=True))
    for word in chain(known, made, map("".join, product(ascii_lowercase, repeat=3))):
        if word.casefold() not in seen:
            seen.add(word.casefold())
            yield word


def trial_pairs(words: Sequence[str], sizes: Sequence[tuple[int, int]]) -> list[PairExample]:
    """Pairs of as many words a side as ``sizes`` says, no two of them alike."""
    left = distinct(words)
    pairs = []
    for number, size in enumerate(sizes):
        (text1, spans1), (text2, spans2) = (_side(list(islice(left, count))) for count in size)
        pairs.append(PairExample(f"trial {number}", text1, text2, spans1, spans2))
    return pairs


def _side(words: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), tuple(spans)
