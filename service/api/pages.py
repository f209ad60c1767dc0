"""The pages for people: ``/docs``, ``/docs/errors``, and their assets; no page names another host."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse
from starlette.responses import Response

from service.api.errors import ApiError, ErrorCode

_FOLDER = Path(__file__).parent / "assets"
_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "docs.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_HEADERS = {
    # Swagger UI sets styles of elements, and shows images of answers as blobs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_HEADING = re.compile(r"(#{1,3}) (.+)")
_COMMENT = re.compile(r"<!-- .*? -->\n")
_CODE = re.compile(r"`(\w+)`")
_BEGINNING = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Errors of Photogram</title></head><body>\n'
)

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def get_docs() -> Response:
    """All routes, by Swagger UI."""
    return FileResponse(_FOLDER / "docs.html", media_type="text/html", headers=_HEADERS)


@router.get("/docs/errors")
def get_errors() -> Response:
    """The explanation of all errors; problem details link to its sections."""
    return HTMLResponse(_errors_page(), headers=_HEADERS)


@router.get("/docs/assets/{name}")
def get_asset(name: str) -> Response:
    """A file that ``/docs`` needs."""
    if name not in _TYPES:
        raise ApiError(ErrorCode.NOT_FOUND, "there is no such route")
    return FileResponse(_FOLDER / name, media_type=_TYPES[name], headers=_HEADERS)


@cache
def _errors_page() -> str:
    """``docs/errors.md`` as HTML: headings that links can name, no comments, and everything else as it is."""
    parts, text = [_BEGINNING], ""
    for line in _COMMENT.sub("", (_FOLDER / "errors.md").read_text(encoding="utf-8")).splitlines():
        heading = _HEADING.fullmatch(line)
        if heading is None:
            text += html.escape(line) + "\n"
            continue
        parts += [_preformatted(text), _heading(len(heading[1]), heading[2])]
        text = ""
    return "\n".join([*parts, _preformatted(text), "</body></html>\n"])


def _preformatted(text: str) -> str:
    return f"<pre>{text.strip()}</pre>" if text.strip() else ""


def _heading(level: int, text: str) -> str:
    code = _CODE.match(text)
    name = code[1] if code else re.sub(r"\W+", "-", text.lower()).strip("-")
    return f'<h{level} id="{name}">{html.escape(text.replace("`", ""))}</h{level}>'
