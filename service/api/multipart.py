"""Bodies of ``multipart/form-data``, read as RFC 7578 and RFC 2046 say, by the parts' own bytes and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.datastructures import Headers

from models.errors import FieldProblem, InvalidTicket

FORM = "multipart/form-data"
PARTS_MAX = 100
_HEAD_MAX_BYTES = 8192
_BOUNDARY_MAX_CHARS = 70
"""As RFC 2046 has it."""
_PARAMETER = re.compile(r';\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)')


@dataclass(frozen=True)
class FormPart:
    """One field of a form; ``filename`` is ``None`` where the client gave none."""

    name: str
    filename: str | None
    data: bytes


def is_form(headers: Headers) -> bool:
    """Whether the request says that its body is a form of this sort."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def parse_form(body: bytes, content_type: str) -> list[FormPart]:
    """The fields in ``body``, in their order; names may come more than once.

    Raises:
        InvalidTicket: it is no such form: there is no boundary, the end is missing, or a part has no name.
    """
    boundary = _parameters(content_type).get("boundary", "")
    if not 0 < len(boundary) <= _BOUNDARY_MAX_CHARS:
        raise _broken("its Content-Type names no boundary, or a longer one than 70 characters")
    try:
        return [_part(raw) for raw in _split(body, b"--" + boundary.encode())]
    except UnicodeDecodeError as error:
        raise _broken("a part's headers are not UTF-8") from error


def _split(body: bytes, delimiter: bytes) -> Iterator[bytes]:
    """What lies between the delimiters; each of them begins a line, the last one is followed by two more dashes."""
    start, count = _after_first(body, delimiter), 0
    while body[start : start + 2] != b"--":
        start = body.find(b"\r\n", start) + 2
        end = body.find(b"\r\n" + delimiter, start - 2) if start > 1 else -1
        if end < 0:
            raise _broken("it ends before its last boundary")
        count += 1
        if count > PARTS_MAX:
            raise _broken(f"it has more than {PARTS_MAX} parts")
        yield body[start : max(start, end)]
        start = end + 2 + len(delimiter)


def _after_first(body: bytes, delimiter: bytes) -> int:
    found = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if found == 1:
        raise _broken("its boundary is nowhere in it")
    return found + len(delimiter)


def _part(raw: bytes) -> FormPart:
    head, blank, data = raw.partition(b"\r\n\r\n")
    if not blank or len(head) > _HEAD_MAX_BYTES:
        raise _broken("a part has no headers, or too long ones")
    for line in head.decode().split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            parameters = _parameters(value)
            if "name" in parameters:
                return FormPart(parameters["name"], _filename(parameters), data)
    raise _broken("a part has no name")


def _parameters(value: str) -> dict[str, str]:
    """The ``; key=value`` of a header, quotes taken away; of a key given twice, the first."""
    found: dict[str, str] = {}
    for key, text in _PARAMETER.findall(value):
        plain = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        found.setdefault(key.lower(), plain)
    return found


def _filename(parameters: dict[str, str]) -> str | None:
    """The file's name; ``filename*`` is how RFC 5987 writes one that is not ASCII."""
    encoded = parameters.get("filename*")
    return parameters.get("filename") if encoded is None else unquote(encoded.rpartition("'")[2])


def _broken(reason: str) -> InvalidTicket:
    return InvalidTicket([FieldProblem("body", f"cannot be read as {FORM}: {reason}")])
