"""Cleans the output of a language model for use in a prompt: phrases without prompt syntax or repetition."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.jobs.prompts import Fragment, PromptError, parse

PHRASES_MAX = 8
PHRASE_MAX = 200
"""Longer phrases, in characters, are dropped."""
_READ_MAX, _UNBROKEN_MAX = 64, 500
"""Reading stops after this many phrases, or this many characters without the end of a phrase."""

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


class UnusableText(ValueError):
    """The output of the language model cannot be used; the message says why."""


def plain_text(prompt: str) -> str:
    """The text of ``prompt`` on one line, without weights, tags and brackets, which a chat template could interpret.

    Raises:
        PromptError: as :func:`models.jobs.prompts.parse`.
    """
    texts = [part.text if isinstance(part, Fragment) else ", " for part in parse(prompt).fragments]
    text = "".join(each if each.isprintable() else " " for each in "".join(texts))
    return _squeeze(text.translate(_SYNTAX)).rstrip(" ,;")


def has_syntax(text: str) -> bool:
    """Whether ``text`` contains prompt syntax."""
    try:
        parsed = parse(text)
    except PromptError:
        return True
    return bool(parsed.loras) or parsed.fragments != (Fragment(text),)


def continuation(answer: str, user_text: str) -> str:
    """The part of ``answer`` that continues ``user_text``; an answer may repeat those words first.

    Raises:
        UnusableText: the answer does not continue them, so it may be about anything.
    """
    beginning = _SPACE.sub(" ", answer.lstrip(" \n\"'“*"))
    if (
        beginning[: len(user_text)].casefold() == user_text.casefold()
        and not beginning[len(user_text) : len(user_text) + 1].isalnum()
    ):
        return beginning[len(user_text) :]
    if _CHAT.match(answer):
        raise UnusableText("the language model commented on the prompt instead of continuing it")
    if answer and answer[0].isalnum() and unicodedata.category(answer[0]) != "Lo":
        raise UnusableText("the language model did not continue the prompt")
    return answer


@dataclass
class PhraseFilter:
    """Splits a streamed continuation into phrases, and yields the usable ones, each with its separator.

    Whether a phrase is used depends only on earlier ones, so that the stream never has to retract one.
    """

    user_text: str
    """The user's prompt; phrases that repeat it are dropped."""
    is_list: bool = False
    """Whether the first phrase has no separator, because no text precedes it."""
    _rest: str = ""
    _separator: str = " "
    _read: int = 0
    _kept: int = 0
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seen = _words(self.user_text)

    @property
    def is_full(self) -> bool:
        """Whether all further phrases would be dropped."""
        return self._kept >= PHRASES_MAX or self._read >= _READ_MAX

    def feed(self, text: str) -> Iterator[str]:
        """The usable phrases that ``text`` completes."""
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
        """The last phrase, unless ``max_tokens`` cut it off."""
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
    """``phrase`` without prompt syntax, invisible characters and quotes; empty if it is unusable."""
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
