"""Pages of other origins: CORS for those that the operator allows, and no use of a browser's stored password by others.

A browser adds a password that it remembers to every request, also to one that a foreign page makes, which then needs no
permission if it looks like a form. Other API keys must be known to the page, so requests with them are not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service.api.errors import ApiError, ErrorCode
from service.api.proxies import requested_host
from service.api.rate_limits import FIELDS
from service.api.state import GatewayState
from service.backbone.settings import Settings

ANY = "*"
_EXPOSED = (
    "Allow", "Content-Disposition", "ETag", "Location", *FIELDS, "Retry-After", "WWW-Authenticate",
    "X-Photogram-Reason", "X-Request-ID", "X-Should-Retry",
)  # fmt: skip
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_OWN_SITE = ("same-origin", "none")
"""What a browser sends in ``Sec-Fetch-Site`` for our own pages, and for addresses that its user typed."""


def cors_middleware(origins: Sequence[str]) -> list[Middleware]:
    """The middleware that answers preflights and lets pages of ``origins`` read answers; none without origins."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_credentials=ANY not in origins,
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )
    ]


def require_own_origin(request: Request, settings: Settings) -> None:
    """Raise :class:`ApiError` if a page of another origin made the request; clients that are no browsers pass."""
    if _is_foreign(request, settings):
        detail = "a page of another origin made this request; PHOTOGRAM_CORS_ORIGINS names the origins that may"
        raise ApiError(ErrorCode.FOREIGN_ORIGIN, detail)


def require_own_origin_to_change(request: Request, settings: Settings) -> None:
    """The same for requests whose method may change something."""
    if request.method not in _SAFE_METHODS:
        require_own_origin(request, settings)


def _is_foreign(request: Request, settings: Settings) -> bool:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site in _OWN_SITE or (site is None and origin is None):
        return False
    allowed = settings.cors_origins
    if ANY in allowed or (origin or "").lower() in allowed:
        return False
    own = [urlsplit(settings.public_url).netloc] if settings.public_url else []
    if site is None:  # an old browser
        own.append(requested_host(request.scope) or "")
    return not origin or _host_of(origin) not in {name.lower() for name in own}


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def _own_origin(request: Request, gateway: GatewayState) -> None:
    require_own_origin(request, gateway.settings)


OwnOrigin = Annotated[None, Depends(_own_origin)]
"""For the signature of a route that takes no key and changes something, also with GET."""
