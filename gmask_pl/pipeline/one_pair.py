"""One pair, explained in the terminal: ``explain.py pair=[TEXT1,TEXT2] weights=FOLDER``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from gmask_pl.api import NotExplained, PairExplainer
from gmask_pl.escaping import terminal
from gmask_pl.explanation import Explanation, counted
from gmask_pl.pipeline.own_things import implied
from gmask_pl.types import UserError

KEY = "pair"
_PART = r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?!\s*['"])(?:\\,|[^,])*?)\s*"""
_PAIR = re.compile(rf"\s*\[{_PART},{_PART}\]\s*", re.DOTALL)
_SUPPORTS, _OPPOSES = 32, 31  # the colours of ANSI: green and red
_PALEST = 0.15  # share of the largest score below which a word has no colour


def pair_of(overrides: Sequence[str]) -> tuple[str, str] | None:
    """The texts of ``pair=[TEXT1,TEXT2]``; None where it was not typed. Raises UserError.

    A text without quotes is what stands there, up to a comma without a backslash before it. In
    quotes, single or double, a backslash makes the same quote one of the text, and backslashes
    before a quote are halved, as Hydra has it.
    """
    typed = [text for text in overrides if text.partition("=")[0] == KEY]
    if not typed:
        return None
    if (found := _PAIR.fullmatch(typed[-1].partition("=")[2])) is None:
        raise UserError(
            f"{typed[-1]}: give two texts, as in \"pair=['a man sleeps','a man is awake']\". One "
            "with a comma in it, or a quote at its beginning, stands in quotes of the other kind, "
            "or with a backslash before each such quote: \"pair=['it\\'s dry, i think',it rains]\""
        )
    one, two = (_text(found[side]) for side in (1, 2))
    for side, text in enumerate((one, two), start=1):
        if not text.strip():
            raise UserError(f"{typed[-1]}: text {side} is empty: give two texts with words")
    return one, two


def _text(typed: str) -> str:
    """A text of a pair without its quotes."""
    quote = typed[:1]
    if quote not in ("'", '"'):
        return typed.strip().replace("\\,", ",")
    halved = re.compile(rf"(\\+)(?={quote}|$)")
    return halved.sub(lambda slashes: slashes[0][: len(slashes[0]) // 2], typed[1:-1])


def explain_in_terminal(overrides: Sequence[str], pair: tuple[str, str]) -> None:
    """Explains a pair with the other settings of a command line, and prints it."""
    others = [text for text in overrides if text.partition("=")[0] != KEY]
    said = {text.partition("=")[0] for text in others}
    if "weights" not in said:
        raise UserError("pair: name the model that it is explained of, by weights=FOLDER")
    if "dataset" not in said:
        others.append("dataset=pairs")
    explain = PairExplainer.from_config(*implied(others), *others)
    try:
        found = explain(*pair)
    except NotExplained as error:
        raise UserError(f"pair: {error.reasons[0]}") from error
    print(shown(found, explain.labels, colours=_coloured()))


def shown(found: Explanation, labels: Sequence[str], *, colours: bool) -> str:
    """An explanation as lines of text: what the model says, both texts, and the groups.

    colours: words by their scores, else the scores behind them.
    """
    studied = found.studied
    scores = tuple(
        score if word in studied else 0.0 for word, score in enumerate(counted(found.scores))
    )
    largest = max(map(abs, scores), default=0.0) or 1.0

    def word(text: str, score: float) -> str:
        text = terminal(text)
        if not colours:
            return f"{text}({score:+.2f})"
        share = abs(score) / largest
        if share < _PALEST:
            return text
        strength = ";1" if share > 0.5 else ""
        return f"\x1b[{_SUPPORTS if score > 0 else _OPPOSES}{strength}m{text}\x1b[0m"

    decided = terminal(labels[found.prediction])
    asked = f"{terminal(found.question or '')} {found.value:.3f}" if found.value is not None else ""
    words = [word(text, score) for text, score in zip(found.words, scores, strict=True)]
    lines = [f"{decided} ({asked})", *(" ".join(side) for side in _sides(words, found))]
    lines += map(str, found.word_groups)
    lines += [f"scores: {found.score_meaning}"] if found.score_meaning else []
    lines += map(terminal, found.warnings)
    return "\n".join(lines)


def _sides(words: Sequence[str], found: Explanation) -> tuple[Sequence[str], Sequence[str]]:
    n1 = len(found.words1)
    return words[:n1], words[n1:]


def _coloured() -> bool:
    """Whether the terminal shows colours, and nobody has said that it should not (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
