"""Authentication: the API key, from any of the headers in which clients send it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.http import HTTPBase

from service.api.errors import ApiError, ErrorCode
from service.api.origins import require_own_origin_to_change
from service.api.proxies import client_host
from service.api.state import Gateway, GatewayState
from service.backbone.key_records import Scope
from service.backbone.keys import KeyRefused
from service.jobs.caller import Caller, caller_of

_bearer = HTTPBearer(scheme_name="Bearer", auto_error=False)
_api_key = APIKeyHeader(name="X-API-Key", scheme_name="X-API-Key", auto_error=False)
_prodia_key = APIKeyHeader(name="X-Prodia-Key", scheme_name="X-Prodia-Key", auto_error=False)
_Bearer, _ApiKey, _ProdiaKey = Security(_bearer), Security(_api_key), Security(_prodia_key)
_Basic = Security(HTTPBase(scheme="basic", scheme_name="Basic", auto_error=False))


async def authenticate(
    request: Request,
    gateway: GatewayState,
    bearer: Annotated[HTTPAuthorizationCredentials | None, _Bearer] = None,
    api_key: Annotated[str | None, _ApiKey] = None,
    prodia_key: Annotated[str | None, _ProdiaKey] = None,
) -> Caller:
    """The holder of the request's API key.

    Raises:
        ApiError: there is no key, or this server does not know it.
    """
    key = (bearer.credentials if bearer else None) or api_key or prodia_key
    return await _caller(request, gateway, key, "Authorization: Bearer <key>", challenge="Bearer")


async def authenticate_request(request: Request, gateway: Gateway) -> Caller:
    """As :func:`authenticate`, for a route without FastAPI's dependencies."""
    bearer, api_key, prodia_key = await _bearer(request), await _api_key(request), await _prodia_key(request)
    return await authenticate(request, gateway, bearer, api_key, prodia_key)


async def authenticate_basic(
    request: Request,
    gateway: GatewayState,
    basic: Annotated[HTTPAuthorizationCredentials | None, _Basic] = None,
    bearer: Annotated[HTTPAuthorizationCredentials | None, _Bearer] = None,
    api_key: Annotated[str | None, _ApiKey] = None,
    prodia_key: Annotated[str | None, _ProdiaKey] = None,
) -> Caller:
    """The holder of the request's API key, which may also be sent as the password of any user name.

    Raises:
        ApiError: there is no key, or this server does not know it; or a page of another origin may have used a
            password that the browser remembers.
    """
    password = _password(basic)
    if password:
        require_own_origin_to_change(request, gateway.settings)
    key = password or (bearer.credentials if bearer else None) or api_key or prodia_key
    return await _caller(request, gateway, key, "the password of any user name", challenge="Basic")


async def _caller(request: Request, gateway: Gateway, key: str | None, where: str, *, challenge: str) -> Caller:
    if not key:
        raise _unauthorized(f"an API key is required, as {where}", challenge)
    try:
        record = await gateway.keys.holder(key)
    except KeyRefused as refusal:
        wait_s = gateway.wrong_keys.wait_s(client_host(request.scope))
        if wait_s is not None:
            detail = "this address sent too many API keys that are not known; correct ones still work"
            headers = {"Retry-After": str(wait_s)}
            raise ApiError(ErrorCode.TOO_MANY_WRONG_KEYS, detail, headers=headers) from refusal
        raise _unauthorized(str(refusal), challenge) from refusal
    request.state.key_id = record.key_id
    request.state.scopes = record.rules.scopes
    caller = caller_of(record, gateway.settings)
    request.state.caller = caller
    return caller


def _unauthorized(detail: str, challenge: str) -> ApiError:
    return ApiError(ErrorCode.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def require_scope(request: Request, scope: Scope) -> None:
    """Raise :class:`ApiError` unless the key of the request, which was checked before, has ``scope``."""
    if scope not in request.state.scopes:
        raise ApiError(ErrorCode.MISSING_SCOPE, f"this API key needs the scope {scope.value} for this")


def _password(sent: HTTPAuthorizationCredentials | None) -> str | None:
    """The password of HTTP basic authentication (RFC 7617); ``None`` if ``sent`` is not that."""
    if sent is None or sent.scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(sent.credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


CurrentCaller = Annotated[Caller, Depends(authenticate)]
"""The holder of the request's API key, for the signature of a route that reads; any valid key may."""
CurrentBasicCaller = Annotated[Caller, Depends(authenticate_basic)]
"""The same, for routes whose clients may send the key as a password."""


async def _submitter(request: Request, caller: CurrentCaller) -> Caller:
    require_scope(request, Scope.SUBMIT)
    return caller


async def _basic_submitter(request: Request, caller: CurrentBasicCaller) -> Caller:
    require_scope(request, Scope.SUBMIT)
    return caller


async def _administrator(request: Request, caller: CurrentCaller) -> Caller:
    require_scope(request, Scope.ADMIN)
    return caller


Submitter = Annotated[Caller, Depends(_submitter)]
"""The holder of a key with the scope ``submit``, for a route that submits, cancels, uploads or changes anything."""
BasicSubmitter = Annotated[Caller, Depends(_basic_submitter)]
"""The same, for routes whose clients may send the key as a password."""
Administrator = Annotated[Caller, Depends(_administrator)]
"""The holder of a key with the scope ``admin``, for a route that manages keys."""
