"""The concepts that the built-in checkpoint is trained on, read from concepts.txt, and their random captions."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import models.house

CONCEPTS_FILE = Path(models.house.__file__).with_name("concepts.txt")
EMPHASIS = 3
"""How many times as often a starred concept occurs in the training set as a plain one."""

_PLURAL = ("cherries", "french fries", "fries", "glasses", "sunglasses", "jeans", "pants", "trousers", "scissors",
           "headphones", "crossed swords", "traffic lights", "logs", "money", "cash", "popcorn", "sushi", "bread",
           "bacon", "corn", "cheese", "rain", "coffee", "wine", "beer", "soda", "milk", "fire", "love", "pasta",
           "ramen", "champagne", "chocolate", "broccoli", "poop", "wheat", "tennis", "bowling", "earth")  # fmt: skip
_TEMPLATES = ("{x}", "{x}", "{x}", "{a}", "{a}", "{a}", "an image of {a}", "a drawing of {a}", "a photo of {a}",
              "an emoji of {a}", "{a} icon", "a cute {x}", "one {x}")  # fmt: skip
_WHITE = ("", "", "", "", "", " on a white background")


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
    if noun.endswith(_PLURAL) or noun.endswith("s face"):
        return noun
    return ("an " if noun[0] in "aeio" else "a ") + noun


def caption(concept: Concept, rng: random.Random, colour: str | None = None, ground: str | None = None) -> str:
    """One caption for an image of ``concept``, in ``colour`` and on ``ground`` where they are given."""
    word = concept.words[0] if rng.random() < 0.7 else rng.choice(concept.words)
    if colour is not None:
        word = f"{colour} {word}"
    text = rng.choice(_TEMPLATES).format(x=word, a=with_article(word))
    return text + (f" on {with_article(ground)} background" if ground is not None else rng.choice(_WHITE))
