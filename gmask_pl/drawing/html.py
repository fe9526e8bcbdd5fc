"""Explanations as HTML: a card each, on a page or in a notebook. There are no scripts in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gmask_pl.drawing.cards import make_card
from gmask_pl.drawing.legend import legend
from gmask_pl.escaping import html
from gmask_pl.explanation import Explanation


def page(
    explanations: Iterable[Explanation],
    *,
    title: str,
    labels: Sequence[str],
    max_pairs: int,
    settings: Mapping[str, Any] | None = None,
    rows: Sequence[Any] = (),
    figures: Sequence[Markup] = (),
) -> str:
    """A whole page: settings, rows of a table of metrics, figures, and a card for each pair.

    The first ``max_pairs`` explanations are shown and all are counted. Text from a data set is
    escaped, and the page's own policy forbids scripts and any request. Raises UserError where
    labels and classes do not match.
    """
    explanations = iter(explanations)
    cards = [make_card(explanation, labels) for explanation in islice(explanations, max_pairs)]
    total = len(cards) + sum(1 for _ in explanations)
    predicted = Counter(card.label for card in cards)
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            title=title,
            settings=settings or {},
            rows=rows,
            figures=figures,
            cards=cards,
            total=total,
            filters=[(index, labels[index], count) for index, count in sorted(predicted.items())],
            wrong=sum(card.wrong for card in cards),
            legend=legend(cards),
            labelled=any(card.gold is not None for card in cards),
        )
    )


def fragment(explanations: Sequence[Explanation]) -> str:
    """The cards of explanations with their style, to stand within another page."""
    cards = [make_card(one, one.labels) for one in explanations]
    return _templates().get_template("fragment.html.j2").render(cards=cards)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """What an expression of a template comes to: markup of our own, numbers, and text."""
    return value if isinstance(value, Markup | int | float) else html(str(value))
