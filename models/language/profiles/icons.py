"""The profile of the built-in model, which generates single things on plain backgrounds, without scenes or styles."""

from __future__ import annotations

import re

from models.language.profiles import subjects
from models.language.profiles.shape import PhraseChoice, Profile, Subject, Template

GROUNDS = (
    "red", "orange", "yellow", "green", "teal", "blue", "light blue", "purple", "pink", "brown", "gray", "black",
)  # fmt: skip
"""The background colours that the checkpoint was trained on."""
WORDS_MAX = 8

_PLACED = re.compile(
    r"\b(?:background|backdrop|ground|in|on|at|under|over|by|near|behind|beside|inside|above|below|between)\b", re.I
)
_NAMES = {"grey": "gray", "violet": "purple", "golden": "yellow", "gold": "yellow", "turquoise": "teal", "cyan": "teal"}
"""Synonyms of some colours."""


def _choice(*grounds: str) -> PhraseChoice:
    return PhraseChoice(phrases=grounds, prefix=" on a ", suffix=" background")


def _skips(user_text: str) -> str | None:
    if not re.search(r"[A-Za-z]", user_text):
        return "the built-in model understands only English"
    if _PLACED.search(user_text):
        return "the prompt already says where the thing is"
    if len(user_text.split()) > WORDS_MAX:
        return "the built-in model generates single things, and the prompt has more than one"
    return None


def _allows(user_text: str, ground: str) -> bool:
    """Whether ``ground`` differs from the colours in the prompt; ``light blue`` counts as blue."""
    words = {_NAMES.get(word, word) for word in re.findall(r"[a-z]+", user_text.lower())}
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
    subject=subjects.SUBJECT,
    subjects={
        subjects.PERSON: Subject(choices=(_choice("teal", "purple", "gray"),)),
        subjects.ANIMAL: Subject(choices=(_choice("green", "yellow", "light blue"),)),
        subjects.SEA: Subject(choices=(_choice("blue", "teal", "light blue"),)),
        subjects.FOOD: Subject(choices=(_choice("yellow", "pink", "teal"),)),
        subjects.PLANT: Subject(choices=(_choice("light blue", "pink", "brown"),)),
        subjects.VEHICLE: Subject(choices=(_choice("light blue", "gray", "green"),)),
        subjects.BUILDING: Subject(choices=(_choice("light blue", "green", "purple"),)),
        subjects.LANDSCAPE: Subject(choices=(_choice("orange", "purple", "blue"),)),
        subjects.ITEM: Subject(choices=(_choice("teal", "purple", "pink"),)),
        subjects.FANTASY: Subject(choices=(_choice("purple", "black", "orange"),)),
    },
    free_choices=(_choice(*GROUNDS),),
    skips=_skips,
    allows=_allows,
)
