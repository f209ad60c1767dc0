"""Prompts: plain texts become tokens of one chunk, as in the service; what needs more than that is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from photogram_runtime.errors import InvalidRequest, PackageDamaged

Ids = npt.NDArray[np.int64]

CHARACTERS_MAX = 10_000
_TOKEN = re.compile(
    r"""
      \\(?P<escaped>[()\[\]\\])
    | (?P<tag><(?:lora|lyco|hypernet):)
    | (?P<bracket>[(\[])
    """,
    re.VERBOSE,
)
_BREAK, _AND = re.compile(r"\bBREAK\b"), re.compile(r"\bAND\b")


def plain(prompt: str, name: str) -> str:
    r"""The text of ``prompt``, with the escapes ``\( \) \[ \] \\`` resolved, as the service encodes it.

    Args:
        name: of the argument, ``prompt`` or ``negative_prompt``; ``AND`` is an ordinary word in a negative prompt.

    Raises:
        InvalidRequest: it is no text, is too long, or has a syntax that only the service understands.
    """
    if not isinstance(prompt, str):
        raise InvalidRequest(f"{name} must be a text, not {type(prompt).__name__}")
    if len(prompt) > CHARACTERS_MAX:
        raise InvalidRequest(f"{name} has {len(prompt)} characters, and at most {CHARACTERS_MAX} are allowed")
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise InvalidRequest(f"{name} has half of a surrogate pair, which is no character")
    if name == "prompt" and _AND.search(prompt):
        raise _beyond(name, "AND between parts")
    text = _TOKEN.sub(lambda token: _resolved(token, name), prompt)
    if _BREAK.search(text):
        raise _beyond(name, "BREAK")
    return text


def _resolved(token: re.Match[str], name: str) -> str:
    if token["tag"]:
        raise _beyond(name, f"the tag {token['tag']}...>")
    if token["bracket"]:
        raise _beyond(name, f"the bracket {token['bracket']} of a weight; for the character itself write \\{token[0]}")
    return token["escaped"]


def _beyond(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{name} has {what}: weights, LoRAs and parts of prompts are for the service only")


class Tokens:
    """Makes tokens of texts.

    Args:
        file: ``tokenizer.json`` of the ``tokenizers`` library.
        length: the tokens of one chunk, with those of its start and its end.
        start_id: the first token of a chunk.
        end_id: the token after the text.
        pad_id: the token that fills up the chunk.

    Raises:
        PackageDamaged: the file cannot be read.
    """

    def __init__(self, file: Path, *, length: int, start_id: int, end_id: int, pad_id: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises no class of its own
            raise PackageDamaged(f"{file.name} is no tokenizer: {str(error)[:200]}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._length, self._start_id, self._end_id, self._pad_id = length, start_id, end_id, pad_id

    def encode(self, text: str, name: str) -> tuple[Ids, Ids]:
        """The ids of ``text`` [1, length], and the mask [1, length], which is 1 for all tokens but the padding.

        Raises:
            InvalidRequest: the text has more tokens than fit into one chunk.
        """
        found = self._tokenizer.encode(text, add_special_tokens=False).ids
        room = self._length - 2
        if len(found) > room:
            raise InvalidRequest(f"{name} has {len(found)} tokens, and at most {room} can be encoded; shorten it")
        ids = [self._start_id, *found, self._end_id]
        padding = self._length - len(ids)
        mask = [1] * len(ids) + [0] * padding
        return np.array([ids + [self._pad_id] * padding]), np.array([mask])
