"""Which tokens of which masked inputs are computed, and which inputs together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gmask_pl.types import OwnError, UserError

START = {"cpu": 4096, "cuda": 2**18}  # tokens of a forward pass before any has been tried


def keep_tokens(word_of_token: Tensor, attention: Tensor, keep: Tensor) -> Tensor:
    """Token keep-masks (N, L) of word keep-masks ``keep`` (N, W).

    All tokens of a word move together; special tokens are always kept, padding never.
    """
    always = keep.new_ones(keep.shape[0], 1)
    columns = torch.where(word_of_token < 0, keep.shape[1], word_of_token)
    return torch.cat([keep, always], dim=1).gather(1, columns) * attention


def leftmost(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Moves the tokens (N, L) bool to the left: their positions (N, M), and which are real.

    M is at least 1, so that a model is never asked about a row without any token.
    """
    length = max(1, int(tokens.sum(1).max()))
    order = torch.argsort(tokens.long(), dim=1, descending=True, stable=True)[:, :length]
    return order, tokens.gather(1, order)


def distinct_masks(keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct masks of each example.

    keep (B, S, W) bool -> rows (N,) the example of each distinct mask, masks (N, W), and
    inverse (B * S,) the distinct mask that stands for each asked one.
    """
    b, s, w = keep.shape
    flat = keep.reshape(b * s, w)
    rows = torch.arange(b, device=keep.device).repeat_interleave(s)
    weights = 2 ** torch.arange(62, device=keep.device)
    keys = [rows] + [(part.long() * weights[: part.shape[1]]).sum(1) for part in flat.split(62, 1)]
    unique, inverse = torch.unique(torch.stack(keys, 1), dim=0, return_inverse=True)
    first = torch.full((len(unique),), b * s, device=keep.device)
    first.scatter_reduce_(0, inverse, torch.arange(b * s, device=keep.device), "amin")
    return rows[first], flat[first], inverse


class TooLong(OwnError):
    """A single row for which memory does not suffice: its index, and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row, self.reason = row, reason


class TokenBudget:
    """How many padded tokens a forward pass may have; halved for good when memory runs out.

    tokens: None starts with what suits the device: few on a processor, whose caches are small,
    and as many as fit on a GPU.
    """

    def __init__(self, tokens: int | None) -> None:
        if tokens is not None and tokens < 1:
            raise UserError(f"token_budget={tokens}: at least 1 token must fit")
        self.tokens = tokens

    def run(
        self,
        lengths: Tensor,
        step: Callable[[Tensor], None],
        *,
        share: int = 1,
        together: str = "any",
    ) -> None:
        """Calls ``step`` with index sets of rows of similar length, within budget / share.

        together: which rows may be in one set (see `types.Classifier`).

        A step that runs out of memory is tried again in halves. Raises TooLong where a single
        row does not fit, which other rows then do not suffer from.
        """
        if self.tokens is None:
            self.tokens = start_of(lengths.device.type)
        before = self.tokens
        left = list(chunks(lengths, max(1, self.tokens // share), together))
        while left:
            chunk = left.pop(0)
            try:
                step(chunk)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if len(chunk) == 1:
                    self.tokens = before
                    raise TooLong(
                        int(chunk),
                        f"memory ran out over one input of {int(lengths[chunk])} tokens: use a "
                        "machine with more, or a shorter model.net.max_length",
                    ) from error
                self.tokens = max(1, self.tokens // 2)
                rows = torch.cat([chunk, *left])
                budget = max(1, self.tokens // share)
                left = [rows[part] for part in chunks(lengths[rows], budget, together)]
            else:
                continue
            # Outside the handler, whose error holds on to what the step had allocated.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def start_of(device: str) -> int:
    """Tokens of a first forward pass. Raises UserError for a device that nothing is known of."""
    if device not in START:
        raise UserError(
            f"nothing is explained on {device}, which lacks 64-bit numbers or was never tried: set "
            "trainer.accelerator=cpu (or gpu, where CUDA is)"
        )
    return START[device]


# What allocators say: of processors, CUDA, cuBLAS, cuDNN, oneDNN, the C++ library.
_NO_MEMORY = (
    *("out of memory", "out_of_memory", "not enough memory", "t allocate memory"),
    *("cannot allocate memory", "alloc_failed", "bad_alloc", "could not create a memory"),
    *("failed to allocate", "unable to allocate", "bad allocation", "insufficient memory"),
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, whoever asked for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    told = str(error).lower() if isinstance(error, RuntimeError) else ""
    return any(said in told for said in _NO_MEMORY)


def chunks(lengths: Tensor, token_budget: int, together: str = "any") -> Iterator[Tensor]:
    """Index sets of rows of similar length, each of at most ``token_budget`` padded tokens.

    together: ``any``, or ``equal`` for rows of one length only, or ``alone`` for single rows.
    """
    sizes, order = torch.sort(lengths)
    start, sizes_list = 0, sizes.tolist()
    while start < len(sizes_list):
        size, end = sizes_list[start], start + 1
        # The longest row that may stand with this one.
        longest = {"any": sizes_list[-1], "equal": size, "alone": -1}[together]
        while (
            end < len(sizes_list)
            and sizes_list[end] <= longest
            and (end + 1 - start) * sizes_list[end] <= token_budget
        ):
            end += 1
        yield order[start:end]
        start = end
