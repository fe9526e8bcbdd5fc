"""What stands beside cards: how they were made, and what their colours and signs mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gmask_pl.drawing.cards import TOP_WORDS, UNREAD, UNSTUDIED, Card, Word
from gmask_pl.explanation import Explanation


def facts(explanations: Iterable[Explanation]) -> dict[str, str]:
    """What is the same of all of them, by its name for people."""
    found: dict[str, set[str | None]] = {}
    for e in explanations:
        for name, fact in (
            ("method", e.method),
            ("explained", e.question),
            ("words removed by", e.removal),
            ("scores", e.score_meaning),
        ):
            found.setdefault(name, set()).add(fact)
    return {
        name: fact
        for name, (fact, *others) in ((name, tuple(told)) for name, told in found.items())
        if fact is not None and not others
    }


def legend(cards: Sequence[Card]) -> Iterator[str | Word]:
    """What the cards' colours and signs mean: texts, and words that look as they do there.

    Only what is on one of the cards is told.
    """
    words = [word for card in cards for side in card.sides for word in side]
    yield "Words are coloured by their score: "
    yield Word("side one in pink", "one", 0.7, "")
    yield ", "
    yield Word("side two in blue", "two", 0.7, "")
    yield ", stronger where the word counts more within its pair."
    if any(word.top for word in words):
        yield " Outlined: "
        yield Word(f"up to {TOP_WORDS} that count most", "one", 0.9, "", top=True)
        yield "."
    if any(word.negative for word in words):
        yield " A "
        yield Word("dashed line", "two", 1.0, "", negative=True)
        yield " marks words that speak against what is explained."
    if any(word.title.startswith(UNSTUDIED) for word in words):
        yield " Words that are no candidates are only ranked behind them, and have no colour."
    if any(word.unread for word in words):
        yield " Words in "
        yield Word("grey", "one", 0.0, "", unread=True)
        yield f" were {UNREAD}."
    groups = [group for card in cards for group in card.groups]
    if groups:
        yield (
            " Word groups stand beneath the pair, most important first (ψ); a word there is as "
            "strong as its membership (φ)"
        )
        if any(word.faint for group in groups for word in group.words):
            yield ", and "
            yield Word("faint", "one", 0.0, "", faint=True)
            yield " where another group holds more of it"
        yield "."
    if any(group.effect for group in groups):
        yield (
            " Behind a group stands the number that is explained, with its words alone and, where "
            "the method has asked, with all other words."
        )
    if any("stable" in group.effect for group in groups):
        yield (
            " A group suffices where its words alone lead to the decision, and the empty pair "
            "does not. It is missed where the decision changes without them. Words act together "
            "where they do more than one by one, on average over all subsets, and can stand in for "
            "one another where they do less. Stable says how much of the group is found again when "
            "one other candidate is always kept, or always removed, from 0 to 1."
        )
    if any(card.proof for card in cards):
        yield (
            " Enough alone is a smallest set of words that leads to the decision by itself, and "
            "below it stands a smallest set without which the decision is another. Both are exact "
            "over all subsets of the words that the method chose as candidates."
        )
    if any(card.curve for card in cards):
        yield (
            " The curve shows the number that is explained when the first candidates, by their "
            "scores, are kept alone or removed; dashed is the mean over all orders."
        )
    if any(card.pairs for card in cards):
        yield " Numbered are the pairs of words that do most together (I, their interaction)."
