"""What a card answers from: the model's answers to masks, small enough for a page."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import deque
from collections.abc import Sequence

import numpy as np

from gmask_pl.escaping import visible
from gmask_pl.explanation import Explanation
from gmask_pl.responses import Responses

_SHARES = 65535  # a probability is told in two bytes: exact to 8e-6


def embedded(e: Explanation, labels: Sequence[str]) -> str:
    """The answers of an explanation as JSON for ``script/answers.mjs``; "" where there are none.

    - words: how many the pair has; read: the positions of those that the model reads.
    - labels: of the classes; none of a score.
    - masks: those that a reader can reach, eight words a byte. p: the probabilities of all classes
      under each, uint16 shares of 65,535. v: the number that is explained, float32; it is left out
      where it is the probability of the class ``aim``. same: a bit a mask, whether the decision is
      that of the whole pair. All in base64, numbers little-endian.
    """
    said = e.responses
    if said is None:
        return ""
    read = sorted(set(range(said.words)) - set(e.unread))
    rows = reachable(said, read)
    if not rows:
        return ""
    p, values = said.probabilities[rows], said.values[rows]
    told = {
        "words": said.words,
        "read": read,
        "labels": [visible(label) for label in labels] if p.shape[1] else [],
        "masks": _text(said.masks[rows]),
        "p": _text(np.round(p.clip(0, 1) * _SHARES).astype("<u2")),
        "same": _text(np.packbits(said.same[rows])),
    }
    aims = [aim for aim in range(p.shape[1]) if np.array_equal(p[:, aim], values)]
    told |= {"aim": aims[0]} if aims else {"v": _text(values.astype("<f4"))}
    return json.dumps(told, separators=(",", ":"))


def reachable(said: Responses, read: Sequence[int]) -> list[int]:
    """The rows of the masks that one word after another leads to, from the whole or empty pair.

    Through masks that were asked. Random masks, as LIME asks, are not reached, and would take most
    of a page.
    """
    rows = {int.from_bytes(mask.tobytes()): row for row, mask in enumerate(said.masks)}
    bits = [1 << (8 * said.masks.shape[1] - 1 - word) for word in read]
    waiting = deque(mask for mask in (sum(bits), 0) if mask in rows)
    found = dict.fromkeys(waiting, True)
    while waiting:
        mask = waiting.popleft()
        for bit in bits:
            if (other := mask ^ bit) in rows and other not in found:
                found[other] = True
                waiting.append(other)
    return [rows[mask] for mask in found]


def _text(array: np.ndarray) -> str:
    return b64encode(array.tobytes()).decode()
