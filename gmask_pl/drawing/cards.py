"""What a page or picture shows of one explained pair, computed apart from how it looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gmask_pl.certificates import Certificates, WordSet
from gmask_pl.drawing.answers import embedded
from gmask_pl.drawing.curve import Curve, curve_of
from gmask_pl.explanation import NOISE, Explanation, counted, top_counted
from gmask_pl.question import PREDICTED
from gmask_pl.types import A_AND_B, BETWEEN, Groups, Interactions, Span, UserError

TOP_WORDS = 4  # Table 3 highlights the top four words
TOP_PAIRS = 5
NO_PSI = 0.005  # below it a group does nothing
BORDER = "‖"  # shows what stands between two documents
DOCUMENTS = (
    f"A is the document before {BORDER}, B the one after it. "
    "Words with a positive score speak for A."
)
UNREAD = "not read by the model"
UNSTUDIED = "no candidate: only ranked behind the candidates"
LEAST = 0.05  # share of the largest score below which a word is not said to speak against


@dataclass(frozen=True, slots=True)
class Word:
    """A word as coloured text: ``side`` is one or two, ``strength`` in [0, 1] its saturation.

    title: what a tooltip says of it. unread: the model did not read it. before, after: what stands
    around it in the text; position: of a word of a text, in the joint order.
    """

    text: str
    side: str
    strength: float
    title: str
    top: bool = False
    negative: bool = False
    faint: bool = False
    unread: bool = False
    before: str = " "
    after: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A word group: its importance psi and its words, faint where another group holds more.

    effect: what the model says of it alone, and of the text without it; "" where that is unknown.
    positions: of its own words.
    """

    name: str
    psi: float
    words: tuple[Word, ...]
    effect: str
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A word of each side, and what the two do together for the prediction."""

    words: tuple[Word, Word]
    value: float


@dataclass(frozen=True, slots=True)
class ProvedSet:
    """A smallest set of words, what it does, and how many others do the same.

    mode: of ``script/state.mjs``. words: none where no set does it, or where none is needed.
    """

    mode: str
    before: str
    words: tuple[Word, ...]
    after: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Certificates: smallest sets, and of every group by its name six numbers or None.

    enough: how many words the smallest sufficient set has, None where there is none.
    """

    sets: tuple[ProvedSet, ...]
    groups: tuple[tuple[str, tuple[float | None, ...]], ...]
    enough: int | None


@dataclass(frozen=True, slots=True)
class Card:
    """One explained pair.

    gold: None where unknown; wrong: it is not the prediction. probability: of the prediction, None
    of a score. distribution: the probabilities of all classes. asked: the number that is explained,
    "" for the probability of the prediction. documents: which of two documents is A and which B, ""
    of a pair that is no comparison. number: the name of what is explained. top: the words with the
    highest scores; enough, needed: those of the smallest sets. proof, curve: of certificates.
    answers: what the model said of masks, see `embedded`; read: the words that it reads.
    """

    id: str
    label: int
    predicted: str
    probability: float | None
    distribution: str
    asked: str
    gold: str | None
    wrong: bool
    sides: tuple[tuple[Word, ...], tuple[Word, ...]]
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]
    documents: str
    number: str
    top: str
    enough: str
    needed: str
    proof: Proof | None
    curve: Curve | None
    answers: str
    read: str


def make_card(explanation: Explanation, labels: Sequence[str], *, answers: bool = False) -> Card:
    """The card of one explanation. Raises UserError for a class without a name.

    answers: whether it holds what the model said of masks.
    """
    e = explanation
    if e.probabilities and len(e.probabilities) != len(labels):
        raise UserError(
            f"pair {e.id}: {len(e.probabilities)} classes but {len(labels)} label names "
            f"{list(labels)}; give one name for each class of the model"
        )
    words = _scored_words(e)
    told = [f"{name} {p:.3f}" for name, p in zip(labels, e.probabilities, strict=False)]
    other = e.value is not None and e.question != PREDICTED.name
    return Card(
        id=e.id,
        label=e.prediction,
        predicted=labels[e.prediction],
        probability=e.probabilities[e.prediction] if e.probabilities else None,
        distribution=", ".join(told),
        asked=f"{e.question} {e.value:.3f}" if other else "",
        gold=None if e.label is None else labels[e.label],
        wrong=e.label is not None and e.label != e.prediction,
        sides=(words[: len(e.words1)], words[len(e.words1) :]),
        groups=() if e.groups is None else _word_groups(e, e.groups),
        pairs=() if e.interactions is None else _word_pairs(words, e.interactions),
        warnings=e.warnings,
        documents=DOCUMENTS if tuple(labels) == A_AND_B and BETWEEN in (e.text2 or "") else "",
        number=e.question or PREDICTED.name,
        top=" ".join(word for word, _ in top_counted(e, TOP_WORDS)),
        enough=e.enough,
        needed=e.needed,
        proof=None if e.certificates is None else _proof(e, e.certificates),
        curve=curve_of(e) if answers else None,
        answers=embedded(e, labels) if answers else "",
        read=str(sorted(set(range(len(words))) - set(e.unread))),
    )


def strengths(scores: Sequence[float]) -> list[float]:
    """Saturation in [0, 1] of each score (W,), comparable within one pair only.

    The largest magnitude is 1. The palest is 0, or the lowest score where all are positive
    (masks are probabilities and often lie close together). Equal scores are all 0. Rounding errors
    are no difference.
    """
    scores = counted(scores)
    largest = max(map(abs, scores), default=0.0)
    floor = max(0.0, min(scores, default=0.0))
    spread = largest - floor
    if spread <= NOISE * largest:
        return [0.0] * len(scores)
    return [(abs(score) - floor) / spread for score in scores]


def ranks(scores: Sequence[float]) -> list[int]:
    """Rank of each score (W,) from 1, highest first; of equal scores the earlier word leads."""
    order = sorted(range(len(scores)), key=lambda position: -scores[position])
    rank = [0] * len(scores)
    for place, position in enumerate(order, start=1):
        rank[position] = place
    return rank


def _side(explanation: Explanation, position: int) -> str:
    return "one" if position < len(explanation.words1) else "two"


def _scored_words(e: Explanation) -> tuple[Word, ...]:
    words, rank, told = e.words, ranks(e.scores), counted(e.scores)
    studied = e.studied
    own = sorted(studied)
    of_own = dict(zip(own, strengths([e.scores[word] for word in own]), strict=True))
    strength = [of_own.get(word, 0.0) for word in range(len(words))]
    unread, ranked = set(e.unread), [f"rank {place} of {len(words)}" for place in rank]
    around = [
        *_around(e.words1, e.text1, e.spans1),
        *_around(e.words2, e.text2, e.spans2),
    ]
    return tuple(
        Word(
            text=word,
            side=_side(e, i),
            strength=strength[i],
            title=_title(score, ranked[i], read=i not in unread, studied=i in studied),
            top=rank[i] <= TOP_WORDS and score > 0 and i in studied,
            negative=score < 0 and strength[i] >= LEAST,
            unread=i in unread,
            before=around[i][0],
            after=around[i][1],
            position=i,
        )
        for i, (word, score) in enumerate(zip(words, told, strict=True))
    )


def _title(score: float, rank: str, *, read: bool, studied: bool) -> str:
    if not read:
        return UNREAD
    return f"attribution {score:.4g}, {rank}" if studied else f"{UNSTUDIED}, {rank}"


def _around(
    words: Sequence[str], text: str | None, spans: Sequence[Span] | None
) -> list[tuple[str, str]]:
    """What stands before each word of a side, and behind the last: of its text, where that is known
    and holds the words as they are, else a space between two."""
    if text is None or spans is None or len(spans) != len(words):
        return [(" " * (i > 0), "") for i in range(len(words))]
    if any(text[start:end] != word for word, (start, end) in zip(words, spans, strict=True)):
        return _around(words, None, None)
    gaps = [_gap(text[a:b]) for a, b in pairwise([0, *(x for s in spans for x in s), len(text)])]
    before, last = gaps[:-1:2], gaps[-1]
    return [(gap, last if i == len(words) - 1 else "") for i, gap in enumerate(before)]


def _gap(text: str) -> str:
    """What stands between two words, on one line."""
    return re.sub(r"\s+", " ", text.replace(BETWEEN, f" {BORDER} "))


def _word_pairs(words: tuple[Word, ...], interactions: Interactions) -> tuple[Pair, ...]:
    """The pairs with the strongest interaction, of either sign, the strongest first."""
    found = zip(interactions.pairs, interactions.values, strict=True)
    strongest = sorted(found, key=lambda one: -abs(one[1]))[:TOP_PAIRS]
    return tuple(Pair((words[one], words[two]), value) for (one, two), value in strongest)


def _word_groups(e: Explanation, groups: Groups) -> tuple[Group, ...]:
    """Groups that have words by falling psi (Figure 1), each with its words.

    Those whose psi is 0.00 to two places do nothing, and are left out. A word also appears, faint,
    in any other group that holds more of it than an even share 1/t.
    """
    even, names = 1 / max(1, len(groups.psi)), groups.names
    told = {group.positions: group.told for group in e.word_groups}
    shown = []
    for group, members in groups.members.items():
        psi, words = groups.psi[group], list[tuple[bool, float, Word]]()
        for position, phi in zip(groups.candidates, groups.phi, strict=True):
            share, faint = phi[group], position not in members
            if not faint or share > even:
                title = f"φ {share:.3f} in {names[group]}"
                word = Word(e.words[position], _side(e, position), share, title, faint=faint)
                words.append((faint, -share, word))
        words.sort(key=lambda word: word[:2])
        if psi >= NO_PSI:
            own, positions = tuple(word for *_, word in words), tuple(sorted(members))
            effect = "; ".join(filter(None, (_against(e, positions), told[positions])))
            shown.append(Group(names[group], psi, own, effect, positions))
    return tuple(shown)


def _proof(e: Explanation, known: Certificates) -> Proof:
    k, sets = len(known.words), list[ProvedSet]()
    if known.empty is not None:
        sets.append(ProvedSet("keep", "Without any word:", (), f"{known.empty:.3f}"))
    if known.kept_asked:
        if known.sufficient is None:
            told = f"No set of the {k} candidates leads to this decision alone."
        elif not known.sufficient.words:
            told = "No word is needed: the empty pair leads to the same decision."
        else:
            told = "Enough alone:"
        sets.append(_proved(e, "keep", told, known.sufficient))
    if known.removed_asked:
        if known.contrastive is None:
            told = f"The decision stays, whichever of the {k} candidates are removed."
        else:
            told = "The decision changes without:"
        sets.append(_proved(e, "remove", told, known.contrastive))
    rows = tuple(
        (
            f"G{rank}",
            (
                *(own.kept, own.kept_by_words, own.kept_across),
                *(own.removed, own.removed_by_words, own.removed_across),
            ),
        )
        for rank, own in enumerate(known.groups, start=1)
    )
    enough = None if known.sufficient is None else len(known.sufficient.words)
    return Proof(tuple(sets), rows, enough)


def _proved(e: Explanation, mode: str, before: str, found: WordSet | None) -> ProvedSet:
    if found is None or not found.words:
        return ProvedSet(mode, before, (), "")
    size, others = len(found.words), found.others
    words = tuple(
        Word(e.words[word], _side(e, word), 0.25, "", position=word) for word in found.words
    )
    kind = ("word" if size == 1 else f"set of {size} words") if others == 1 else ""
    kind = kind or ("words" if size == 1 else f"sets of {size} words")
    does = "does" if others == 1 else "do"
    more = f"; {others} other {kind} {does} the same" if others else ""
    return ProvedSet(mode, before, words, f"({found.value:.3f}{more})")


def _against(e: Explanation, positions: tuple[int, ...]) -> str:
    """Whether a group lowers what is explained, by what it adds alone and what goes with it."""
    known = e.certificates
    if known is None or known.empty is None or e.value is None:
        return ""
    own = next(group for group in known.groups if group.words == positions)
    gain = 0.0 if own.kept is None else own.kept - known.empty
    loss = 0.0 if own.removed is None else e.value - own.removed
    return "speaks against" if gain + loss < -NOISE else ""
