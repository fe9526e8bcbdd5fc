"""Explanations in a file, of the kind that its name says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gmask_pl.drawing.html import page
from gmask_pl.drawing.legend import facts
from gmask_pl.drawing.picture import draw
from gmask_pl.explanation import Explanation
from gmask_pl.files import check_name, write_text
from gmask_pl.types import UserError

PAGES, PICTURES = (".html", ".htm"), (".svg", ".png")


def save(explanation: Explanation, path: str | Path) -> Path:
    """Writes one explanation as a page or a picture. Raises UserError for another kind of file."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (*PAGES, *PICTURES):
        raise UserError(f"{path}: save an explanation as .html, .svg or .png")
    if kind in PAGES:
        labels = explanation.labels
        return save_page([explanation], path, title="One explanation", labels=labels)
    check_name(path)
    draw(explanation, path)
    return path


def save_page(
    explanations: Sequence[Explanation], path: Path, *, title: str, labels: Sequence[str]
) -> Path:
    """Writes a page of explanations, all of one model."""
    check_name(path)
    text = page(
        explanations,
        title=title,
        labels=labels,
        max_pairs=len(explanations),
        settings=facts(explanations),
    )
    return write_text(path, text)
