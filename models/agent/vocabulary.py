"""The things that the built-in checkpoint draws and the shipped eyes know, found in what people write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from models.agent.colours import COLOURS, SPELLINGS, colour_named
from models.catalog.concepts import load_concepts

ALSO_CALLED = {"teacup": "cup of tea", "cactuses": "cactus",
               "shirt": "t shirt", "tee": "t shirt", "shoe": "sneaker", "trainer": "sneaker", "bag": "handbag",
               "rucksack": "backpack", "hat": "top hat", "glasses": "sunglasses", "lorries": "truck",
               "spacecraft": "rocket", "boat": "sailboat", "helicopters": "helicopter", "cab": "car",
               "blossom": "cherry blossom", "pup": "dog", "mice": "mouse", "geese": "duck", "wolves": "wolf",
               "loaf": "bread", "knives": "dagger", "leaf": "maple leaf", "pumpkins": "pumpkin", "android": "robot",
               "parcels": "parcel", "photo camera": "camera", "football ball": "soccer ball",
               "ball": "soccer ball"}  # fmt: skip
"""Words that are not in the vocabulary, each with the word of it that comes nearest."""
CATEGORIES = {
    "fruit": "apple|banana|grapes|strawberry|pineapple|watermelon|pear|lemon|peach|cherries|kiwi|coconut",
    "vegetable": "carrot|tomato|broccoli|corn|eggplant|onion|avocado|chili pepper|mushroom",
    "animal": "cat|dog|lion|fox|bear|rabbit|penguin|owl|elephant|fish|frog|panda|horse|turtle",
    "pet": "cat|dog|rabbit|hamster|parrot|fish|mouse|turtle",
    "farm animal": "cow|pig|sheep|horse|goat|hen|rooster|duck|turkey",
    "sea animal": "fish|whale|dolphin|shark|octopus|crab|lobster|jellyfish|turtle",
    "bird": "bird|penguin|owl|parrot|duck|swan|flamingo|peacock|eagle|rooster",
    "insect": "butterfly|bee|ant|ladybug|caterpillar|spider",
    "flower": "rose|tulip|sunflower|cherry blossom|flower",
    "plant": "cactus|rose|tulip|sunflower|tree|palm tree|pine tree|potted plant|mushroom|seedling|maple leaf",
    "tree": "tree|palm tree|pine tree|christmas tree",
    "food": "pizza|hamburger|hot dog|taco|sushi|bread|cheese|french fries|sandwich|egg|croissant|noodle soup",
    "fast food": "hamburger|pizza|french fries|hot dog|taco|sandwich",
    "sweet": "ice cream|donut|cookie|birthday cake|cupcake|chocolate|candy|lollipop|waffle",
    "dessert": "ice cream|donut|cookie|birthday cake|cupcake|chocolate|waffle",
    "drink": "coffee|wine|cocktail|beer|soda|teapot",
    "vehicle": "car|bus|train|truck|tractor|motorcycle|bicycle|airplane|helicopter|ship|rocket|fire truck",
    "building": "house|castle|church|factory|hospital|lighthouse",
    "weather": "sun|cloud|rain|snowflake|lightning|rainbow|tornado|umbrella|sun behind a cloud|full moon|wave|snowman",
    "space": "rocket|earth|full moon|star|saturn|ufo|sun|alien|crescent moon|telescope",
    "sport": "soccer ball|basketball|baseball|volleyball|tennis ball|boxing glove|skateboard|trophy",
    "instrument": "guitar|violin|trumpet|saxophone|drum|bell",
    "clothes": "t shirt|dress|jeans|scarf|tie|sneaker|top hat|high heel|handbag",
    "tool": "hammer|wrench|axe|scissors|ladder|paintbrush|pencil|magnet|gear",
    "office": "pencil|briefcase|scissors|envelope|book|laptop|pushpin|phone|light bulb",
    "technology": "laptop|phone|camera|television|battery|headphones|floppy disk|game controller|robot",
    "halloween": "pumpkin|ghost|skull|bat|spider|spider web|candy|gravestone",
    "christmas": "christmas tree|gift|snowman|snowflake|bell|candle|star",
    "party": "balloon|gift|birthday cake|party popper|cocktail|candle|musical note",
    "travel": "airplane|compass|camera|tent|backpack|palm tree|anchor|globe|desert island|mountain",
    "music": "guitar|musical note|headphones|drum|violin|trumpet|saxophone",
    "toy": "teddy bear|kite|balloon|dice|soccer ball|game controller|yarn",
    "face": "smiley|laughing face|face in love|cool face|sad face|angry face|sleeping face|clown",
}
"""Words for several things, and the things, those that the checkpoint draws best first."""
_ALIASES = {"fruits": "fruit", "vegetables": "vegetable", "veggie": "vegetable", "sea creature": "sea animal",
            "ocean animal": "sea animal", "bug": "insect", "sweets": "sweet", "candies": "sweet", "beverage": "drink",
            "transport": "vehicle", "musical instrument": "instrument", "clothing": "clothes", "garment": "clothes",
            "gadget": "technology", "tech": "technology", "emotion": "face", "smileys": "face", "sports": "sport",
            "outer space": "space", "astronomy": "space", "garden": "plant", "zoo": "animal"}  # fmt: skip
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_COLOURED = {*COLOURS, *SPELLINGS}


@dataclass(frozen=True)
class Thing:
    """Something that a brief names and the built-in models know."""

    word: str
    """As it is prompted, in the vocabulary's own spelling."""
    label: str
    """What the shipped eyes call it."""
    colour: str | None = None
    """The colour that the brief gives it."""
    start: int = 0
    """Where it begins in the brief, and where it ends, in characters."""
    end: int = 0

    @property
    def noun(self) -> str:
        """As it is prompted, with its colour."""
        return f"{self.colour} {self.word}" if self.colour else self.word


def things_in(text: str) -> list[Thing]:
    """The things that ``text`` names, in its order; longer names win, and a colour right before a thing is its own."""
    words = [(found[0], found.start(), found.end()) for found in _WORD.finditer(text.lower())]
    found: list[Thing] = []
    place = 0
    while place < len(words):
        match = _thing_at(words, place, text)
        if match is None:
            place += 1
            continue
        count, word, label = match
        colour, start = _colour_before(words, place, text)
        found.append(Thing(word, label, colour, start, words[place + count - 1][2]))
        place += count
    return found


def thing_named(text: str) -> Thing | None:
    """The only or last thing that a noun phrase such as ``a big red apple`` names."""
    found = things_in(text)
    return found[-1] if found else None


def category_in(text: str) -> tuple[str, ...]:
    """The things of the first word for several things in ``text``; none if it has no such word."""
    words = [found[0] for found in _WORD.finditer(text.lower())]
    for place in range(len(words)):
        for count in (2, 1):
            spoken = " ".join(words[place : place + count])
            for word in _singulars(spoken):
                name = _ALIASES.get(word, word)
                if name in CATEGORIES:
                    return tuple(CATEGORIES[name].split("|"))
    return ()


def _thing_at(words: list[tuple[str, int, int]], place: int, text: str) -> tuple[int, str, str] | None:
    """How many words from ``place`` name a thing, its word, and its label."""
    for count in range(min(_longest(), len(words) - place), 0, -1):
        named = words[place : place + count]
        if any(text[before[2] : after[1]].strip(" -\n") for before, after in pairwise(named)):
            continue
        for word in _singulars(" ".join(word for word, _, _ in named)):
            if word in _known() and not (count == 1 and word in _COLOURED):
                return count, *_known()[word]
    return None


def _colour_before(words: list[tuple[str, int, int]], place: int, text: str) -> tuple[str | None, int]:
    """The colour right before a thing, and where the two begin; a comma between them divides them."""
    for count in (2, 1):
        if place < count:
            continue
        first, last = words[place - count], words[place - 1]
        colour = colour_named(" ".join(word for word, _, _ in words[place - count : place]))
        if colour is not None and not text[last[2] : words[place][1]].strip():
            return colour, first[1]
    return None, words[place][1]


def _singulars(spoken: str) -> Iterator[str]:
    """``spoken``, and what it may be the plural of."""
    yield spoken
    for plural, singular in (("ies", "y"), ("es", ""), ("s", "")):
        if len(spoken) > 3 and spoken.endswith(plural):
            yield spoken.removesuffix(plural) + singular


@cache
def _known() -> dict[str, tuple[str, str]]:
    """The word that is prompted, and the label, for each word for a thing, with spaces for its dashes."""
    known: dict[str, tuple[str, str]] = {}
    for concept in load_concepts():
        for word in concept.words:
            known.setdefault(word.lower().replace("-", " "), (word, concept.words[0]))
    return known | {word: known[meant] for word, meant in ALSO_CALLED.items()}


@cache
def _longest() -> int:
    return max(len(word.split()) for word in _known())
