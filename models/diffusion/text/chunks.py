"""Prompts as chunks of tokens, each as long as a text encoder can read at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.diffusion.text.embeddings import Embedding
from models.errors import DrawingFailed, ModelUnavailable
from models.jobs.prompts import Break, Fragment, parse

MAX_CHUNKS = 32
"""More than 10 000 characters of English take; without a bound, a prompt of nothing but BREAK would fill the memory."""
COMMA_REACH = 20
"""How many tokens a chunk may lose to the next one so that it ends with a comma; A1111's default."""


@dataclass(frozen=True)
class Unit:
    """What cannot be divided between chunks: a token, or an embedding with as many placeholders as it has vectors."""

    ids: tuple[int, ...]
    weight: float
    embedding: Embedding | None = None


Chunk = list[Unit]


def count_tokens(tokenizer: Any, prompt: str) -> int:
    """How many tokens the prompt's text takes, special ones not counted; tags and ``BREAK`` are no text.

    Raises:
        PromptError: as :func:`models.jobs.prompts.parse`.
    """
    texts = (fragment.text for fragment in parse(prompt).fragments if isinstance(fragment, Fragment))
    return sum(len(_ids(tokenizer, text)) for text in texts)


def split(tokenizer: Any, prompt: str, embeddings: Mapping[str, Embedding]) -> list[Chunk]:
    """The prompt in chunks of at most ``model_max_length`` - 2 tokens, without special tokens; at least one chunk.

    A chunk ends before the token that does not fit, or, if that is not itself a comma, after the last comma among its
    last ``COMMA_REACH`` tokens, in short chunks among the last third; and it ends at ``BREAK``. A1111's rules
    (``process_tokens``).

    Args:
        tokenizer: the text encoder's.
        prompt: in the syntax of :func:`models.jobs.prompts.parse`.
        embeddings: by the word that they stand for. Case does not matter, and a word is not part of a longer one,
            hyphens and underscores included.

    Raises:
        PromptError: as :func:`models.jobs.prompts.parse`.
        ModelUnavailable: an embedding in the prompt has more vectors than a chunk can hold.
        DrawingFailed: there are more than ``MAX_CHUNKS`` chunks.
    """
    chunks: list[Chunk] = []
    section: Chunk = []
    for fragment in parse(prompt).fragments:
        if isinstance(fragment, Break):
            chunks += _fill(section, tokenizer)
            section = []
        else:
            section += _units(tokenizer, fragment, embeddings)
    if section or not chunks:
        chunks += _fill(section, tokenizer)
    if len(chunks) > MAX_CHUNKS:
        raise DrawingFailed(f"the prompt takes {len(chunks)} chunks of tokens; shorten it to {MAX_CHUNKS}")
    return chunks


def _units(tokenizer: Any, fragment: Fragment, embeddings: Mapping[str, Embedding]) -> Iterator[Unit]:
    for part in _cut_out(fragment.text, embeddings):
        if isinstance(part, Embedding):
            yield Unit(_comma(tokenizer) * part.length, fragment.weight, part)
        else:
            yield from (Unit((number,), fragment.weight) for number in _ids(tokenizer, part))


def _cut_out(text: str, embeddings: Mapping[str, Embedding]) -> Iterator[str | Embedding]:
    """The text with the words that embeddings stand for cut out of it, the longest first."""
    names = sorted(embeddings, key=len, reverse=True)
    start = 0
    if names:
        words = "|".join(f"({re.escape(name)})" for name in names)
        for match in re.finditer(rf"(?<![\w-])(?:{words})(?![\w-])", text, re.IGNORECASE):
            assert match.lastindex is not None  # one of the groups did match
            yield text[start : match.start()]
            yield embeddings[names[match.lastindex - 1]]
            start = match.end()
    yield text[start:]


def _fill(units: Iterable[Unit], tokenizer: Any) -> list[Chunk]:
    """Chunks as full as the rules of :func:`split` allow; a single empty one for no units."""
    room, comma = tokenizer.model_max_length - 2, _comma(tokenizer)
    chunks: list[Chunk] = []
    chunk: Chunk = []
    for unit in units:
        if len(unit.ids) > room:
            raise ModelUnavailable(f"an embedding in the prompt has {len(unit.ids)} vectors; {room} are possible")
        while sum(len(each.ids) for each in chunk) + len(unit.ids) > room:
            end = _end(chunk, unit, comma, min(COMMA_REACH, room // 3))
            chunks.append(chunk[:end])
            chunk = chunk[end:]
        chunk.append(unit)
    return [*chunks, chunk]


def _end(chunk: Chunk, following: Unit, comma: tuple[int, ...], reach: int) -> int:
    """How many units of a full chunk stay in it when ``following`` is to come."""
    after = 0
    if following.embedding is None and following.ids != comma:
        for count in range(len(chunk), 0, -1):
            unit = chunk[count - 1]
            if after >= reach:
                break
            if unit.embedding is None and unit.ids == comma:
                return count
            after += len(unit.ids)
    return len(chunk)


def _comma(tokenizer: Any) -> tuple[int, ...]:
    return tuple(_ids(tokenizer, ","))


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return ids
