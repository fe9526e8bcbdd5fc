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
          age: adult (man/gentleman woman/lady)
               child/kid (boy/lad girl/lass)
          work: musician (violinist pianist drummer guitarist)
                athlete/sportsman (swimmer boxer gymnast skier)
                builder (carpenter plumber mason roofer)
                medic (doctor/physician nurse dentist)
                scientist (chemist physicist geologist))""",
    "TRAIT": """
        mood: happy/glad (cheerful joyful) sad/unhappy (gloomy tearful)
        money: rich/wealthy poor/penniless
        nerve: brave/courageous cowardly/fearful
        energy: tired/weary energetic/lively
        fame: famous/renowned unknown/obscure
        manner: polite/courteous rude/impolite
        wit: clever/smart foolish/silly""",
    "ACTION": """
        body: moves (walks/strolls runs (sprints jogs)) rests (sleeps (naps dozes))
        voice: speaks/talks (whispers/murmurs shouts/yells) sings (hums yodels)
        face: smiles/grins frowns/scowls""",
    "THING": """
        thing/object (
          kind: vehicle (car/automobile bicycle/bike truck/lorry)
                instrument (violin/fiddle piano drum guitar)
                tool (hammer shovel/spade wrench/spanner saw)
                seat (chair sofa/couch stool)
                garment (shirt jacket scarf)
                toy (doll kite puzzle)
          offer: gift/present bargain
          worth: treasure/gem trinket/bauble
          years: antique/relic novelty)""",
    "LOOK": """
        size: big/large (huge/enormous) small/little (tiny/minute)
        price: expensive/costly cheap/inexpensive
        dirt: clean/spotless dirty/filthy
        years: new/modern old/ancient
        color: red (scarlet crimson) blue (navy turquoise) green (olive emerald)""",
    "ANIMAL": """
        animal/creature (
          kind: bird (sparrow eagle robin)
                dog/hound (poodle terrier beagle)
                fish (trout salmon shark)
                reptile (lizard snake/serpent turtle/tortoise)
          home: pet/companion stray
          sex: male female
          diet: hunter/predator grazer)""",
    "NATURE": """
        temper: calm/peaceful angry (furious enraged)
        home: wild/untamed tame/domesticated
        pace: fast/quick slow/sluggish
        hunger: hungry (starving) full/sated
        skin: wet (soaked) dry""",
    "FOOD": """
        food (
          kind: fruit (banana pear peach cherry)
                vegetable/veggie (carrot potato onion cabbage)
                dessert (cake cookie/biscuit pudding)
                meat (ham bacon sausage steak)
          meal: snack breakfast lunch supper/dinner)""",
    "PLACE": """
        spot/place (
          kind: building (museum church library shop/store (bakery pharmacy))
                forest/woodland (jungle rainforest)
                field (meadow/grassland pasture)
                street/road (alley boulevard)
          use: shelter/refuge landmark/monument)""",
}

# Words that decide nothing: the same on both sides, or left out of side two.
FILLERS = {
    "HANDLES": """buys sells paints draws wants admires describes inspects finds borrows needs
        hides photographs mentions examines chooses""",
    "TENDS": "watches feeds follows notices washes trains rescues strokes calls chases",
    "EATS": "eats tastes cooks serves orders prepares smells devours shares",
    "LIVES": "waits drinks stays appears plays returns breathes vanishes",
    "HOW": "often again alone twice once nearby briefly sometimes frequently",
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
