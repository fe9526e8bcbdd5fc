"""Explanations as HTML: a card each, on a page or in a notebook.

All of it can be read without its script. The script is ours alone: it lets a reader ask what the
model says without some words, and looks the answer up; it fetches nothing.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gmask_pl.drawing.cards import Card, make_card
from gmask_pl.drawing.comparison import compared, is_disputed
from gmask_pl.drawing.legend import legend
from gmask_pl.drawing.summary import Summary
from gmask_pl.escaping import html
from gmask_pl.explanation import Explanation

_MODULES = ("answers", "state", "listing", "card", "page")  # each after those that it uses


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
    escaped, and the page's own policy forbids any request and all scripts but our own. Raises
    UserError where labels and classes do not match.
    """
    cards, summary = list[Card](), Summary()
    for place, explanation in enumerate(explanations):
        summary.add(explanation)
        if place < max_pairs:
            cards.append(make_card(explanation, labels, answers=True))
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
            total=summary.pairs.total(),
            filters=[(index, labels[index], count) for index, count in sorted(predicted.items())],
            legend=legend(cards),
            classes=[(labels[found.label], found) for found in summary.classes()],
            script=script(),
            policy=_policy(),
        )
    )


def comparison_page(
    runs: Mapping[str, Sequence[Explanation]],
    *,
    title: str,
    labels: Sequence[str],
    max_pairs: int,
) -> str | None:
    """A page of the same pairs as several runs explain them, by the names of the runs.

    None where they have no pairs in common.
    """
    pairs = compared(runs, labels, max_pairs=max_pairs)
    if not pairs:
        return None
    return (
        _templates()
        .get_template("comparison.html.j2")
        .render(
            title=title,
            pairs=pairs,
            agreement=sum(pair.agreement for pair in pairs) / len(pairs),
            disputed=is_disputed,
            script=script(),
            policy=_policy(),
        )
    )


def fragment(explanations: Sequence[Explanation]) -> str:
    """The cards of explanations with their style and script, to stand within another page."""
    cards = [make_card(one, one.labels, answers=True) for one in explanations]
    return _templates().get_template("fragment.html.j2").render(cards=cards, script=script())


@cache
def script() -> Markup:
    """The modules of ``script/`` as one script, in a scope of its own.

    A page that is opened as a file cannot import modules, so their lines that do are left out.
    """
    parts = (Path(__file__).parent / "script" / f"{name}.mjs" for name in _MODULES)
    lines = (line for part in parts for line in part.read_text("utf-8").splitlines())
    own = (line.removeprefix("export ") for line in lines if not line.startswith("import "))
    return Markup("(() => {\n" + "\n".join(own) + "\nstart();\n})();")


def _policy() -> str:
    """By what a browser knows that the script is ours."""
    return f"sha256-{b64encode(sha256(script().encode()).digest()).decode()}"


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
