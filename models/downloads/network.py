"""Why a server cannot be reached, in words of our own: those of libraries differ, and name what only they know.

We fetch by httpx, and the client of the model hub by httpx2.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator

import httpx
import httpx2


def why_failed(error: BaseException) -> str:
    """What went wrong with the network, told by ``error`` or by what caused it."""
    causes = list(_causes(error))
    for kinds, reason in _REASONS:
        if any(isinstance(cause, kinds) for cause in causes):
            return reason
    return "the connection failed"


def _either(*names: str) -> tuple[type[BaseException], ...]:
    return tuple(getattr(library, name) for library in (httpx, httpx2) for name in names)


_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((socket.gaierror,), "its name cannot be resolved (is there a network, and is the name right?)"),
    ((ssl.SSLError,), "its TLS certificate or protocol is not accepted"),
    ((ConnectionRefusedError,), "it refuses the connection"),
    ((TimeoutError, *_either("TimeoutException")), "it does not answer in time"),
    (_either("ProxyError"), "the proxy in HTTPS_PROXY or HTTP_PROXY does not let it through"),
    ((json.JSONDecodeError,), "something else answers under its address, such as the sign-in page of a network"),
    (_either("TooManyRedirects"), "its redirects do not end"),
    (_either("DecodingError"), "it says that its answer is compressed, and it is not"),
    ((ConnectionError, *_either("NetworkError", "RemoteProtocolError")), "the connection broke off"),
)
"""The first that fits decides."""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error``, what it was raised from or during, and so on."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
