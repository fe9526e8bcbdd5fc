"""The words of the planted data set, and the relation between any two that decide a label.

A line is a family. The notation: ``a/b`` are synonyms, ``a (b c)`` puts b and c under a, and
``x:`` opens the aspect x of what follows. Two words that part within one aspect exclude each
other (no violinist is a drummer); two that part into different aspects are compatible, and
neither implies the other (a lawyer may be a woman).
"""

from __future__ import annotations

import re

LABELS = ("entailment", "neutral", "contradiction")
ENTAILMENT, NEUTRAL, CONTRADICTION = range(len(LABELS))

# The way to a word from the top of its family: one (aspect, concept) a level.
Path = tuple[tuple[str, str], ...]

# Families by the slot that they fill. Words of two families never meet in one pair.
TAXONOMIES = {
    "PERSON": """
        sex: man woman job: lawyer/attorney farmer
        medic (doctor/physician nurse dentist)
        musician (violinist pianist drummer)
        athlete (swimmer boxer skier)
        sex: boy girl role: student/pupil actor/performer""",
    "TRAIT": """
        mood: happy/joyful sad/gloomy money: rich/wealthy poor/penniless
        energy: tired/weary lively/energetic age: young/youthful old/elderly
        size: tall short manners: polite/courteous rude""",
    "ANIMAL": """
        dog/hound (poodle beagle) cat/feline
        bird (sparrow robin) fish (trout salmon)
        snake/serpent (cobra python) lizard
        sex: male female home: pet stray""",
    "THING": """
        car/automobile (taxi limousine) truck/lorry
        seat (sofa/couch chair bench)
        instrument (guitar violin/fiddle drum)
        garment (shirt jacket scarf)""",
    "LOOK": """
        size: big/large small/little age: new/modern ancient
        care: clean/spotless dirty/filthy price: cheap/inexpensive costly/expensive
        color: red/crimson blue/azure state: broken/damaged intact""",
}

# Words that decide nothing: the same on both sides, or left out of side two.
FILLERS = {
    "ACTION": """walks runs sings smiles waits sleeps jumps talks laughs rests reads writes cooks
        dances whistles works shouts kneels listens dreams eats yawns""",
    "HANDLES": """buys sells paints draws wants admires describes inspects finds borrows needs
        hides photographs mentions examines chooses""",
    "TENDS": """watches feeds follows notices washes trains rescues strokes calls chases catches
        sketches""",
    "LIVES": "drinks stays appears plays returns breathes vanishes hunts lives hurries",
    "HOW": "often again alone twice once nearby briefly sometimes frequently quietly",
    "PLACE": """park garden street field forest church museum kitchen library market village
        station school hotel theater bakery harbor valley meadow courtyard hallway bedroom square
        alley yard""",
    "WHEN": """today tonight daily weekly every-morning every-evening on-monday on-friday
        at-noon at-dawn before-sunset after-midnight""",
}


def _parse(families: str) -> dict[str, Path]:
    """The path of each word; synonyms share theirs. The first level is the family."""
    paths: dict[str, Path] = {}
    for number, family in enumerate(families.strip().splitlines()):
        above: list[Path] = [(("", str(number)),)]
        aspects = [""]
        path = above[0]
        for token in re.findall(r"[()]|[^\s()]+", family):
            if token == "(":
                above.append(path)
                aspects.append("")
            elif token == ")":
                above.pop()
                aspects.pop()
            elif token.endswith(":"):
                aspects[-1] = token
            else:
                path = (*above[-1], (aspects[-1], token))
                paths.update(dict.fromkeys(token.split("/"), path))
    return paths


PATHS = {slot: _parse(families) for slot, families in TAXONOMIES.items()}


def relation(word1: str, word2: str, slot: str) -> int | None:
    """The label of a pair that says ``word1`` on side one and ``word2`` in its place on side two.

    Entailment to a synonym or hypernym, neutral to a hyponym or another aspect, contradiction
    to a co-hyponym, an antonym or any other word that excludes the first. None for a word and
    itself, and for words of two families.
    """
    path1, path2 = PATHS[slot][word1], PATHS[slot][word2]
    if word1 == word2 or path1[0] != path2[0]:
        return None
    for (aspect1, concept1), (aspect2, concept2) in zip(path1, path2, strict=False):
        if aspect1 != aspect2:
            return NEUTRAL
        if concept1 != concept2:
            return CONTRADICTION
    return ENTAILMENT if len(path1) >= len(path2) else NEUTRAL
