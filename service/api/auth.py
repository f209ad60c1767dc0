"""Who asks: the API key from any of the headers that clients send it in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from service.api.errors import ApiError, ErrorCode
from service.api.state import GatewayState

_Bearer = Security(HTTPBearer(scheme_name="Bearer", auto_error=False))
_ApiKey = Security(APIKeyHeader(name="X-API-Key", scheme_name="X-API-Key", auto_error=False))
_ProdiaKey = Security(APIKeyHeader(name="X-Prodia-Key", scheme_name="X-Prodia-Key", auto_error=False))


async def authenticate(
    gateway: GatewayState,
    bearer: Annotated[HTTPAuthorizationCredentials | None, _Bearer] = None,
    api_key: Annotated[str | None, _ApiKey] = None,
    prodia_key: Annotated[str | None, _ProdiaKey] = None,
) -> str:
    """The owner id of the request's key.

    Raises:
        ApiError: there is no key, or nobody may enter with it.
    """
    key = (bearer.credentials if bearer else None) or api_key or prodia_key
    owner = await gateway.keys.owner(key) if key else None
    if owner is None:
        detail = "this API key is not known here" if key else "an API key is needed, as Authorization: Bearer <key>"
        raise ApiError(ErrorCode.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})
    return owner


Owner = Annotated[str, Depends(authenticate)]
"""The id of the key that asks, for a route's signature; a route with it cannot be used without a key."""
