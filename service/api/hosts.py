"""The allow-list of host names under which the gateway answers (``PHOTOGRAM_HOSTS``)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import ApiError, ErrorCode
from service.api.health import PROBES
from service.api.proxies import requested_host


class KnownHosts:
    """Refuses requests for other hosts; without a list, every host is answered.

    Args:
        hosts: names with or without a port, in lower case; ``*.example.org`` stands for all names below.
        public_url: its host is known too.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], public_url: str | None) -> None:
        self._app = app
        own = [urlsplit(public_url).netloc.lower()] if public_url else []
        self._hosts = [*hosts, *own] if hosts else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_checked = scope["type"] == "http" and self._hosts and scope["path"] not in PROBES
        if is_checked and not self._knows(requested_host(scope) or ""):
            raise ApiError(ErrorCode.UNKNOWN_HOST, "the host of the request is not one that PHOTOGRAM_HOSTS names")
        await self._app(scope, receive, send)

    def _knows(self, host: str) -> bool:
        full = host.lower()
        name = full if full.endswith("]") else full.rpartition(":")[0] or full
        return any(_fits(known, full, name.rstrip(".")) for known in self._hosts)


def _fits(known: str, full: str, name: str) -> bool:
    return name.endswith(known[1:]) if known.startswith("*.") else known in (full, name)
