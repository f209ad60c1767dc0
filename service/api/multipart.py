"""Parsing of ``multipart/form-data`` bodies (RFC 7578, RFC 2046).

The parsers on PyPI were compared and not used: neither reads the ``filename*`` of RFC 5987, python-multipart refuses a
preamble, and multipart installs a module under a name that python-multipart also claims. With either, this module would
have 20 to 40 lines less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.datastructures import Headers

from models.errors import FieldProblem, InvalidTicket, ProblemCode
from service.api.errors import ApiError, ErrorCode

FORM = "multipart/form-data"
PARTS_MAX = 100
TEXTS_MAX_BYTES = 1 << 20
_HEAD_MAX_BYTES = 8192
_BOUNDARY_MAX_CHARS = 70
"""The limit of RFC 2046."""
_PARAMETER = re.compile(r';\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)')


@dataclass(frozen=True)
class FormPart:
    """One part of a form; ``filename`` is ``None`` if the client sent none."""

    name: str
    filename: str | None
    data: bytes


def is_form(headers: Headers) -> bool:
    """Whether the Content-Type is ``multipart/form-data``."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def parse_form(body: bytes, content_type: str, texts_max_bytes: int | None = TEXTS_MAX_BYTES) -> list[FormPart]:
    """The parts of ``body``, in order; several parts may have the same name.

    An empty file with an empty filename, which browsers send for a file field in which nothing was chosen, is left out.

    Args:
        texts_max_bytes: how many bytes the parts without a filename may have together; ``None`` sets no limit.

    Raises:
        ApiError: those parts have more bytes.
        InvalidTicket: the body is not such a form: it has no boundary or no end, or a part has no name.
    """
    boundary = _parameters(content_type).get("boundary", "")
    if not 0 < len(boundary) <= _BOUNDARY_MAX_CHARS:
        raise _broken(f"its Content-Type must name a boundary of at most {_BOUNDARY_MAX_CHARS} characters")
    try:
        found = [_part(raw) for raw in _split(body, b"--" + boundary.encode())]
    except UnicodeDecodeError as error:
        raise _broken("a part's headers are not UTF-8") from error
    parts = [part for part in found if part.filename != "" or part.data]
    if texts_max_bytes is not None and sum(len(part.data) for part in parts if part.filename is None) > texts_max_bytes:
        message = f"the parts of a form that are not files may have at most {texts_max_bytes} bytes together"
        raise ApiError(ErrorCode.BODY_TOO_LARGE, message)
    return parts


def _split(body: bytes, delimiter: bytes) -> Iterator[bytes]:
    """The bytes between the delimiters. A delimiter starts a line; two dashes follow the last one."""
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
        raise _broken("its boundary does not occur in it")
    return found + len(delimiter)


def _part(raw: bytes) -> FormPart:
    head, blank, data = raw.partition(b"\r\n\r\n")
    if not blank or len(head) > _HEAD_MAX_BYTES:
        raise _broken(f"a part has no headers, or headers of more than {_HEAD_MAX_BYTES} bytes")
    for line in head.decode().split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            parameters = _parameters(value)
            if "name" in parameters:
                return FormPart(parameters["name"], _filename(parameters), data)
    raise _broken("a part has no name")


def _parameters(value: str) -> dict[str, str]:
    """The ``; key=value`` parameters of a header, without quotes; the first value of a repeated key."""
    found: dict[str, str] = {}
    for key, text in _PARAMETER.findall(value):
        unquoted = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        found.setdefault(key.lower(), unquoted)
    return found


def _filename(parameters: dict[str, str]) -> str | None:
    """The filename; ``filename*`` (RFC 5987) holds one that is not ASCII."""
    encoded = parameters.get("filename*")
    return parameters.get("filename") if encoded is None else unquote(encoded.rpartition("'")[2])


def _broken(reason: str) -> InvalidTicket:
    return InvalidTicket([FieldProblem("body", f"cannot be read as {FORM}: {reason}", ProblemCode.MALFORMED)])
