"""The header of a GGUF file: names, types and shapes of its tensors; the weights themselves are not read.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from models.errors import ModelUnavailable

GGUF = ".gguf"
TYPES: Mapping[int, tuple[str, int, int]] = MappingProxyType({
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 20: ("IQ4_NL", 32, 18), 23: ("IQ4_XS", 256, 136),
})  # fmt: skip
"""Name, numbers in a block and bytes of a block of each type that diffusers reads, by its number in the format."""
QUANTIZATIONS: Mapping[str, tuple[str, int, int]] = MappingProxyType({"int8": TYPES[8], "int4": TYPES[2]})
"""The types of blocks in which weights are stored, by the value of ``weights`` in the catalog."""

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_ENTRIES_MAX, _DIMENSIONS_MAX = 200_000, 8
_HEADER_MAX_BYTES = 100_000_000
_ALIGNMENT_KEY, _ALIGNMENT_BYTES = b"general.alignment", 32
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each type of fixed size in the metadata."""


def read_gguf(path: Path, size_bytes: int) -> Mapping[str, Any]:
    """The tensors of a GGUF file as the header of a ``.safetensors`` file lists them: dtype, shape and data_offsets.

    Args:
        path: the file.
        size_bytes: its size, which no length in its header may exceed.

    Raises:
        ModelUnavailable: it is no GGUF file, its end is missing, or a tensor is of a type that is not read.
        OSError: it cannot be read.
    """
    with path.open("rb") as opened:
        reader = _Reader(opened, size_bytes)
        if reader.take(4) != _MAGIC or reader.number("I") not in _VERSIONS:
            raise ModelUnavailable(f"its file is no {GGUF} file of version 2 or 3")
        tensors, keys = reader.count(), reader.count()
        alignment = _alignment(reader, keys)
        header = dict(_tensor(reader) for _ in range(tensors))
        start = -(-opened.tell() // alignment) * alignment
    ends = [tensor["data_offsets"][1] for tensor in header.values()]
    if start + max(ends, default=0) > size_bytes:
        raise ModelUnavailable("its file is incomplete: download it again")
    return header


class _Reader:
    """Reads values in their order, and no more than a header may have."""

    def __init__(self, opened: BinaryIO, size_bytes: int) -> None:
        self._opened, self._left = opened, min(size_bytes, _HEADER_MAX_BYTES)

    def take(self, count: int) -> bytes:
        self._spend(count)
        return self._opened.read(count)

    def skip(self, count: int) -> None:
        self._spend(count)
        self._opened.seek(count, 1)

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ModelUnavailable(f"its file is incomplete or no {GGUF} file")

    def number(self, code: str) -> int:
        """An integer of the type that ``struct`` calls ``code``."""
        (found,) = struct.unpack(f"<{code}", self.take(struct.calcsize(code)))
        return int(found)

    def count(self) -> int:
        """How many entries follow."""
        found = self.number("Q")
        if found > _ENTRIES_MAX:
            raise ModelUnavailable(f"its file is no {GGUF} file: its header counts {found} entries")
        return found

    def text(self) -> bytes:
        return self.take(self.number("Q"))


def _alignment(reader: _Reader, keys: int) -> int:
    """Read over the metadata; the bytes that the data of a tensor is aligned to."""
    alignment = _ALIGNMENT_BYTES
    for _ in range(keys):
        key, kind = reader.text(), reader.number("I")
        if key == _ALIGNMENT_KEY and kind == _UINT32:
            alignment = reader.number("I") or 1
        else:
            _skip_value(reader, kind)
    return alignment


def _skip_value(reader: _Reader, kind: int) -> None:
    if kind == _ARRAY:
        kind, length = reader.number("I"), reader.number("Q")
    else:
        length = 1
    if kind in _SIZES:
        reader.skip(length * _SIZES[kind])
    elif kind == _STRING:
        for _ in range(length):
            reader.skip(reader.number("Q"))
    else:
        raise ModelUnavailable(f"its file is no {GGUF} file: its metadata has values of an unknown type")


def _tensor(reader: _Reader) -> tuple[str, dict[str, Any]]:
    name, dimensions = reader.text().decode(errors="replace"), reader.number("I")
    if dimensions > _DIMENSIONS_MAX:
        raise ModelUnavailable(f"its file is no {GGUF} file: a tensor has {dimensions} dimensions")
    shape = [reader.number("Q") for _ in range(dimensions)][::-1]
    number, offset = reader.number("I"), reader.number("Q")
    if number not in TYPES:
        read = ", ".join(type_name for type_name, _, _ in TYPES.values())
        raise ModelUnavailable(f"its tensor {name[:100]!r} is of a type that is not read; these are: {read}")
    dtype, block, block_bytes = TYPES[number]
    end = offset + prod(shape) // block * block_bytes
    return name, {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
