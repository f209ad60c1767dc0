"""HTTP requests to URLs that clients choose, with a guard against SSRF (server-side request forgery).

The host name is resolved once, all its addresses must be allowed, and the connection goes to one of these addresses, so
that a second resolution cannot return another one (DNS rebinding).
"""

from __future__ import annotations

import http.client
import queue
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from models.jobs.urls import FetchPolicy, WebUrl
from service.backbone.server_version import server_version

_ADDRESS_S = 5.0
"""How long one address of several may take to accept a connection."""


_AGENT = f"Mozilla/5.0 (compatible; Photogram/{server_version()})"
"""Many hosts refuse clients that do not call themselves Mozilla."""
_HEADERS = {"User-Agent": _AGENT, "Accept-Encoding": "identity", "Connection": "close"}


class Unreachable(OSError):
    """There is no connection: the host is not known, does not accept one, or may not be reached."""


class Deadline:
    """A moment by which something must have ended."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 if it has passed."""
        return max(0.0, self._at - time.monotonic())


@contextmanager
def open_response(
    url: WebUrl, policy: FetchPolicy, deadline: Deadline, headers: Mapping[str, str], body: bytes | None = None
) -> Iterator[http.client.HTTPResponse]:
    """The response to a GET of ``url``, or to a POST of ``body``; it is cut off at the deadline.

    Redirects are not followed.

    Raises:
        Unreachable: there is no connection.
        TimeoutError: the deadline passed before the block ended.
        OSError, http.client.HTTPException: the connection broke, or the answer is not HTTP.
    """
    connection = http.client.HTTPConnection(url.host, url.port)  # for https, it gets a socket that is encrypted already
    connected = _connect(url, policy, deadline)
    with connected, _cut_off(connected, deadline):
        connection.sock = _encrypted(connected, url.host) if url.is_encrypted else connected
        try:
            method = "GET" if body is None else "POST"
            connection.request(method, url.target, body=body, headers=_headers(url) | dict(headers))
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()
    if not deadline.left_s:
        raise TimeoutError


def _headers(url: WebUrl) -> dict[str, str]:
    headers = {"Host": url.authority, **_HEADERS}
    if url.credentials is not None:
        headers["Authorization"] = f"Basic {b64encode(url.credentials.encode(errors='replace')).decode()}"
    return headers


def _encrypted(connected: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(connected, server_hostname=host)


@contextmanager
def _cut_off(connected: socket.socket, deadline: Deadline) -> Iterator[None]:
    """Close the connection at the deadline; the timeout of a socket starts again with every byte that comes."""
    handle = connected.dup()

    def cut() -> None:
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(deadline.left_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        handle.close()


def _connect(url: WebUrl, policy: FetchPolicy, deadline: Deadline) -> socket.socket:
    """A connection to the first address that answers; raises :class:`Unreachable`."""
    addresses = _addresses(url, deadline)
    if not addresses or not all(map(policy.may_reach, addresses)):
        raise Unreachable
    for address in addresses:
        is_last = address == addresses[-1]
        timeout_s = max(deadline.left_s if is_last else min(deadline.left_s, _ADDRESS_S), 0.001)
        with suppress(OSError):
            return socket.create_connection((address, url.port), timeout=timeout_s)
    raise Unreachable


def _addresses(url: WebUrl, deadline: Deadline) -> list[str]:
    """All addresses of the host, resolved in another thread, because the resolver takes no timeout."""
    answers: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(each[4][0]) for each in found)))
        except (OSError, UnicodeError):
            answers.put([])

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        return answers.get(timeout=deadline.left_s)
    except queue.Empty:
        return []
