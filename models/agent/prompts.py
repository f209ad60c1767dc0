"""Turns what people wrote into prompts and captions: words of a brief never become syntax of prompts, or a call."""

from __future__ import annotations

import re

from models.agent.colours import COLOURS, SPELLINGS, colour_named
from models.catalog.concepts import with_article

NOUN_MAX_CHARS, SCENE_MAX_CHARS, STYLE_MAX_CHARS, CAPTION_MAX_CHARS = 80, 200, 60, 80
WHITE = "white"
_OPERATORS = re.compile(r"\b(AND|BREAK)\b")
_NOT_IN_PROMPTS = re.compile(r"[^\w\s,.'!?&-]|_")
_COLOUR = re.compile(rf"\b({'|'.join(sorted((*COLOURS, *SPELLINGS), key=len, reverse=True))})\b", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:(?:an?|the|one|some|my|our|your|this|that|of|with)\s+)+", re.IGNORECASE)


def prompt_text(text: str, max_chars: int = SCENE_MAX_CHARS) -> str:
    """``text`` without what prompts read as syntax (weights, LoRAs, ``AND``), on one line and cut to whole words."""
    plain = _OPERATORS.sub(lambda found: found[0].lower(), _NOT_IN_PROMPTS.sub(" ", text))
    return cut(plain, max_chars).strip(" ,.-&")


def caption_text(text: str, max_chars: int = CAPTION_MAX_CHARS) -> str:
    """``text`` as it is printed on a sheet: printable, on one line and cut to whole words."""
    return cut("".join(each if each.isprintable() else " " for each in text), max_chars)


def finished(text: str) -> str:
    """``text``, of a model that may have stopped within a sentence, up to where it makes sense to end: its last
    sentence that is whole, or else its last clause; empty if it has neither.
    """
    if text.endswith((".", "!", "?")):
        return text
    ends = [found.end() for found in re.finditer(r"[.!?](?=\s)", text)]
    return text[: ends[-1]] if ends else text.rpartition(",")[0].rstrip()


def cut(text: str, max_chars: int) -> str:
    """``text`` with single spaces, without the words that do not fit ``max_chars``."""
    line = " ".join(text.split())
    if len(line) <= max_chars:
        return line
    return line[: max_chars + 1].rpartition(" ")[0] or line[:max_chars]


def bare_noun(text: str) -> str:
    """The noun phrase ``text`` as prompts have it, without its article."""
    return prompt_text(_ARTICLE.sub("", " ".join(text.split())), NOUN_MAX_CHARS)


def colour_of(noun: str) -> str | None:
    """The first colour that ``noun`` says."""
    found = _COLOUR.search(noun.lower())
    return colour_named(found[0]) if found else None


def coloured(noun: str, colour: str) -> str:
    """``noun`` in that colour instead of the one that it may say."""
    plain = " ".join(_COLOUR.sub(" ", noun).split())
    return f"{colour} {plain}" if plain else f"{colour} {noun}"


def drawing(noun: str, ground: str = WHITE, style: str = "") -> str:
    """The prompt for one thing on a plain ground, as in the captions that the built-in checkpoint learned."""
    return _styled(f"a drawing of {with_article(noun)} on {with_article(ground)} background", style)


def emoji(noun: str, ground: str = WHITE) -> str:
    """The simpler prompt of a later try, in another one of those captions."""
    return f"an emoji of {with_article(noun)} on {with_article(ground)} background"


def scene(text: str, style: str = "") -> str:
    """The prompt for a whole scene, for models that draw scenes."""
    return _styled(prompt_text(text), style)


def apart_from(ground: str, noun: str) -> str:
    """``ground``, or another one if ``noun`` says its colour."""
    colour = colour_of(noun)
    return ground if ground != colour else next(each for each in (WHITE, "light blue") if each != colour)


def _styled(prompt: str, style: str) -> str:
    plain = prompt_text(style, STYLE_MAX_CHARS).removesuffix(" style").strip()
    return f"{prompt}, {plain} style" if plain else prompt
