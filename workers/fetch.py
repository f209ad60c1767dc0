"""Fetching images from URLs that clients choose: redirects, credentials, limits, and what is said of failures.

Every hop of a redirect is checked like the first URL. One deadline covers everything from the resolution of the first
host to the last byte.
"""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass, replace
from urllib.parse import urljoin

from models.errors import InputUnavailable
from models.jobs.urls import FetchPolicy, MalformedUrl, WebUrl, parse_url, unreachable
from service.backbone.guarded_http import Deadline, Unreachable, open_response
from workers.fetching.bodies import read_body

_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECT_MAX_CHARS = 16_384
_HEADERS = {"Accept": "image/*,*/*;q=0.8"}


@dataclass(frozen=True, kw_only=True)
class FetchLimits(FetchPolicy):
    """The limits of a fetch, and from where it may be."""

    max_bytes: int
    """For one image, as sent and decompressed."""
    deadline_s: float = 15.0
    """For all images of a job together, with redirects."""
    redirects_max: int = 5


class FetchTimeout(InputUnavailable):
    """The host did not give the image in time."""


def fetch(url: str, limits: FetchLimits, deadline: Deadline) -> bytes:
    """The body at ``url``; its content type is ignored.

    Raises:
        InputUnavailable: the URL is not allowed, the host does not answer, or the body is beyond the limits.
    """
    try:
        following: WebUrl | None = parse_url(url)
    except MalformedUrl as error:
        raise InputUnavailable(f"the URL of the image cannot be fetched: {error}") from error
    for _ in range(limits.redirects_max + 1):
        assert following is not None
        body, following = _attempt(following, limits, deadline)
        if body is not None:
            return body
    raise InputUnavailable(f"the URL redirects more than {limits.redirects_max} times")


def _attempt(url: WebUrl, limits: FetchLimits, deadline: Deadline) -> tuple[bytes | None, WebUrl | None]:
    """The body at ``url``; or ``None``, and the URL that it redirects to."""
    problem = limits.problem(url)
    if problem is not None:
        raise InputUnavailable(problem)
    try:
        with open_response(url, limits, deadline, _HEADERS) as response:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                return None, _redirected(url, location)
            if response.status != http.client.OK:
                raise InputUnavailable(f"{url.host} answers {response.status} instead of an image")
            return read_body(response, limits.max_bytes, url.host), None
    except Unreachable as error:
        late = FetchTimeout if not deadline.left_s else InputUnavailable
        raise late(unreachable(url.host)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if not deadline.left_s:
            raise FetchTimeout(f"{url.host} did not give the image within {limits.deadline_s:g} s") from error
        raise InputUnavailable(f"{url.host} {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What went wrong after the connection was made, without anything that the host sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a TLS certificate that is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"cannot be reached over TLS: {error.reason or 'the handshake failed'}"
    if isinstance(error, http.client.IncompleteRead):
        return "closed the connection before the image was complete"
    if isinstance(error, http.client.HTTPException | ValueError):
        return "does not answer in valid HTTP"
    return "closed the connection"


def _redirected(url: WebUrl, location: str) -> WebUrl:
    """The URL that ``url`` redirects to; it gets credentials only if it is of the same origin.

    Raises:
        InputUnavailable: nothing can be fetched from there.
    """
    base = f"{url.scheme}://{url.authority}{url.target}"
    text = location.encode("latin-1", errors="replace").decode(errors="replace").strip()  # headers are read as Latin-1
    try:
        if len(text) > _REDIRECT_MAX_CHARS:
            raise MalformedUrl(f"a URL may have at most {_REDIRECT_MAX_CHARS} characters")
        found = parse_url(urljoin(base, text))
    except ValueError as error:
        reason = error if isinstance(error, MalformedUrl) else "it is not a URL"
        raise InputUnavailable(f"{url.host} redirects to what cannot be fetched: {reason}") from error
    return replace(found, credentials=url.credentials if found.origin == url.origin else None)
