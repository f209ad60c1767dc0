"""What a language model wrote, made fit to stand in a prompt: phrases, without syntax, repetition or loose ends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.jobs.prompts import Fragment, PromptError, parse

PHRASES_MAX = 8
PHRASE_MAX = 200
"""Characters; what is longer is no phrase."""
_READ_MAX, _UNBROKEN_MAX = 64, 500
"""How many phrases are looked at, and after how many characters without an end nothing more is expected."""

_TAG = re.compile(r"<[^<>\n]*>")
_BREAK = re.compile(r"\bBREAK\b")
_WEIGHT = re.compile(r":\s*[+-]?[\d.]+")
_SYNTAX = str.maketrans(dict.fromkeys('()[]{}<>|\\`*_#~"“”„«»‘‹›', " "))
_SPACE = re.compile(r"\s+")
_ENDS = re.compile(r"[,;，、；،]|[.!?](?=\s)|[。！？]|\n")
_SENTENCE_ENDS = ".!?。！？"
_ADDRESS = re.compile(r"://|www\.|@|\.(?:com|net|org)\b", re.IGNORECASE)
_CHAT = re.compile(
    r"\W*(?:sure|certainly|of course|okay|here(?:'s| is| are)|sorry|as an ai|i(?:'m| am| can| cannot| can't| will|'ll)|"
    r"assistant|user|system|prompt)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
_SMALL_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "into", "is", "it", "its", "of", "on", "or",
    "over", "the", "their", "to", "under", "with",
})  # fmt: skip


class NotFit(ValueError):
    """What the language model wrote is of no use; the message says why."""


def plain(prompt: str) -> str:
    """What ``prompt`` says, on one line: no weights, tags or brackets, so nothing that a chat template means by them.

    Raises:
        PromptError: as :func:`models.jobs.prompts.parse`.
    """
    texts = [part.text if isinstance(part, Fragment) else ", " for part in parse(prompt).fragments]
    text = "".join(each if each.isprintable() else " " for each in "".join(texts))
    return _squeeze(text.translate(_SYNTAX)).rstrip(" ,;")


def has_syntax(text: str) -> bool:
    """Whether ``text`` means something else in a prompt than what it says."""
    try:
        parsed = parse(text)
    except PromptError:
        return True
    return bool(parsed.loras) or parsed.fragments != (Fragment(text),)


def continuation(answer: str, said: str) -> str:
    """The part of ``answer`` that goes on after ``said``; an answer may also begin with those words again.

    Raises:
        NotFit: it does neither, so that it may be about anything.
    """
    begun = _SPACE.sub(" ", answer.lstrip(" \n\"'“*"))
    if begun[: len(said)].casefold() == said.casefold() and not begun[len(said) : len(said) + 1].isalnum():
        return begun[len(said) :]
    if _CHAT.match(answer):
        raise NotFit("the language model talked about the prompt instead")
    if answer and answer[0].isalnum() and unicodedata.category(answer[0]) != "Lo":
        raise NotFit("the language model lost the subject")
    return answer


@dataclass
class Phrases:
    """Takes a continuation piece by piece, and gives the phrases that stay, each with what separates it.

    Whether a phrase stays depends only on those before it, so what was given once is never taken back.
    """

    said: str
    """The user's words, which need no repetition."""
    is_list: bool = False
    """Whether there is nothing before the first phrase that it would have to be separated from."""
    _rest: str = ""
    _separator: str = " "
    _read: int = 0
    _kept: int = 0
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seen = _words(self.said)

    @property
    def is_full(self) -> bool:
        """Whether nothing that comes will stay."""
        return self._kept >= PHRASES_MAX or self._read >= _READ_MAX

    def feed(self, text: str) -> Iterator[str]:
        """The phrases that ``text`` completes."""
        begin, self._rest = 0, self._rest + text
        for end in _ENDS.finditer(self._rest):
            if self.is_full:
                return
            self._read = _READ_MAX if end.start() - begin > _UNBROKEN_MAX else self._read + 1
            yield from self._take(self._rest[begin : end.start()])
            self._separator = ". " if end[0] in _SENTENCE_ENDS else ", "
            begin = end.end()
        self._rest = self._rest[begin:]
        if len(self._rest) > _UNBROKEN_MAX:
            self._read = _READ_MAX

    def end(self, is_cut_off: bool) -> Iterator[str]:
        """The last phrase, unless the model was interrupted in it."""
        last = self._rest.rstrip()
        if not self.is_full and (not is_cut_off or last.endswith((".", "!", "?"))):
            yield from self._take(last.rstrip(".!?"))

    def _take(self, phrase: str) -> Iterator[str]:
        cleaned = clean(phrase[: PHRASE_MAX + 1])
        words = _words(cleaned)
        if not words or len(phrase) > PHRASE_MAX or 2 * len(words & self._seen) >= len(words):
            return
        yield cleaned if self.is_list and not self._kept else self._separator + cleaned
        self._seen |= words
        self._kept += 1


def clean(phrase: str) -> str:
    """``phrase`` without the syntax of prompts, invisible characters and quotes; nothing if it is no phrase at all."""
    visible = "".join(each for each in phrase if unicodedata.category(each) != "Cf")
    bare = _WEIGHT.sub(" ", _BREAK.sub(" ", _TAG.sub(" ", visible)).translate(_SYNTAX))
    text = _squeeze(bare).strip(" '’,;:-–—")
    if not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text or _ADDRESS.search(text) or has_syntax(text):
        return ""
    return text


def _squeeze(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.casefold()) if word not in _SMALL_WORDS}
