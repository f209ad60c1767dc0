"""Text to tokens and back, by the World vocabulary that the ``rwkv`` package brings along."""

from __future__ import annotations

import ast
import codecs
from collections.abc import Iterator, Mapping
from importlib.resources import files

from models.language.extras import require_extra

END = 0
"""The token that ends a text; the vocabulary gives it no bytes."""
_WORLD = "rwkv_vocab_v20230424.txt"
_HEAD_BYTES = 2
"""Pieces are looked up no longer than the longest one that starts with the same bytes, so many of them."""


class Vocabulary:
    """Pieces of bytes and their numbers; all 256 single bytes are among them, so that every text can be told."""

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        self._pieces = dict(pieces)
        self._tokens = {piece: token for token, piece in pieces.items()}
        self._longest: dict[bytes, int] = {}
        for piece in self._tokens:
            head = piece[:_HEAD_BYTES]
            self._longest[head] = max(self._longest.get(head, 0), len(piece))

    @classmethod
    def world(cls) -> Vocabulary:
        """The vocabulary of all World models, 65529 pieces; reading it takes about 0.25 s.

        Raises:
            ExtraMissing: the package ``rwkv``, which carries the file, is not installed.
        """
        require_extra("rwkv", "the RWKV server")
        text = files("rwkv").joinpath(_WORLD).read_text("utf-8")
        return cls(dict(map(_entry, text.split("\n")[:-1])))

    @property
    def size(self) -> int:
        """How many tokens a model must have at least."""
        return max(self._pieces) + 1

    def encode(self, text: str) -> list[int]:
        """The tokens of ``text``: the longest piece first, wherever one ends.

        Raises:
            UnicodeEncodeError: ``text`` has half of a surrogate pair, and is no text.
        """
        return list(self._encoded(text.encode()))

    def _encoded(self, text: bytes) -> Iterator[int]:
        position = 0
        while position < len(text):
            length = self._longest.get(text[position : position + _HEAD_BYTES], 1)
            while (token := self._tokens.get(text[position : position + length])) is None:
                length -= 1
            yield token
            position += len(self._pieces[token])

    def piece(self, token: int) -> bytes:
        """The bytes of ``token``; nothing for :data:`END`, and for numbers that the vocabulary leaves unused."""
        return self._pieces.get(token, b"")


def _entry(line: str) -> tuple[int, bytes]:
    """A line such as ``300 'ab' 2``: the token, its piece as Python writes it, and the piece's length in bytes."""
    token, _, rest = line.partition(" ")
    piece = ast.literal_eval(rest.rpartition(" ")[0])
    return int(token), piece if isinstance(piece, bytes) else piece.encode()


class TextStream:
    """Tokens as text while they come: a character is held back until all its bytes are there."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The characters that ``token`` completes; bytes that belong to none become U+FFFD."""
        return self._decoder.decode(self._vocabulary.piece(token))
