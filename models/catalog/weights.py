"""Files of weights on disk: which of them are found, and what is wrong with one, as far as its header shows.

Nothing here reads the weights themselves, so that the gateway can say what is wrong when it lists a file and when a job
names it, instead of a worker when it draws.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

from models.catalog.gguf_files import GGUF, read_gguf
from models.errors import ModelUnavailable

WEIGHTS = (".safetensors", ".pth", ".onnx")
PICKLES = (".pt", ".ckpt", ".bin")
"""Suffixes of pickles, which can run code; such files are listed, so that nobody looks for them, and never read."""
SAFETENSORS = ".safetensors"

_DEPTH_MAX, _FILES_MAX = 8, 20_000
_LENGTH_BYTES = 8
_HEADER_MAX_BYTES = 100_000_000
"""The bound that the format sets."""
_DIMENSIONS_MAX, _COUNT_END = 8, 1 << 63
_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4,
    "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of a number of each dtype."""
_OTHER_DTYPES = ("F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64")
"""Those whose sizes are not checked."""
_NOT_REGULAR = "it is no regular file"
_HTML = (b"<!doctype", b"<html", b"<?xml", b"<head")
_JSON_START = b"{"


def walk(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder at or below ``folder`` with the models in it, sorted by name: weights, and diffusers folders.

    Symbolic links are followed, each real folder once. Names that begin with a dot are left out: they are what file
    managers and downloads leave behind.
    """
    pending, seen, left = [(folder, 0)], set[str](), _FILES_MAX
    while pending and left > 0:
        current, depth = pending.pop(0)
        real = os.path.realpath(current)
        if real in seen or not current.is_dir():
            continue
        seen.add(real)
        shown = [path for path in sorted(_entries(current)) if not path.name.startswith((".", "__MACOSX"))][:left]
        left -= len(shown)
        yield current, [path for path in shown if _is_model(path)]
        if depth < _DEPTH_MAX:
            pending += [(path, depth + 1) for path in shown if path.is_dir() and not _is_model(path)]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # a folder that may not be read
        return []


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return (path / "config.json").is_file()
    return path.suffix.lower() in (*WEIGHTS, *PICKLES)


def file_problem(path: Path) -> str | None:
    """What is wrong with a file of weights, without its path; ``None`` if nothing is, as far as its header shows."""
    if path.suffix.lower() in PICKLES:
        return f"it is a pickle file ({path.suffix}), which can run code: convert it to {SAFETENSORS}"
    if path.suffix != SAFETENSORS and path.suffix.lower() == SAFETENSORS:
        return f"its name ends in {path.suffix}, which libraries do not know: rename it to {SAFETENSORS} in lower case"
    try:
        status = path.stat()
        return _problem(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


@lru_cache(8192)
def _problem(path: Path, modified_at_ns: int, size_bytes: int) -> str | None:
    if not path.is_file():
        return None if path.is_dir() else _NOT_REGULAR  # opening a named pipe would wait for ever
    if size_bytes == 0:
        return "its file is empty"
    if path.suffix.lower() not in (SAFETENSORS, GGUF):
        return _foreign(path)
    try:
        read_header(path)
    except ModelUnavailable as error:
        return str(error)
    return None


def read_header(path: Path) -> Mapping[str, Any]:
    """The header of a ``.safetensors`` or ``.gguf`` file: dtype, shape and place of each tensor by name.

    The format of the former: https://github.com/huggingface/safetensors#format. The last headers are kept.

    Raises:
        ModelUnavailable: the file cannot be read, is in another format, or its end is missing.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelUnavailable(_NOT_REGULAR)
        return _header(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise ModelUnavailable(f"its file cannot be read: {error.strerror}") from error


@lru_cache(2)  # headers of large files take megabytes; what they tell is cached instead
def _header(path: Path, modified_at_ns: int, size_bytes: int) -> Mapping[str, Any]:
    return read_gguf(path, size_bytes) if path.suffix.lower() == GGUF else _safetensors_header(path, size_bytes)


def header_end_of(start: bytes) -> int:
    """The number of bytes up to the end of the header, told by the first bytes of a ``.safetensors`` file."""
    return _LENGTH_BYTES + int.from_bytes(start[:_LENGTH_BYTES], "little")


def _safetensors_header(path: Path, size_bytes: int) -> Mapping[str, Any]:
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        if not 2 <= length <= min(_HEADER_MAX_BYTES, size_bytes - _LENGTH_BYTES):
            raise ModelUnavailable(_foreign(path) or "its file is incomplete or no .safetensors file")
        text = opened.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable(_foreign(path) or "its file is no .safetensors file") from error
    if not isinstance(header, dict):
        raise ModelUnavailable("its file is no .safetensors file")
    places = sorted(_place(name, tensor) for name, tensor in header.items() if name != "__metadata__")
    _check_places(places, size_bytes - _LENGTH_BYTES - length)
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ModelUnavailable("its header contradicts itself: its metadata are no texts")
    return header


def _check_places(places: Sequence[tuple[int, int]], held_bytes: int) -> None:
    """Raise :class:`ModelUnavailable` unless the tensors follow each other and fill the file, as the format demands."""
    end = places[-1][1] if places else 0
    if end > held_bytes:
        raise ModelUnavailable("its file is incomplete: download it again")
    if any(begin != before for (_, before), (begin, _) in pairwise([(0, 0), *places])):
        raise ModelUnavailable("its header contradicts itself: its tensors overlap or leave gaps")
    if end < held_bytes:
        raise ModelUnavailable(f"its file is damaged: {held_bytes - end} bytes follow its last tensor")


def _place(name: str, tensor: object) -> tuple[int, int]:
    """Where the bytes of a tensor begin and end, after the header.

    Raises:
        ModelUnavailable: the header of the tensor is none, or contradicts itself.
    """
    facts = tensor if isinstance(tensor, dict) else {}
    shape, offsets = facts.get("shape"), facts.get("data_offsets")
    if not (_are_counts(shape) and _are_counts(offsets) and len(offsets) == 2 and offsets[0] <= offsets[1]):
        raise ModelUnavailable("its file is no .safetensors file")
    dtype, held = str(facts.get("dtype")), offsets[1] - offsets[0]
    if dtype not in _SIZES and dtype not in _OTHER_DTYPES:
        raise ModelUnavailable(f"its tensor {name[:100]!r} has the unknown type {dtype[:20]!r}")
    size = _SIZES.get(dtype)
    if size is not None and prod(shape) * size != held:
        raise ModelUnavailable(
            f"its header contradicts itself: the tensor {name[:100]!r} of the shape {shape} has {held} bytes"
        )
    return offsets[0], offsets[1]


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    is_short = isinstance(value, list) and len(value) <= _DIMENSIONS_MAX
    return is_short and all(type(each) is int and 0 <= each < _COUNT_END for each in value)


def _foreign(path: Path) -> str | None:
    """What the file is instead of weights, if its first bytes tell."""
    with path.open("rb") as opened:
        start = opened.read(512).lstrip().lower()
    if start.startswith(_HTML):
        return "its file is a web page and not weights: download it again, signed in if the site asks for that"
    if start.startswith(_JSON_START) or start.startswith(b"version https://git-lfs"):
        return "its file is a text and not weights: download it again"
    if path.suffix.lower() == SAFETENSORS and start.startswith((b"pk\3\4", b"\x80\2", b"\x80\4")):
        return f"its file is a pickle, which can run code, under the name of a {SAFETENSORS} file: convert it"
    return None
