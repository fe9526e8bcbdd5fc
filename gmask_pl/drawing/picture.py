"""One explanation as a picture: the prediction, both texts with coloured words, the groups.

Below them stands how it was made and what its colours mean.
"""

from __future__ import annotations

import unicodedata
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from gmask_pl.drawing.cards import Card, Word, make_card
from gmask_pl.drawing.legend import facts, legend
from gmask_pl.escaping import visible
from gmask_pl.explanation import Explanation
from gmask_pl.files import whole_file

WIDTH, NARROW, MARGIN = 576.0, 360.0, 18.0  # the most and the least, and within: in points
DPI = 200
SIZE, SMALL, FOOT = 11.0, 9.0, 8.0  # of fonts
LINE, FOOT_LINE, APART = 23.0, 14.0, 6.0  # from a line to the next, and between texts and footer
BASE = 0.36  # from the middle of a line to where letters stand, a size
GAP, CLOSE, SPACE = 4.0, 1.0, 0.3  # between boxes, where texts have no space, of prose a size
PAD, ROUND, TALL, BAR = 2.5, 3.0, 1.55, 7.0  # of the box around a word, the third a size; of a bar
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
    gap: to what stands before it in its row.
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
    gap: float = GAP


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
        card = make_card(explanation, explanation.labels)
        layout = laid_out(card, facts([explanation]), _measure(DPI if kind == "png" else 10 * DPI))
        width, height = layout.width, layout.height
        figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        _put(axes, layout.pieces)
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


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands on a picture, row after row, and its size in points."""

    pieces: tuple[Piece, ...]
    width: float
    height: float


def laid_out(card: Card, told: Mapping[str, str], measure: Measure) -> Layout:
    """The picture of a card. told: facts about it, by name. measure: of the fonts that draw it."""
    texts = _Texts(measure)
    rows = [(row, False) for row in texts.rows(_heading(card, texts))]
    for side in card.sides:
        words = [piece for word in side for piece in texts.word(word, spaced=True)]
        leftwards = _leftwards(side)
        rows += [(row, leftwards) for row in texts.rows(words or [texts.soft("(empty)", SIZE)])]
    for group in card.groups:
        words = [piece for word in group.words for piece in texts.word(word)]
        effect = [texts.soft(group.effect)] if group.effect else []
        heading = [texts.soft(group.name), texts.soft(f"ψ {group.psi:.2f}")]
        rows += [(row, False) for row in texts.rows([*heading, *words, *effect], indent=62.0)]
    for number, pair in enumerate(card.pairs, start=1):
        words = [piece for word in pair.words for piece in texts.word(word)]
        heading = [texts.soft(f"{number}  I {pair.value:+.3f}")]
        rows += [(row, False) for row in texts.rows([*heading, *words])]
    for proved in card.proof.sets if card.proof else ():
        words = [piece for word in proved.words for piece in texts.word(word)]
        told_by = [*texts.prose(proved.before, SMALL, SOFT), *words]
        after = texts.prose(f" {proved.after}", SMALL, SOFT) if proved.after else []
        rows += [(row, False) for row in texts.rows([*told_by, *after])]
    widest = max(piece.x + piece.width for row, _ in rows for piece in row) + MARGIN
    width = max(NARROW, widest)
    pieces, y = list[Piece](), MARGIN
    for row, leftwards in rows:
        y += LINE
        turned = [replace(p, x=width - p.x - p.width) for p in row] if leftwards else row
        pieces += [replace(piece, y=y - LINE / 2) for piece in turned]
    y += APART
    for row in _footer(card, told, texts, width):
        y += FOOT_LINE
        pieces += [replace(piece, y=y - FOOT_LINE / 2) for piece in row]
    return Layout(tuple(pieces), width, y + MARGIN)


def _footer(
    card: Card, told: Mapping[str, str], texts: _Texts, width: float
) -> Iterator[list[Piece]]:
    """Warnings, how the explanation was made, and what colours and signs mean."""
    for warning in card.warnings:
        yield from texts.rows(texts.prose(warning, SMALL, RED), width)
    made = ". ".join(f"{name[0].upper()}{name[1:]}: {fact}" for name, fact in told.items())
    for text in (card.documents, made and f"{made}."):
        yield from texts.rows(texts.prose(text, FOOT, SOFT), width)
    parts = (
        [*texts.word(part, size=FOOT)] if isinstance(part, Word) else texts.prose(part, FOOT, SOFT)
        for part in legend([card])
    )
    yield from texts.rows([piece for part in parts for piece in part], width)


def _heading(card: Card, texts: _Texts) -> Iterator[Piece]:
    yield texts.plain(card.predicted, bold=True)
    if card.probability is not None:
        yield Piece("", 66.0, bar=card.probability)
        yield texts.soft(f"{100 * card.probability:.1f} %")
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

    def soft(self, text: str, size: float = SMALL) -> Piece:
        return self.plain(text, size, SOFT)

    def prose(self, text: str, size: float, colour: str) -> list[Piece]:
        """A text word by word."""
        first = SPACE * size if text[:1] == " " else 0.0
        return [
            replace(self.plain(word, size, colour), gap=SPACE * size if i else first)
            for i, word in enumerate(text.split())
        ]

    def word(
        self, word: Word, *, spaced: bool = False, size: float | None = None
    ) -> Iterator[Piece]:
        """A word in its box. spaced: with what stands before and after it in the text."""
        size = size or (SMALL if word.faint else SIZE)
        if spaced and word.before.strip():
            yield self.soft(word.before.strip(), SIZE)
        own = self.plain(word.text, size, SOFT if word.faint or word.unread else INK, bold=word.top)
        gap = GAP if word.before else CLOSE
        yield replace(own, width=own.width + 2 * PAD, word=word, gap=gap)
        if spaced and word.after.strip():
            yield self.soft(word.after.strip(), SIZE)

    def rows(
        self, pieces: Iterable[Piece], width: float = WIDTH, indent: float = 0.0
    ) -> Iterator[list[Piece]]:
        """Rows of pieces that are no wider than the picture; those after the first are indented."""
        row: list[Piece] = []
        x, end = MARGIN, width - MARGIN
        for piece in pieces:
            for part in self._parts(piece, end - MARGIN - indent):
                if row and x + part.gap + part.width > end:
                    yield row
                    row, x = [], MARGIN + indent
                row.append(replace(part, x=x + part.gap * bool(row)))
                x = row[-1].x + part.width
        if row:
            yield row

    def _parts(self, piece: Piece, most: float) -> Iterator[Piece]:
        """A piece in parts that are no wider than a row: cut between words, else within one."""
        if piece.width <= most:
            yield piece
            return
        text, size, bold = piece.text, piece.size, piece.bold
        padding = piece.width - self.measure(text, size, bold)

        def wide(text: str) -> float:
            return padding + self.measure(text, size, bold)

        while text:
            # Hardly a letter is narrower than a quarter of its size: no more need be measured.
            cut = _fitting(text, most, wide, longest=int(4 * most / size))
            yield replace(piece, text=text[:cut], width=wide(text[:cut]))
            text = text[cut:].lstrip(" ")


def _fitting(text: str, most: float, wide: Callable[[str], float], *, longest: int) -> int:
    """How many letters go into a row: those up to a space, where there is one among them."""
    lengths = range(1, min(len(text), longest) + 1)
    fits = max(1, bisect_right(lengths, most, key=lambda length: wide(text[:length])))
    space = text.rfind(" ", 1, fits + 1) if fits < len(text) else -1
    return fits if space < 0 else space


def _leftwards(side: Sequence[Word]) -> bool:
    """Whether the first letter of a text is of a script that is read from right to left."""
    kinds = (unicodedata.bidirectional(c) for word in side for c in word.text)
    return next((kind for kind in kinds if kind in ("L", "R", "AL")), "L") != "L"


def _measure(dpi: int) -> Measure:
    """dpi: of the picture. Fewer dots round the widths of letters more."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    renderer = FigureCanvasAgg(Figure(figsize=(0.1, 0.1), dpi=dpi)).get_renderer()

    @cache
    def measure(text: str, size: float, bold: bool) -> float:
        # A wide character is one em, whatever font will show it.
        wide = [unicodedata.east_asian_width(character) in "WF" for character in text]
        narrow = "".join(c for c, w in zip(text, wide, strict=True) if not w)
        font = FontProperties(size=size, weight="bold" if bold else "normal")
        own = renderer.get_text_width_height_descent(narrow, font, ismath=False)[0] * 72 / dpi
        return float(own + sum(wide) * size)

    return measure


def _put(axes: Any, pieces: Sequence[Piece]) -> None:
    """Draws all boxes, then all lines, then the texts: an artist for each takes twice as long."""
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import BoxStyle

    rounded = BoxStyle.Round(pad=0, rounding_size=ROUND)
    boxes = [box for piece in pieces for box in _boxes(piece)]
    filled = PathCollection(
        [rounded(p.x, p.y - height / 2, p.width, height, 1.0) for p, height, _, _ in boxes],
        facecolors=[to_rgba(fill, strength) for *_, (fill, strength), _ in boxes],
        edgecolors=[edge for *_, edge in boxes],
        linewidths=1.0,
    )
    axes.add_collection(filled, autolim=False)
    ends, colours = [], []
    for piece in pieces:
        if (word := piece.word) is not None and word.negative:
            below = piece.y + 0.73 * piece.size
            left, right = piece.x + PAD, piece.x + piece.width - PAD
            ends.append([(left, below), (right, below)])
            colours.append((FILLS[word.side][1], 0.3 + 0.7 * word.strength))
    lines = LineCollection(ends, colors=colours, linestyles="--", linewidths=1.2)
    axes.add_collection(lines, autolim=False)
    axes.add_artist(_letters(pieces))


def _letters(pieces: Sequence[Piece]) -> Any:
    """The texts of pieces."""
    from matplotlib.artist import Artist
    from matplotlib.font_manager import FontProperties

    class Letters(Artist):
        zorder = 3.0  # above boxes and lines

        def draw(self, renderer: Any) -> None:
            scale, bottom = renderer.points_to_pixels(1.0), renderer.get_canvas_width_height()[1]
            for piece in pieces:
                pen = renderer.new_gc()
                pen.set_foreground(piece.colour)
                x = scale * (piece.x + (PAD if piece.word is not None else 0.0))
                y = scale * (piece.y + BASE * piece.size)
                font = FontProperties(size=piece.size, weight="bold" if piece.bold else "normal")
                y = y if renderer.flipy() else bottom - y
                renderer.draw_text(pen, x, y, piece.text, font, 0.0)
                pen.restore()

    return Letters()


def _boxes(piece: Piece) -> Iterator[tuple[Piece, float, tuple[str, float], str]]:
    """Where the boxes behind a piece are, the lowest first: also their height, what they are filled
    with, how strongly, and their edge."""
    word, height, hollow = piece.word, TALL * piece.size, ("none", 0.0)
    if piece.bar is not None:
        yield piece, BAR, (FAINT, 1.0), "none"
        yield replace(piece, width=piece.width * piece.bar), BAR, (VIOLET, 1.0), "none"
    elif word is not None:
        fill, edge = FILLS[word.side]
        if word.faint:
            yield piece, height, hollow, fill
        elif word.strength and not word.negative:
            yield piece, height, (fill, word.strength), "none"
        if word.top:
            yield piece, height, hollow, edge
