"""URLs that clients choose, of images and of webhooks: how they are read, and what the server's settings allow."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import SplitResult, quote, unquote, urlsplit

from models.jobs.addresses import is_public, literal_address

WEB_PORTS = frozenset({80, 443})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_MAX_CHARS = 253
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_AMBIGUOUS = frozenset("ßς\u200c\u200d")
"""Characters that the standards for international host names (IDNA 2003 and 2008) read as different hosts."""
_CREDENTIALS = re.compile(r"(https?://)[^/?#]*@", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\x21-\x7e]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class MalformedUrl(ValueError):
    """The text is not a URL of the web; the message says why, for the caller."""


@dataclass(frozen=True, kw_only=True)
class WebUrl:
    """A URL in parts, each as it is sent."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """In lower case, without a dot at the end; international names in Punycode; IPv6 addresses without brackets."""
    port: int
    target: str
    """Path and query, in ASCII."""
    credentials: str | None = field(default=None, repr=False)
    """``user:password``, decoded."""

    @property
    def is_encrypted(self) -> bool:
        """Whether it is fetched over TLS."""
        return self.scheme == "https"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must be equal for credentials of one URL to be sent to another."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port as in the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(text: str) -> WebUrl:
    """The parts of the URL ``text``; spaces and international characters in it are encoded as browsers do.

    Raises:
        MalformedUrl: it is not a URL of the web.
    """
    if _CONTROL.search(text):
        raise MalformedUrl("a URL must not contain line breaks or other control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise MalformedUrl("is not a URL: its host or port cannot be read") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise MalformedUrl("a URL must begin with http:// or https://")
    if "\\" in parts.netloc:
        raise MalformedUrl("the host of a URL must not contain a backslash")
    if port == 0:
        raise MalformedUrl("the port of a URL must be between 1 and 65535")
    query = f"?{parts.query}" if parts.query else ""
    return WebUrl(
        scheme=parts.scheme,
        host=host_name(parts.hostname or ""),
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        target=_encoded((parts.path or "/") + query),
        credentials=_credentials(parts),
    )


def host_name(text: str) -> str:
    """The host called ``text`` as it is resolved and compared.

    Raises:
        MalformedUrl: no host can have that name.
    """
    if not text:
        raise MalformedUrl("a URL must name a host")
    try:
        if ":" in text:
            return str(IPv6Address(text if "%" not in text else ""))
        if _AMBIGUOUS & set(text):
            raise MalformedUrl(
                "the host of the URL must be in Punycode: programs disagree about some of its characters"
            )
        name = (text if text.isascii() else text.encode("idna").decode()).lower().removesuffix(".")
    except MalformedUrl:
        raise
    except ValueError as error:  # UnicodeError is one
        raise MalformedUrl("the host of the URL is not a valid name or address") from error
    if len(name) > _HOST_MAX_CHARS or not _NAME.fullmatch(name):
        raise MalformedUrl("the host of the URL is not a valid name or address")
    return name


def host_pattern(text: str) -> str:
    """``text`` as an entry of :attr:`FetchPolicy.hosts`; raises :class:`MalformedUrl`."""
    name = text.removeprefix("*.")
    host = host_name(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    return f"*.{host}" if name != text else host


def without_credentials(text: str) -> str:
    """``text`` without user name and password, if it is a URL with such."""
    return _CREDENTIALS.sub(r"\1", text, count=1) if _CREDENTIALS.match(text) else text


def unreachable(host: str) -> str:
    """The one message for hosts that are not known, do not answer or may not be reached.

    A caller must not learn from it which names and ports exist in the network of the server.
    """
    return f"{host} cannot be reached from this server"


@dataclass(frozen=True, kw_only=True)
class FetchPolicy:
    """Which URLs the settings allow: of images to be fetched, or of webhooks."""

    allow_private: bool = False
    """Whether private addresses may be reached."""
    ports: frozenset[int] | None = None
    """``None`` is 80 and 443, and every port if private addresses are allowed."""
    hosts: tuple[str, ...] = ()
    """The only hosts that are allowed: names, addresses, and ``*.example.org`` for all below it; all if empty."""

    def problem(self, url: WebUrl) -> str | None:
        """Why ``url`` may not be reached, as far as can be said without resolving its host."""
        if self.hosts and not any(_matches(url.host, pattern) for pattern in self.hosts):
            return f"this server may reach certain hosts only, and {url.host} is not one of them"
        ports = self.ports if self.ports is not None or self.allow_private else WEB_PORTS
        if ports is not None and url.port not in ports:
            allowed = ", ".join(map(str, sorted(ports)))
            return f"the port {url.port} is not allowed; these ports are: {allowed}"
        address = literal_address(url.host)
        return None if address is None or self.may_reach(address) else unreachable(url.host)

    def may_reach(self, address: str) -> bool:
        """Whether a connection to ``address`` is allowed."""
        return self.allow_private or is_public(address)


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _credentials(parts: SplitResult) -> str | None:
    if "@" not in parts.netloc:
        return None
    return f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"


def _encoded(text: str) -> str:
    """``text`` with everything percent-encoded that is not printable ASCII."""
    return _UNSAFE.sub(lambda match: quote(match[0], safe="", errors="replace"), text)
