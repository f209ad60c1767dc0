"""Splitting prompts into chunks of tokens, each of which fits into a text encoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.catalog.bounds import PROMPT_CHUNKS_MAX
from models.diffusion.text.embeddings import Embedding
from models.errors import DrawingFailed, ModelUnavailable
from models.jobs.prompts import Break, Fragment, parse

MAX_CHUNKS = 2 * PROMPT_CHUNKS_MAX
"""Chunks that end at a comma are shorter than those that are counted at submission, by less than half; the words of
embeddings are not counted there, so that a prompt of many can have more."""
COMMA_REACH = 20
"""The number of tokens that may move to the next chunk so that a chunk ends with a comma; A1111's default."""


@dataclass(frozen=True)
class Unit:
    """What chunks cannot divide: one token, or one embedding with a placeholder token for each of its vectors."""

    ids: tuple[int, ...]
    weight: float
    embedding: Embedding | None = None


Chunk = list[Unit]


def count_tokens(tokenizer: Any, prompt: str) -> int:
    """The number of tokens of the prompt's text, without special tokens, LoRA tags and ``BREAK``.

    Raises:
        PromptError: as :func:`models.jobs.prompts.parse`.
    """
    texts = (fragment.text for fragment in parse(prompt).fragments if isinstance(fragment, Fragment))
    return sum(len(_ids(tokenizer, text)) for text in texts)


def split(tokenizer: Any, prompt: str, embeddings: Mapping[str, Embedding]) -> list[Chunk]:
    """Split the prompt into chunks of at most ``model_max_length`` - 2 tokens, without special tokens.

    There is at least one chunk. A chunk ends at ``BREAK``, or before the first token that does not fit. If this token
    is no comma, the chunk ends after the last comma among its last ``COMMA_REACH`` tokens, or among the last third of a
    short chunk. These are A1111's rules (``process_tokens``).

    Args:
        tokenizer: of the text encoder.
        prompt: in the syntax of :func:`models.jobs.prompts.parse`.
        embeddings: by the word that they replace. Case is ignored. A word within a longer word, which may contain
            hyphens and underscores, is not replaced.

    Raises:
        PromptError: as :func:`models.jobs.prompts.parse`.
        ModelUnavailable: an embedding in the prompt has more vectors than fit into a chunk.
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
        message = f"the prompt takes {len(chunks)} chunks of tokens, and at most {MAX_CHUNKS} are allowed; shorten it"
        raise DrawingFailed(message, "prompt")
    return chunks


def _units(tokenizer: Any, fragment: Fragment, embeddings: Mapping[str, Embedding]) -> Iterator[Unit]:
    for part in _cut_out(fragment.text, embeddings):
        if isinstance(part, Embedding):
            yield Unit(_comma(tokenizer) * part.length, fragment.weight, part)
        else:
            yield from (Unit((number,), fragment.weight) for number in _ids(tokenizer, part))


def _cut_out(text: str, embeddings: Mapping[str, Embedding]) -> Iterator[str | Embedding]:
    """The text, with the words of embeddings replaced by the embeddings; longer words are found first."""
    names = sorted(embeddings, key=len, reverse=True)
    start = 0
    if names:
        words = "|".join(f"({re.escape(name)})" for name in names)
        for match in re.finditer(rf"(?<![\w-])(?:{words})(?![\w-])", text, re.IGNORECASE):
            assert match.lastindex is not None  # a match always has one of the groups
            yield text[start : match.start()]
            yield embeddings[names[match.lastindex - 1]]
            start = match.end()
    yield text[start:]


def _fill(units: Iterable[Unit], tokenizer: Any) -> list[Chunk]:
    """Fill chunks by the rules of :func:`split`; a single empty chunk if there are no units."""
    room, comma = tokenizer.model_max_length - 2, _comma(tokenizer)
    chunks: list[Chunk] = []
    chunk: Chunk = []
    for unit in units:
        if len(unit.ids) > room:
            message = f"an embedding in the prompt has {len(unit.ids)} vectors, and at most {room} are allowed"
            raise ModelUnavailable(message, "prompt")
        while sum(len(each.ids) for each in chunk) + len(unit.ids) > room:
            end = _end(chunk, unit, comma, min(COMMA_REACH, room // 3))
            chunks.append(chunk[:end])
            chunk = chunk[end:]
        chunk.append(unit)
    return [*chunks, chunk]


def _end(chunk: Chunk, following: Unit, comma: tuple[int, ...], reach: int) -> int:
    """The number of units that stay in a full chunk when ``following`` is the next unit."""
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
