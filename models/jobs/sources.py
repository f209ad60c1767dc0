"""Sources: the strings by which a request names the images and archives that its job starts from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from models.errors import Problem, ProblemCode
from models.jobs.parameters import DECODED, Field, SourceRole, declared, sources
from models.jobs.params import JobParams, JobRequest
from models.jobs.urls import MalformedUrl, parse_url, without_credentials

INPUT = "input:"
"""The prefix of the SHA-256, in hexadecimal, of the bytes of an uploaded image or archive."""
IMAGE = "image:"
"""The prefix of the id of an image that this server generated."""
URL_MAX_CHARS = 4096

_STORED = re.compile(r"input:[0-9a-f]{64}|image:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FORMS = "an http or https URL, input:<sha256> or image:<id>"

_Value = TypeVar("_Value")
_Params = TypeVar("_Params", bound=JobParams)


def is_url(source: str) -> bool:
    """Whether the image must be fetched over HTTP."""
    return source[:8].lower().startswith(("http://", "https://"))


def source_problem(source: str, role: SourceRole = "image") -> Problem | None:
    """Why ``source`` cannot name an image or, by its role, an archive; ``None`` if it may name one."""
    if role not in DECODED and is_url(source):
        return Problem("cannot be a URL: upload the file first", ProblemCode.MALFORMED)
    if role == "archive" and not source.startswith(INPUT):
        return Problem("must be input:<sha256> of an uploaded zip archive", ProblemCode.MALFORMED)
    if not is_url(source):
        return None if _STORED.fullmatch(source) else Problem(f"must be {_FORMS}", ProblemCode.MALFORMED)
    if len(source) > URL_MAX_CHARS:
        message = f"a URL may have at most {URL_MAX_CHARS} characters"
        return Problem(message, ProblemCode.TOO_LONG, high=URL_MAX_CHARS)
    message_of_url = url_problem(source)
    return None if message_of_url is None else Problem(message_of_url, ProblemCode.MALFORMED)


def url_problem(url: str) -> str | None:
    """Why nothing can be fetched from ``url``, as far as the text shows; ``None`` if it may work."""
    try:
        parse_url(url)
    except MalformedUrl as error:
        return str(error)
    return None


def sources_of(request: JobRequest) -> Iterator[tuple[str, str, SourceRole]]:
    """Path, source and role of all that ``request`` starts from, as in ``("mask.image", "input:...", "mask")``."""
    return sources(type(request), request)


def image_sources(params: JobParams) -> tuple[str, ...]:
    """The ids of the generated images that a job starts from, each once."""
    found = (source.removeprefix(IMAGE) for source in params.sources if source.startswith(IMAGE))
    return tuple(dict.fromkeys(found))


def shown_params(params: _Params) -> _Params:
    """``params`` for others to see: without the user names and passwords that URLs in it contain."""
    found = [(path, source) for path, source, _ in sources(params.declaration, params) if is_url(source)]
    replaced = {path: without_credentials(source) for path, source in found if "@" in source}
    return with_sources(params, replaced, declaration=params.declaration) if replaced else params


def with_sources(
    request: _Value, replaced: Mapping[str, str], prefix: str = "", declaration: type | None = None
) -> _Value:
    """A copy of ``request`` with other sources at the paths in ``replaced``.

    Args:
        declaration: the class that declares the fields, if ``request`` is effective parameters.
    """
    if not replaced:
        return request
    changes: dict[str, Any] = {}
    for field in declared(declaration or type(request)):
        found, path = getattr(request, field.name, None), prefix + field.name
        if found is None:
            continue
        if field.parameter.source is None and field.nested is None:
            continue
        if isinstance(found, tuple):
            changes[field.name] = tuple(
                _replaced(field, each, replaced, f"{path}[{index}]") for index, each in enumerate(found)
            )
        else:
            changes[field.name] = _replaced(field, found, replaced, path)
    return replace(request, **changes)  # type: ignore[type-var]


def _replaced(field: Field, value: Any, replaced: Mapping[str, str], path: str) -> Any:
    return replaced.get(path, value) if field.nested is None else with_sources(value, replaced, path + ".")
