"""JSON responses in ASCII."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

JSON = "application/json"


def json_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``document``, a JSON-ready value, as a response.

    ASCII only: texts of clients and of language models may hold half of a surrogate pair, which UTF-8 cannot encode.
    """
    return Response(json.dumps(document), status, headers, JSON)
