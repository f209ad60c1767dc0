"""What trusted proxies say about a request: the client's address, and the scheme, host and prefix that it asked for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import MutableMapping, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.backbone.addresses import AddressSet

_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,100}){1,10}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TrustedProxies:
    """Applies ``X-Forwarded-For``, ``-Proto``, ``-Host`` and ``-Prefix`` of requests that come from a trusted proxy.

    Args:
        trusted: addresses and networks; ``*`` trusts everybody.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self._app = app
        self._trusted = AddressSet(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and client_host(scope) in self._trusted:
            self._apply(scope)
        await self._app(scope, receive, send)

    def _apply(self, scope: Scope) -> None:
        headers, state = Headers(scope=scope), scope.setdefault("state", {})
        scheme = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        if scheme in _DEFAULT_PORTS:
            scope["scheme"] = scheme
        host = headers.get("x-forwarded-host", "").partition(",")[0].strip()
        if is_host(host):
            state["forwarded_host"] = host
        prefix = headers.get("x-forwarded-prefix", "").partition(",")[0].strip().rstrip("/")
        if _PREFIX.fullmatch(prefix) and "/." not in prefix:
            state["forwarded_prefix"] = prefix
        client = self._client(headers.getlist("x-forwarded-for"))
        if client is not None:
            scope["client"] = (client, 0)

    def _client(self, sent: Sequence[str]) -> str | None:
        """The last address that a trusted proxy did not add for another trusted proxy; earlier ones may be invented."""
        addresses = [_without_port(part.strip()) for value in sent for part in value.split(",")]
        untrusted = [address for address in addresses if address not in self._trusted]
        found = addresses[:1] if self._trusted.has_all else untrusted[-1:]
        return next((address for address in found if _is_address(address)), None)


def client_host(scope: MutableMapping[str, Any]) -> str:
    """The address of the client; an empty text if the server does not know it."""
    client = scope.get("client")
    return client[0] if client else ""


def is_host(text: str) -> bool:
    """Whether ``text`` is a host with or without a port, as a link may contain it."""
    return _HOST.fullmatch(text) is not None


def requested_host(scope: MutableMapping[str, Any]) -> str | None:
    """The host that the client asked for, with the port if it is not the default; ``None`` if it is not valid."""
    forwarded: str | None = scope.get("state", {}).get("forwarded_host")
    if forwarded is not None:
        return forwarded
    sent = Headers(scope=scope).getlist("host")
    return sent[0] if len(sent) == 1 and is_host(sent[0]) else None


def requested_base(scope: MutableMapping[str, Any]) -> str:
    """The start of absolute links to this server, as the client reached it, without a final slash.

    A request without a valid host gets the address that the server listens on.
    """
    scheme, host = scope["scheme"], requested_host(scope)
    prefix = scope.get("state", {}).get("forwarded_prefix", "")
    return f"{scheme}://{host or _own_address(scope)}{prefix}"


def _own_address(scope: MutableMapping[str, Any]) -> str:
    name, port = scope.get("server") or ("localhost", None)
    name = f"[{name}]" if ":" in name else name
    return name if port in (None, _DEFAULT_PORTS.get(scope["scheme"])) else f"{name}:{port}"


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
