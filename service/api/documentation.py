"""What FastAPI cannot derive for the OpenAPI document: bodies that routes parse themselves, and errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api.errors import PROBLEM_TYPE, ErrorCode, Problem

_REFERENCE = "#/components/schemas/{model}"
_FRAMEWORK_ERROR = "HTTPValidationError"
REQUEST_ID_EXAMPLE = "0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11"

EVENT_STREAM: Mapping[str, Any] = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "description": "One event.",
            "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
            "required": ["event", "data"],
        }
    }
}
"""The content of a response with server-sent events."""


class DocumentedApi(FastAPI):
    """A FastAPI application whose OpenAPI document also has the schemas of ``openapi_models``.

    Args:
        openapi_models: returns pydantic models and dataclasses; called when the document is requested.
        complete: changes the finished document in place.
    """

    def __init__(
        self,
        openapi_models: Callable[[], Iterable[type]],
        complete: Callable[[dict[str, Any]], None],
        **options: Any,
    ) -> None:
        self._openapi_models, self._complete = openapi_models, complete
        self._making = threading.Lock()
        self._document: dict[str, Any] | None = None
        super().__init__(**options)

    def setup(self) -> None:
        """Add the route of the document, which is made in a thread: the first time, that takes seconds."""

        async def get_document(request: Request) -> Response:
            return await run_in_threadpool(self._response, request)

        self.add_route("/openapi.json", get_document, include_in_schema=False)

    def _response(self, request: Request) -> Response:
        prefix = request.scope.get("root_path", "").rstrip("/")
        return JSONResponse(self.openapi() | ({"servers": [{"url": prefix}]} if prefix else {}))

    def openapi(self) -> dict[str, Any]:
        """The document, which is made once."""
        with self._making:
            if self._document is None:
                self._document = self._made()
            return self._document

    def _made(self) -> dict[str, Any]:
        document = super().openapi()
        adapters: Any = [(model, "validation", TypeAdapter(model)) for model in (*self._openapi_models(), Problem)]
        _, found = TypeAdapter.json_schemas(adapters, ref_template=_REFERENCE)
        document["components"]["schemas"].update(found["$defs"])
        self._complete(document)
        _drop_framework_errors(document)
        return document


def _drop_framework_errors(document: dict[str, Any]) -> None:
    """Remove the 422 that FastAPI documents for every route with parameters; routes document their own errors."""
    for item in document["paths"].values():
        for operation in item.values():
            if _FRAMEWORK_ERROR in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in (_FRAMEWORK_ERROR, "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def json_body(model: type[BaseModel], example: dict[str, Any], *, is_required: bool = True) -> dict[str, Any]:
    """The OpenAPI entry for a JSON body that the route parses as ``model``."""
    content = {"application/json": {"schema": _reference(model), "example": example}}
    return {"requestBody": {"required": is_required, "content": content}}


def problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries for errors that are problem details."""
    entries: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        media = {"schema": _reference(Problem), "examples": {}}
        entry = entries.setdefault(code.status, {"description": "", "content": {PROBLEM_TYPE: media}})
        entry["description"] = ", ".join(filter(None, (entry["description"], f"`{code.wire}`")))
        entry["content"][PROBLEM_TYPE]["examples"][code.wire] = {"value": _example(code)}
    return entries


def text_errors(*answers: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries for errors in plain text, as pairs of status and body."""
    return {
        status: {"description": text, "content": {"text/plain": {"schema": {"type": "string"}, "example": text}}}
        for status, text in answers
    }


def _example(code: ErrorCode) -> dict[str, Any]:
    return {
        "type": f"/docs/errors#{code.wire}",
        "title": code.title,
        "status": code.status,
        "detail": code.title,
        "code": code.wire,
        "request_id": REQUEST_ID_EXAMPLE,
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}
