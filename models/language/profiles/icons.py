"""The profile of the built-in model, which draws single things on plain grounds and knows neither scenes nor styles."""

from __future__ import annotations

import re

from models.language.profiles import kinds
from models.language.profiles.shape import Kind, Profile, Slot, Template

GROUNDS = (
    "red", "orange", "yellow", "green", "teal", "blue", "light blue", "purple", "pink", "brown", "gray", "black",
)  # fmt: skip
"""The colours of background that the checkpoint was taught."""
WORDS_MAX = 8

_PLACED = re.compile(
    r"\b(?:background|backdrop|ground|in|on|at|under|over|by|near|behind|beside|inside|above|below|between)\b", re.I
)
_NAMES = {"grey": "gray", "violet": "purple", "golden": "yellow", "gold": "yellow", "turquoise": "teal", "cyan": "teal"}
"""Other words for some of the colours."""


def _slot(*grounds: str) -> Slot:
    return Slot(phrases=grounds, lead=" on a ", tail=" background")


def _skips(said: str) -> str | None:
    if not re.search(r"[A-Za-z]", said):
        return "the built-in model reads English alone"
    if _PLACED.search(said):
        return "the prompt says already where the thing is"
    if len(said.split()) > WORDS_MAX:
        return "the built-in model draws single things, and this is more than one"
    return None


def _allows(said: str, ground: str) -> bool:
    """A thing does not stand out from a ground of its own colour; each word of it counts: ``light blue`` is blue."""
    words = {_NAMES.get(word, word) for word in re.findall(r"[a-z]+", said.lower())}
    return words.isdisjoint(ground.split())


_EXAMPLES = tuple((words, f" on {ground} background") for words, ground in (
    ("a polar bear", "a light blue"), ("a grape", "a green"), ("a skull", "a black"), ("a gold coin", "a purple"),
    ("a watermelon", "a pink"), ("a tractor", "a brown"), ("a lemon", "a blue"), ("a comet", "an orange"),
))  # fmt: skip
ICONS = Profile(
    name="icons",
    version=3,
    free=Template(
        system=(
            "You choose a plain background for an icon: a colour that suits the thing and lets it stand out. Answer "
            "with that one colour."
        ),
        examples=_EXAMPLES,
        tokens_max=16,
        begins=" on a",
    ),
    kind=kinds.KIND,
    kinds={
        kinds.PERSON: Kind(slots=(_slot("teal", "purple", "gray"),)),
        kinds.ANIMAL: Kind(slots=(_slot("green", "yellow", "light blue"),)),
        kinds.SEA: Kind(slots=(_slot("blue", "teal", "light blue"),)),
        kinds.FOOD: Kind(slots=(_slot("yellow", "pink", "teal"),)),
        kinds.PLANT: Kind(slots=(_slot("light blue", "pink", "brown"),)),
        kinds.VEHICLE: Kind(slots=(_slot("light blue", "gray", "green"),)),
        kinds.BUILDING: Kind(slots=(_slot("light blue", "green", "purple"),)),
        kinds.LANDSCAPE: Kind(slots=(_slot("orange", "purple", "blue"),)),
        kinds.ITEM: Kind(slots=(_slot("teal", "purple", "pink"),)),
        kinds.FANTASY: Kind(slots=(_slot("purple", "black", "orange"),)),
    },
    free_slots=(_slot(*GROUNDS),),
    skips=_skips,
    allows=_allows,
)
