"""One explanation as a picture: the prediction, both texts with coloured words, the groups."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gmask_pl.drawing.cards import Card, Word, make_card
from gmask_pl.escaping import visible
from gmask_pl.explanation import Explanation
from gmask_pl.files import whole_file

WIDTH, MARGIN, DPI = 576.0, 18.0, 200  # the first two in points
SIZE, SMALL = 11.0, 9.0  # of fonts
LINE, PAD, ROUND = 23.0, 2.5, 3.0  # from a line to the next, and of the box around a word
INK, SOFT, FAINT, VIOLET, RED = "#23212b", "#5f5c6b", "#e4e2ea", "#7a68b8", "#b3261e"
# Of each side: what its words are filled with, and the edge of those that stand out.
FILLS = {"one": ("#f48fb6", "#b3356b"), "two": ("#78b2f0", "#1f66ac")}
# Those of them that are there are used, one after the other, for the scripts that others lack.
FONTS = (
    "DejaVu Sans",
    *(f"Noto Sans CJK {kind}" for kind in ("SC", "JP", "KR", "TC")),
    *(f"Noto Sans {kind}" for kind in ("Arabic", "Hebrew", "Devanagari", "Bengali", "Thai")),
    *("PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic"),
    *("WenQuanYi Zen Hei", "Arial Unicode MS", "Nirmala UI"),
)

# The width in points of a text in a size, bold or not.
Measure = Callable[[str, float, bool], float]


@dataclass(frozen=True, slots=True)
class Piece:
    """A text, from ``x`` on and ``width`` wide, about the line ``y``: points from the upper left.

    word: where it is one, which has a box; bar: the share of a bar that it is in place of a text.
    """

    text: str
    width: float
    x: float = 0.0
    y: float = 0.0
    size: float = SIZE
    colour: str = INK
    bold: bool = False
    word: Word | None = None
    bar: float | None = None


def draw(explanation: Explanation, path: Path) -> None:
    """Writes the picture as ``.svg``, with its texts as text, or as ``.png``.

    Warns where a PNG lacks characters that no font here has.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    there = set(fontManager.get_font_names())
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "explanation",
        "text.parse_math": False,
        "text.usetex": False,
        "font.family": [*(name for name in FONTS if name in there), "sans-serif"],
    }
    kind = path.suffix.lower().lstrip(".")
    with matplotlib.rc_context(style), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pieces = laid_out(make_card(explanation, explanation.labels), _measure())
        height = pieces[-1].y + LINE / 2 + MARGIN
        figure = Figure(figsize=(WIDTH / 72, height / 72), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        for piece in pieces:
            _put(axes, piece)
        with whole_file(path) as draft:
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            figure.savefig(draft, format=kind, dpi=DPI, metadata=metadata)
    if kind == "png" and any("missing from" in str(one.message) for one in told):
        warnings.warn(
            f"{path.name}: it lacks characters that are in no font which matplotlib finds here: "
            "save a .svg or .html, which take the fonts of whoever looks at them",
            UserWarning,
            stacklevel=4,
        )


def laid_out(card: Card, measure: Measure) -> list[Piece]:
    """What stands on the picture, row after row. measure: of the fonts that draw it."""
    texts = _Texts(measure)
    rows = list(_wrapped([*_heading(card, texts)]))
    for side in card.sides:
        words = [piece for word in side for piece in texts.word(word, spaced=True)]
        lines = list(_wrapped(words or [texts.plain("(empty)", colour=SOFT)]))
        rows += map(_mirrored, lines) if _leftwards(side) else lines
    for group in card.groups:
        words = [piece for word in group.words for piece in texts.word(word)]
        effect = [texts.plain(group.effect, SMALL, SOFT)] if group.effect else []
        psi = texts.plain(f"ψ {group.psi:.2f}", SMALL, SOFT)
        rows += _wrapped([texts.plain(group.name, SMALL, SOFT), psi, *words, *effect], indent=62.0)
    for number, pair in enumerate(card.pairs, start=1):
        words = [piece for word in pair.words for piece in texts.word(word)]
        told = texts.plain(f"{number}  I {pair.value:+.3f}", SMALL, SOFT)
        rows += _wrapped([told, *words])
    for warning in card.warnings:
        rows += _wrapped([texts.plain(word, SMALL, RED) for word in warning.split()])
    return [
        replace(piece, y=MARGIN + LINE * (row + 0.5))
        for row, pieces in enumerate(rows)
        for piece in pieces
    ]


def _heading(card: Card, texts: _Texts) -> Iterator[Piece]:
    yield texts.plain(card.predicted, bold=True)
    if card.probability is not None:
        yield Piece("", 66.0, bar=card.probability)
        yield texts.plain(f"{100 * card.probability:.1f} %", SMALL, SOFT)
    if card.asked:
        yield texts.plain(card.asked, SMALL)
    if card.gold is not None:
        sign = "✗" if card.wrong else "✓"
        yield texts.plain(f"{sign} gold: {card.gold}", SMALL, RED if card.wrong else SOFT)


class _Texts:
    """Makes pieces, each as wide as its text will be."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure

    def plain(
        self, text: str, size: float = SIZE, colour: str = INK, *, bold: bool = False
    ) -> Piece:
        text = visible(text)
        return Piece(text, self.measure(text, size, bold), size=size, colour=colour, bold=bold)

    def word(self, word: Word, *, spaced: bool = False) -> Iterator[Piece]:
        """A word in its box. spaced: with what stands before and after it in the text."""
        size = SMALL if word.faint else SIZE
        if spaced and word.before.strip():
            yield self.plain(word.before.strip(), colour=SOFT)
        own = self.plain(word.text, size, SOFT if word.faint else INK, bold=word.top)
        yield replace(own, width=own.width + 2 * PAD, word=word)
        if spaced and word.after.strip():
            yield self.plain(word.after.strip(), colour=SOFT)


def _wrapped(pieces: Sequence[Piece], indent: float = 0.0) -> Iterator[list[Piece]]:
    """Rows of pieces that are no wider than the picture; those after the first are indented.

    A piece that is wider than a row is cut short.
    """
    row: list[Piece] = []
    x, most = MARGIN, WIDTH - 2 * MARGIN - indent
    for piece in pieces:
        if piece.width > most:
            kept = max(1, int(len(piece.text) * most / piece.width) - 1)
            piece = replace(piece, text=f"{piece.text[:kept]}…", width=most)
        if row and x + piece.width > WIDTH - MARGIN:
            yield row
            row, x = [], MARGIN + indent
        # Words touch where their text has no space between them.
        close = row and piece.word is not None and not piece.word.before
        x -= 4.0 - 1.0 if close else 0.0
        row.append(replace(piece, x=x))
        x += piece.width + 4.0
    if row:
        yield row


def _leftwards(side: Sequence[Word]) -> bool:
    """Whether the first letter of a text is of a script that is read from right to left."""
    kinds = (unicodedata.bidirectional(c) for word in side for c in word.text)
    return next((kind for kind in kinds if kind in ("L", "R", "AL")), "L") != "L"


def _mirrored(row: Sequence[Piece]) -> list[Piece]:
    return [replace(piece, x=WIDTH - piece.x - piece.width) for piece in row]


def _measure() -> Measure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    renderer = FigureCanvasAgg(Figure(dpi=72)).get_renderer()

    def measure(text: str, size: float, bold: bool) -> float:
        # A wide character is one em, whatever font will show it.
        wide = [unicodedata.east_asian_width(character) in "WF" for character in text]
        narrow = "".join(c for c, w in zip(text, wide, strict=True) if not w)
        font = FontProperties(size=10 * size, weight="bold" if bold else "normal")
        own = renderer.get_text_width_height_descent(narrow, font, ismath=False)[0] / 10
        return float(own + sum(wide) * size)

    return measure


def _put(axes: Any, piece: Piece) -> None:
    if piece.bar is not None:
        _box(axes, piece, facecolor=FAINT, height=7.0)
        _box(axes, replace(piece, width=piece.width * piece.bar), facecolor=VIOLET, height=7.0)
        return
    word = piece.word
    if word is not None:
        fill, edge = FILLS[word.side]
        if word.faint:
            _box(axes, piece, facecolor="none", edgecolor=fill)
        elif not word.negative:
            _box(axes, piece, facecolor=fill, alpha=word.strength)
        if word.top:
            _box(axes, piece, facecolor="none", edgecolor=edge)
        if word.negative:
            ends = (piece.x + PAD, piece.x + piece.width - PAD)
            strength = 0.3 + 0.7 * word.strength
            axes.plot(ends, (piece.y + 8.0,) * 2, "--", color=edge, lw=1.2, alpha=strength)
    axes.text(
        piece.x + (PAD if word is not None else 0.0),
        piece.y,
        piece.text,
        size=piece.size,
        color=piece.colour,
        weight="bold" if piece.bold else "normal",
        va="center_baseline",
    )


def _box(axes: Any, piece: Piece, *, height: float = 17.0, **changes: Any) -> None:
    from matplotlib.patches import FancyBboxPatch

    look: dict[str, Any] = {"edgecolor": "none", "linewidth": 1.0}
    look |= {"boxstyle": f"round,pad=0,rounding_size={ROUND}"} | changes
    corner = (piece.x, piece.y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, piece.width, height, **look))
