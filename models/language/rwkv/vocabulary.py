"""Text to tokens and back, with the World vocabulary of the package ``rwkv``."""

from __future__ import annotations

import ast
import codecs
from collections.abc import Iterator, Mapping
from importlib.resources import files

from models.language.extras import require_extra

END = 0
"""The end-of-text token; it has no bytes in the vocabulary."""
_WORLD = "rwkv_vocab_v20230424.txt"
_HEAD_BYTES = 2
"""The longest piece is stored for each beginning of this many bytes, which bounds the greedy search."""


class Vocabulary:
    """Pieces of bytes by token; contains all 256 single bytes, so that every text can be encoded."""

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
        """The smallest vocabulary that a model may have."""
        return max(self._pieces) + 1

    def encode(self, text: str) -> list[int]:
        """The tokens of ``text``, each the longest piece that matches (greedy).

        Raises:
            UnicodeEncodeError: ``text`` contains half of a surrogate pair.
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
        """The bytes of ``token``; empty for :data:`END` and for unassigned tokens."""
        return self._pieces.get(token, b"")


def _entry(line: str) -> tuple[int, bytes]:
    """Parse a line such as ``300 'ab' 2``: the token, its piece as a Python literal, and its length in bytes."""
    token, _, rest = line.partition(" ")
    piece = ast.literal_eval(rest.rpartition(" ")[0])
    return int(token), piece if isinstance(piece, bytes) else piece.encode()


class TextStream:
    """Decodes tokens incrementally; a character is held back until all its bytes have come."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The characters that ``token`` completes; invalid bytes become U+FFFD."""
        return self._decoder.decode(self._vocabulary.piece(token))
