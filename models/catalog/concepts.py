"""The concepts that the built-in model was taught, read from its list, and the words of prompts that it was not."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models.catalog.catalog import HOUSE_FOLDER

CONCEPTS_FILE = HOUSE_FOLDER.with_name("concepts.txt")
EMPHASIS = 3
"""How many times as often a starred concept occurs in the training set as a plain one."""

_COLOURS = "red orange yellow green teal light blue purple pink brown gray grey black white"
_AROUND = (
    "a an the one of on in at with and break its is this that my your "
    "image picture drawing photo emoji icon cute background"
)
"""The words around the concepts in the captions of the training set, and others that say nothing that can be drawn."""
_WITHOUT_ARTICLE = ("cherries", "french fries", "fries", "glasses", "sunglasses", "jeans", "pants", "trousers",
                    "scissors", "headphones", "crossed swords", "traffic lights", "logs", "money", "cash", "popcorn",
                    "sushi", "bread", "bacon", "corn", "cheese", "rain", "coffee", "wine", "beer", "soda", "milk",
                    "fire", "love", "pasta", "ramen", "champagne", "chocolate", "broccoli", "poop", "wheat", "tennis",
                    "bowling", "earth")  # fmt: skip
"""Endings of plurals and of what cannot be counted."""
_WORD = re.compile(r"[^\W\d_]+")
_ENDINGS = (("ies", "y"), ("es", ""), ("s", ""))
"""Of plurals, each with that of the singular."""


@dataclass(frozen=True)
class Concept:
    """One icon and the words for it, the main word first."""

    icon: str
    words: tuple[str, ...]
    weight: int


def load_concepts(path: Path = CONCEPTS_FILE) -> list[Concept]:
    """Read the concept list; the order of the file is kept."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [_parse(line) for line in lines if line and not line.startswith("#")]


def _parse(line: str) -> Concept:
    icon, _, words = line.lstrip("*").partition(":")
    spoken = tuple(word.strip() for word in words.split(";") if word.strip())
    return Concept(icon, spoken or (icon.replace("-", " "),), EMPHASIS if line.startswith("*") else 1)


def with_article(noun: str) -> str:
    """``noun`` with its indefinite article; plurals and mass nouns stay without."""
    if noun.endswith(_WITHOUT_ARTICLE) or noun.endswith("s face"):
        return noun
    return ("an " if noun[0] in "aeio" else "a ") + noun


def words_not_taught(prompt: str) -> list[str]:
    """The words of ``prompt`` that the built-in model was not taught, in their order and each once."""
    taught, words = _taught(), dict.fromkeys(_WORD.findall(prompt.lower()))
    return [word for word in words if word not in taught and not _is_plural_of(taught, word)]


@cache
def concepts_count() -> int:
    """How many concepts there are."""
    return len(load_concepts())


@cache
def _taught() -> frozenset[str]:
    spoken = " ".join(word for concept in load_concepts() for word in concept.words)
    return frozenset(_WORD.findall(f"{spoken} {_COLOURS} {_AROUND}"))


def _is_plural_of(taught: Collection[str], word: str) -> bool:
    """Whether ``word`` is the plural of a word that was taught; quick for most words, since each view of a job asks."""
    return word.endswith("s") and any(
        word.removesuffix(plural) + singular in taught for plural, singular in _ENDINGS if word.endswith(plural)
    )
