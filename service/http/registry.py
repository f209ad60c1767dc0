"""All connections of a gateway: how many there may be, and which one is closed for a newcomer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from service.backbone.addresses import AddressSet, site_of

CHECK_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """The limits of one gateway process; times are in seconds."""

    total: int
    per_address: int
    trusted: AddressSet
    """Addresses of reverse proxies, to which ``per_address`` does not apply."""
    header_s: float
    """How long a client may take to send the header of a request."""
    drain_s: float
    """How long the rest of a body is read and thrown away after its request was answered."""
    drain_bytes: int
    """The same, in bytes."""
    keep_alive_s: float
    """How long a connection may wait for its next request."""
    write_s: float
    """How long a client may read nearly nothing while the gateway holds a response for it in memory."""


class Connection(Protocol):
    """What the registry needs to know of a connection."""

    address: str
    """The client's address, as ``service.backbone.addresses.plain_address`` writes it."""

    def close_idle(self) -> None:
        """Close the connection for a newcomer."""

    def check(self, now_s: float) -> None:
        """Close the connection if one of its deadlines is over; ``now_s`` is the time of the event loop."""


class _Group:
    """Connections; those that wait for a request, and those that receive its body, the oldest ones first."""

    def __init__(self) -> None:
        self.members: set[Connection] = set()
        self.waiting: dict[Connection, None] = {}
        self.receiving: dict[Connection, None] = {}


class ConnectionRegistry:
    """Counts connections in total and per address.

    A newcomer beyond a limit takes the place of the connection that waits longest for a request, because anybody can
    keep idle connections open without an API key. If none waits, it takes the place of the oldest one whose body is not
    complete. If all requests are being answered, the newcomer is refused.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._all = _Group()
        self._of_site: dict[str, _Group] = {}
        self._groups: dict[Connection, tuple[_Group, _Group]] = {}
        self._is_checking = False

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, connection: Connection) -> bool:
        """Count a new connection, which waits for its first request; false if there is no place for it."""
        site = site_of(connection.address)
        of_site = self._of_site.get(site) or _Group()
        is_trusted = connection.address in self.limits.trusted
        if not is_trusted and not self._make_room(of_site, self.limits.per_address):
            return False
        if not self._make_room(self._all, self.limits.total):
            return False
        self._of_site[site] = of_site
        self._groups[connection] = (self._all, of_site)
        for group in self._groups[connection]:
            group.members.add(connection)
        self.note_waiting(connection)
        self._start_checking()
        return True

    def _make_room(self, group: _Group, most: int) -> bool:
        if len(group.members) < most:
            return True
        oldest = next(chain(group.waiting, group.receiving), None)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.close_idle()
        return True

    def note_waiting(self, connection: Connection) -> None:
        """The connection has answered its request, and waits for the next one."""
        self.note_busy(connection)
        for group in self._groups.get(connection, ()):
            group.waiting[connection] = None

    def note_receiving(self, connection: Connection) -> None:
        """The connection has the header of a request, and not its whole body."""
        self.note_busy(connection)
        for group in self._groups.get(connection, ()):
            group.receiving[connection] = None

    def note_busy(self, connection: Connection) -> None:
        """The connection has a whole request."""
        for group in self._groups.get(connection, ()):
            group.waiting.pop(connection, None)
            group.receiving.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """Forget the connection, if it is known."""
        self.note_busy(connection)
        for group in self._groups.pop(connection, ()):
            group.members.discard(connection)
        site = site_of(connection.address)
        if site in self._of_site and not self._of_site[site].members:
            del self._of_site[site]

    def _start_checking(self) -> None:
        if not self._is_checking:
            self._is_checking = True
            asyncio.get_running_loop().call_later(CHECK_EVERY_S, self._check)

    def _check(self) -> None:
        now_s, self._is_checking = asyncio.get_running_loop().time(), False
        for connection in tuple(self._groups):
            connection.check(now_s)
        if self._groups:
            self._start_checking()
