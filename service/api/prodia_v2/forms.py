"""Responses of ``multipart/form-data``: a job, and its image if there is one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from service.api.multipart import FORM
from service.api.responses import JSON


def form_response(
    job: Mapping[str, Any],
    output: tuple[str, str, bytes] | None = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The form with the job, and with its image if there is one: filename, media type and bytes.

    Both Prodia's own client and Vercel's AI SDK can parse this shape: CRLF, a boundary without quotes, and a filename
    on each part.
    """
    boundary = f"photogram-{uuid.uuid4().hex}"
    parts = _part(boundary, "job", ("job.json", JSON, json.dumps(job).encode()))
    if output is not None:
        parts += _part(boundary, "output", output)
    body = parts + f"--{boundary}--\r\n".encode()
    return Response(body, status, headers, f"{FORM}; boundary={boundary}")


def _part(boundary: str, name: str, content: tuple[str, str, bytes]) -> bytes:
    filename, media_type, data = content
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    return head.encode() + data + b"\r\n"
