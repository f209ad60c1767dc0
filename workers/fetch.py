"""Fetching images from URLs that clients choose, with a guard against SSRF (server-side request forgery).

The host name is resolved once, all its addresses must be public, and the connection goes to one of these addresses, so
that a second resolution cannot return another one (DNS rebinding). Redirects are followed here, each with the same
checks. One deadline covers everything from the resolution to the last byte.
"""

from __future__ import annotations

import http.client
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from models.errors import InputUnavailable
from models.jobs.sources import url_problem

_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK_BYTES = 1 << 16
_HEADERS = {"User-Agent": "Photogram", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """The limits of a fetch."""

    max_bytes: int
    deadline_s: float = 15.0
    """For all images of a job together, with redirects."""
    redirects_max: int = 3
    allow_private: bool = False
    """Whether private addresses may be fetched from."""


class Deadline:
    """A moment by which something must have ended."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 if it has passed."""
        return max(0.0, self._at - time.monotonic())


def fetch(url: str, limits: FetchLimits, deadline: Deadline) -> bytes:
    """The body at ``url``; its content type is ignored.

    Raises:
        InputUnavailable: the URL is not allowed, the host does not answer, or the body is beyond the limits.
    """
    for _ in range(limits.redirects_max + 1):
        body, url = _attempt(url, limits, deadline)
        if body is not None:
            return body
    raise InputUnavailable(f"the URL redirects more than {limits.redirects_max} times")


def _attempt(url: str, limits: FetchLimits, deadline: Deadline) -> tuple[bytes | None, str]:
    """The body at ``url``; or ``None``, and the URL that it redirects to."""
    problem = url_problem(url)
    if problem is not None:
        raise InputUnavailable(f"the URL of the image cannot be fetched: {problem}")
    host = str(urlsplit(url).hostname)
    try:
        with _response(url, limits, deadline) as response:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                return None, urljoin(url, location)
            if response.status != http.client.OK:
                raise InputUnavailable(f"{host} answers {response.status} instead of an image")
            return _read(response, limits, host), url
    except (OSError, http.client.HTTPException, ValueError) as error:
        if not deadline.left_s:
            raise InputUnavailable(f"{host} did not give the image within {limits.deadline_s:g} s") from error
        raise InputUnavailable(f"{host} cannot be reached: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _read(response: http.client.HTTPResponse, limits: FetchLimits, host: str) -> bytes:
    body = bytearray()
    while chunk := response.read(_CHUNK_BYTES):
        body += chunk
        if len(body) > limits.max_bytes:
            raise InputUnavailable(f"the image from {host} has more than {limits.max_bytes} bytes")
    return bytes(body)


@contextmanager
def _response(url: str, limits: FetchLimits, deadline: Deadline) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(url)
    host, is_safe = str(parts.hostname), parts.scheme == "https"
    port = parts.port or (443 if is_safe else 80)
    connection = http.client.HTTPConnection(host, port)  # for https, it gets a socket that is encrypted already
    connected = _connect(_addresses(host, port, limits, deadline), port, deadline)
    with connected, _cut_off(connected, deadline):
        connection.sock = _encrypted(connected, host) if is_safe else connected
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"Host": parts.netloc, **_HEADERS})
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()
    if not deadline.left_s:
        raise TimeoutError


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


def _connect(addresses: list[str], port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address that answers."""
    failure = OSError("it has no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=max(deadline.left_s, 0.001))
        except OSError as error:
            failure = error
    raise failure


def _addresses(host: str, port: int, limits: FetchLimits, deadline: Deadline) -> list[str]:
    """All addresses of ``host``.

    Raises:
        InputUnavailable: the host is unknown, or one of its addresses is not public.
    """
    found = list(dict.fromkeys(str(each[4][0]) for each in _look_up(host, port, deadline)))
    for address in found:
        if not limits.allow_private and not is_public(address):
            raise InputUnavailable(f"{host} is not on the public internet, and nothing else may be fetched")
    return found


def _look_up(host: str, port: int, deadline: Deadline) -> list[tuple[Any, ...]]:
    """Resolve ``host`` in another thread, because the resolver takes no timeout."""
    answers: queue.SimpleQueue[list[tuple[Any, ...]] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            answers.put(OSError(str(error)))

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left_s)
    except queue.Empty as error:
        raise TimeoutError from error
    if isinstance(answer, OSError):
        raise InputUnavailable(f"the host {host} is not known: {answer}")
    return answer


def is_public(address: str) -> bool:
    """Whether ``address`` is public; an IPv6 address that wraps an IPv4 address is public if the IPv4 address is."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or (None, None))[1]
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if parsed.is_site_local:
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
