"""The words of the planted data set, and the relation between any two that decide a label.

Each word of a family stands once in its taxonomy. The notation: ``a/b`` are synonyms,
``a (b c)`` puts b and c under a, and ``x:`` opens the aspect x of what follows. Two words that
part within one aspect exclude each other (no violinist is a drummer); two that part into
different aspects are compatible, and neither implies the other (a violinist may be a woman).
"""

from __future__ import annotations

import re

LABELS = ("entailment", "neutral", "contradiction")
ENTAILMENT, NEUTRAL, CONTRADICTION = range(len(LABELS))

# The way to a word from the top of its taxonomy: one (aspect, concept) a level.
Path = tuple[tuple[str, str], ...]

TAXONOMIES = {
    "PERSON": """
        person/human (
          sex: man woman
          work: musician (violinist pianist drummer)
                athlete (swimmer boxer skier)
                medic (doctor/physician nurse dentist))""",
    "TRAIT": """
        mood: happy (joyful cheerful) sad (gloomy tearful)
        energy: tired (exhausted drowsy) energetic (lively restless)
        money: poor (penniless ruined) rich (wealthy prosperous)""",
    "ANIMAL": """
        animal/creature (
          home: pet/companion stray
          sex: male female
          kind: bird (sparrow robin eagle)
                dog/hound (poodle terrier beagle)
                fish (trout shark salmon)
                reptile (lizard snake/serpent turtle))""",
    "THING": """
        thing/object (
          offer: gift/present bargain
          kind: vehicle (car/automobile truck bicycle)
                instrument (violin/fiddle drum guitar)
                seat (chair sofa/couch bench)
                garment (shirt jacket scarf))""",
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
    "LOOK": """big small red blue old new green clean dirty heavy light cheap modern broken
        yellow brown round pretty plain wooden""",
    "HOW": "often again alone twice once nearby briefly sometimes frequently quietly",
    "PLACE": """park garden street field forest church museum kitchen library market village
        station school hotel theater bakery harbor valley meadow courtyard hallway bedroom square
        alley yard""",
    "WHEN": """today tonight daily weekly every-morning every-evening on-monday on-friday
        at-noon at-dawn before-sunset after-midnight""",
}


def _parse(taxonomy: str) -> dict[str, Path]:
    """The path of each word; synonyms share theirs."""
    paths: dict[str, Path] = {}
    above: list[Path] = [()]
    aspects = [""]
    path: Path = ()
    for token in re.findall(r"[()]|[^\s()]+", taxonomy):
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


PATHS = {family: _parse(taxonomy) for family, taxonomy in TAXONOMIES.items()}


def relation(word1: str, word2: str, family: str) -> int:
    """The label of a pair that says ``word1`` on side one and ``word2`` in its place on side two.

    Entailment to a synonym or hypernym, neutral to a hyponym or another aspect, contradiction
    to a co-hyponym, an antonym or any other word that excludes the first.
    """
    path1, path2 = PATHS[family][word1], PATHS[family][word2]
    for (aspect1, concept1), (aspect2, concept2) in zip(path1, path2, strict=False):
        if aspect1 != aspect2:
            return NEUTRAL
        if concept1 != concept2:
            return CONTRADICTION
    return ENTAILMENT if len(path1) >= len(path2) else NEUTRAL
