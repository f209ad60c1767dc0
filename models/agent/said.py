"""What a brief says, read by rules: numbers, colours, grounds, styles, quotations, lists and known things."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from models.agent.colours import COLOURS, SPELLINGS, colour_named
from models.agent.prompts import NOUN_MAX_CHARS, STYLE_MAX_CHARS, bare_noun, caption_text, prompt_text
from models.agent.vocabulary import Thing, category_in, things_in

BRIEF_READ_CHARS = 4_000
"""How much of a brief the rules read."""
NUMBERS = {"two": 2, "a couple of": 2, "a pair of": 2, "three": 3, "four": 4, "five": 5, "six": 6, "half a dozen": 6,
           "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "a dozen": 12, "one": 1,
           "single": 1, "thirteen": 13, "fifteen": 15, "twenty": 20, "a hundred": 100}  # fmt: skip
_LONGEST_FIRST = sorted((*COLOURS, *SPELLINGS), key=len, reverse=True)
_COLOUR = rf"(?:{'|'.join(_LONGEST_FIRST)})"
_WORDS = "|".join(sorted(NUMBERS, key=len, reverse=True))
_NUMBER = rf"(?P<number>(?<![\w.,])[-−–]?[0-9][0-9.,]{{0,20}}(?<![.,])|\b(?:{_WORDS}))"
"""A number in digits, whether or not it makes sense as a count, or in words."""
ICON_WORDS = "icons?|emojis?|stickers?|symbols?|pictograms?|glyphs?"
_GROUND = re.compile(
    rf"\b(?:(?:on|against|with|over|before)\s+)?(?:(?:an?|the|one|plain|same)\s+)*(?P<first>{_COLOUR})\s+"
    rf"(?:ground|background|backdrop)s?\b|\bon\s+(?:(?:an?|the|plain|pure)\s+)*(?P<second>{_COLOUR})(?=\s*(?:$|[,.;:!?)]|in\b|and\b|with\b))",
    re.IGNORECASE,
)
_STYLE = re.compile(
    r"\bin\s+(?:an?\s+|the\s+|one\s+)?(?P<first>[\w-]{1,30}(?: [\w-]{1,30})?)[\s-]style\b"
    r"|\b(?P<second>[\w-]{1,30})[\s-]style\b",
    re.IGNORECASE,
)
_NO_STYLE = {
    "one",
    "a",
    "an",
    "the",
    "same",
    "any",
    "this",
    "that",
    "single",
    "consistent",
    "in",
    "the same",
    "one single",
}
_COUNTED_OF = re.compile(
    rf"^{_NUMBER}\s+(?:[\w-]+\s+){{0,2}}?(?:{ICON_WORDS}|images?|pictures?|drawings?|panels?)"
    r"(?:,?\s+(?:in|on)\s+[\w -]{1,40}?)?,?\s+(?:of|for|about|showing|with)\s+",
    re.IGNORECASE,
)
"""What stands before a list after a first ``of``, as in ``a set of 2 icons of an apple and a pear``."""
_ONE_OF = re.compile(
    r"\b(?:in|on|with)\s+(?:one|the same|a single)\s+(?:style|ground|background|look)\b", re.IGNORECASE
)
_QUOTED = re.compile(r"\"([^\"\n]{1,300})\"|“([^”\n]{1,300})”|«([^»\n]{1,300})»|„([^“”\n]{1,300})[“”]")
_MARKED = re.compile(r"(?:^|\s)(?:[0-9]{1,2}[.)]|[-*•])\s+(?=\S)")
_AFTERWARDS = re.compile(
    r"[,;.]?\s*\b(?:and\s+)?(?:first(?:ly)?|then|next|after that|finally|at last|in the end)\b[,:]?\s+", re.IGNORECASE
)
_BETWEEN = re.compile(r"\s*(?:[,;/\n]|\s&\s|\s\+\s|\band\b)\s*(?:and\s+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Said:
    """A brief, or feedback, as the rules read it."""

    text: str

    @classmethod
    def of(cls, text: str) -> Said:
        """``text`` without what cannot be printed, cut to what the rules read."""
        kept = "".join(each if each.isprintable() or each == "\n" else " " for each in text[:BRIEF_READ_CHARS])
        return cls(kept.strip())

    @cached_property
    def ground(self) -> str | None:
        """The colour that images are on."""
        found = _GROUND.search(self.text)
        return colour_named(found["first"] or found["second"]) if found else None

    @cached_property
    def style(self) -> str:
        """The style of images, as in ``flat``."""
        for found in _STYLE.finditer(self.text):
            style = prompt_text(found["first"] or found["second"], STYLE_MAX_CHARS)
            if style.lower() not in _NO_STYLE:
                return style
        return ""

    @cached_property
    def quotations(self) -> tuple[str, ...]:
        """The texts in quotation marks, as captions."""
        found = (next(filter(None, each.groups())) for each in _QUOTED.finditer(self.text))
        return tuple(filter(None, map(caption_text, found)))

    @cached_property
    def rest(self) -> str:
        """The text without quotations, grounds and styles."""
        rest = _QUOTED.sub(" ", self.text)
        for pattern in (_ONE_OF, _GROUND, _STYLE):
            rest = pattern.sub(" ", rest)
        return "\n".join(" ".join(line.split()) for line in rest.splitlines())

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """The known things, those of quotations left out."""
        return tuple(things_in(self.rest))

    @cached_property
    def category(self) -> tuple[str, ...]:
        return category_in(self.rest)

    @cached_property
    def colours(self) -> tuple[str, ...]:
        """The colours of things, each once."""
        named = (colour_named(found[0]) for found in re.finditer(rf"\b{_COLOUR}\b", self.rest, re.IGNORECASE))
        return tuple(dict.fromkeys(each for each in named if each))

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """The parts of a numbered or marked list, or of ``first ..., then ..., finally ...``, if there is one."""
        marked = [each.strip(" \n,;") for each in _MARKED.split(self.rest)[1:]]
        if len(marked) > 1:
            return tuple(filter(None, marked))
        told = _AFTERWARDS.split(self.after(("about", "of", "where", "in which", ":")) or self.rest)
        parts = [each.strip(" \n,;.:") for each in told]
        return tuple(filter(None, parts)) if len(told) > 2 else ()

    @cached_property
    def items(self) -> tuple[str, ...]:
        """The nouns of a list, as in ``icons of an apple, a pear and a plum``; none if there is no list."""
        if len(self.steps) > 1:
            nouns = [bare_noun(each) for each in self.steps]
        else:
            listed = self.after((":", "of", "showing", "with")).rstrip(" .!?")
            nouns = [bare_noun(each) for each in _BETWEEN.split(listed)]
        nouns = [each for each in nouns if each and any(map(str.isalpha, each))]
        return tuple(dict.fromkeys(nouns)) if len(nouns) > 1 else ()

    @cached_property
    def clauses(self) -> tuple[str, ...]:
        """The parts of a told list after a colon, each of several words; none if there is none."""
        parts = re.split(r"\s*[.,;!?]+\s+(?:and\s+)?", self.after((":",)).strip(" .!?"))
        return tuple(parts) if len(parts) > 1 and all(len(each.split()) > 1 for each in parts) else ()

    def has(self, pattern: str) -> bool:
        """Whether the text has a word that fits ``pattern``, quotations left out."""
        return re.search(rf"\b(?:{pattern})\b", self.rest, re.IGNORECASE) is not None

    def count(self, pattern: str) -> float | None:
        """The number of what ``pattern`` means, as in ``six flat icons``, ``4-panel`` or ``a set of 6``.

        It is one that cannot be a count where the text says so, as in ``-3 icons`` or ``2.5 panels``.
        """
        before = rf"{_NUMBER}[\s-]+(?:(?!of\b)[\w-]+\s+){{0,2}}?(?:{pattern})\b"
        after = rf"\b(?:{pattern}|set|series|sheet)(?:\s+(?:set|sheet))?\s+(?:of|with|in)\s+{_NUMBER}\b"
        found = re.search(before, self.rest, re.IGNORECASE) or re.search(after, self.rest, re.IGNORECASE)
        if found is None:
            return None
        number = found["number"].lower()
        return float(NUMBERS[number]) if number in NUMBERS else _read(number)

    def after(self, marks: Sequence[str]) -> str:
        """What follows the first of ``marks`` that the text has, in their order; empty if it has none."""
        for mark in marks:
            pattern = rf"\b{mark}\b\s+" if mark.isalpha() or " " in mark else rf"{re.escape(mark)}\s*"
            _, found, rest = _parted(self.rest, pattern)
            if found and rest:
                return _COUNTED_OF.sub("", rest)
        return ""

    def subject(self, marks: Sequence[str]) -> str:
        """The noun phrase after the first of ``marks``, or the first known thing; empty if there is neither."""
        phrase = re.split(r"[.;!?\n]|\bin\s+(?:[0-9]+|\w+)\s+(?:colou?rs|poses|panels|styles)\b", self.after(marks))[0]
        return bare_noun(phrase)[:NOUN_MAX_CHARS] or (self.things[0].noun if self.things else "")


def _read(number: str) -> float | None:
    """A number in digits, if it is one; commas and points before three digits are left out, as in ``1,000``."""
    digits = re.sub(r"[.,](?=[0-9]{3}(?![0-9]))", "", number.translate({ord(each): "-" for each in "−–"}))
    try:
        return float(digits.replace(",", "."))
    except ValueError:  # as in 1.2.3
        return None


def _parted(text: str, pattern: str) -> tuple[str, str, str]:
    found = re.search(pattern, text, re.IGNORECASE)
    return (text, "", "") if found is None else (text[: found.start()], found[0], text[found.end() :].strip())
