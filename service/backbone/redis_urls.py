"""URLs of Redis: those of redis-py, and those that name Sentinels.

A URL of Sentinels is ``redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/database]``. They say
which server is the primary of the service; the user and the password are those of the servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

_SENTINELS = "redis+sentinel"
_SCHEMES = ("redis", "rediss", "unix", _SENTINELS)
_SENTINEL_PORT = 26379


@dataclass(frozen=True)
class Sentinels:
    """Where the Sentinels listen, and what they know."""

    addresses: list[tuple[str, int]]
    service: str
    """Their name of the primary and its replicas."""
    server: dict[str, Any]
    """How to connect to these: the database, and the user and the password if there are any."""


def redis_url(text: str) -> str:
    """A setting's URL of Redis; raises :class:`ValueError` if it is none."""
    if text.partition("://")[0] not in _SCHEMES or "://" not in text:
        raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    if read_sentinels(text) is None:
        _read_server(text)
    return text


def _read_server(url: str) -> None:
    """Raise :class:`ValueError` unless redis-py understands all of a URL without Sentinels; nothing is connected."""
    from redis import ConnectionPool  # the import takes longer than most commands need

    parts = urlsplit(url)
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("must be unix:// and the path of a socket")
    if parts.scheme != "unix" and not (parts.path.strip("/") or "0").isdecimal():
        raise ValueError(f"must be {parts.scheme}://[user:password@]host[:port][/database]")
    try:
        ConnectionPool.from_url(url).make_connection()
    except TypeError as error:
        raise ValueError("has an option after the ? that redis-py does not know") from error


def read_sentinels(url: str) -> Sentinels | None:
    """What a URL says of Sentinels, or ``None`` if it names a server itself.

    Raises:
        ValueError: a URL of Sentinels without a host or a service, or with a port or database that is no number.
    """
    parts = urlsplit(url)
    if parts.scheme != _SENTINELS:
        return None
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    each = [urlsplit(f"//{host}") for host in hosts.split(",")]
    if not service or not all(one.hostname for one in each) or not (database or "0").isdecimal():
        raise ValueError(f"must be {_SENTINELS}://[user:password@]host[:port][,...]/service[/database]")
    server = {"db": int(database or 0)} | _login(credentials)
    return Sentinels([_address(one) for one in each], service, server)


def _address(host: SplitResult) -> tuple[str, int]:
    return host.hostname or "", host.port or _SENTINEL_PORT


def _login(credentials: str) -> dict[str, str | None]:
    user, has_password, password = credentials.partition(":")
    return {"username": unquote(user) or None, "password": unquote(password)} if has_password else {}
