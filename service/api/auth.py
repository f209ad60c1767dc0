"""Who asks: the API key from any of the headers that clients send it in."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.http import HTTPBase

from service.api.errors import ApiError, ErrorCode
from service.api.state import Gateway, GatewayState

_Bearer = Security(HTTPBearer(scheme_name="Bearer", auto_error=False))
_ApiKey = Security(APIKeyHeader(name="X-API-Key", scheme_name="X-API-Key", auto_error=False))
_ProdiaKey = Security(APIKeyHeader(name="X-Prodia-Key", scheme_name="X-Prodia-Key", auto_error=False))
_Basic = Security(HTTPBase(scheme="basic", scheme_name="Basic", auto_error=False))


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
    return await _owner(gateway, key, "Authorization: Bearer <key>", challenge="Bearer")


async def authenticate_basic(
    gateway: GatewayState,
    basic: Annotated[HTTPAuthorizationCredentials | None, _Basic] = None,
    bearer: Annotated[HTTPAuthorizationCredentials | None, _Bearer] = None,
    api_key: Annotated[str | None, _ApiKey] = None,
    prodia_key: Annotated[str | None, _ProdiaKey] = None,
) -> str:
    """The owner id of the request's key, which may also be the password of any user name.

    Raises:
        ApiError: there is no key, or nobody may enter with it.
    """
    key = _password(basic) or (bearer.credentials if bearer else None) or api_key or prodia_key
    return await _owner(gateway, key, "the password of any user name", challenge="Basic")


async def _owner(gateway: Gateway, key: str | None, where: str, *, challenge: str) -> str:
    owner = await gateway.keys.owner(key) if key else None
    if owner is None:
        detail = "this API key is not known here" if key else f"an API key is needed, as {where}"
        raise ApiError(ErrorCode.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})
    return owner


def _password(sent: HTTPAuthorizationCredentials | None) -> str | None:
    """What stands behind the colon, if this is HTTP's basic authentication (RFC 7617)."""
    if sent is None or sent.scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(sent.credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


Owner = Annotated[str, Depends(authenticate)]
"""The id of the key that asks, for a route's signature; a route with it cannot be used without a key."""
BasicOwner = Annotated[str, Depends(authenticate_basic)]
"""The same where clients may send the key as a password."""
