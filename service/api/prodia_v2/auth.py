"""Authentication of Prodia's API v2, which only knows bearer tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.auth import authenticate, require_scope
from service.api.state import GatewayState
from service.backbone.key_records import Scope
from service.jobs.caller import Caller

_Bearer = Security(HTTPBearer(scheme_name="Bearer", auto_error=False))


async def _bearer_caller(
    request: Request, gateway: GatewayState, bearer: Annotated[HTTPAuthorizationCredentials | None, _Bearer] = None
) -> Caller:
    return await authenticate(request, gateway, bearer)


BearerCaller = Annotated[Caller, Depends(_bearer_caller)]
"""The holder of the request's bearer token, for the signature of a route that reads."""


async def _bearer_submitter(request: Request, caller: BearerCaller) -> Caller:
    require_scope(request, Scope.SUBMIT)
    return caller


BearerSubmitter = Annotated[Caller, Depends(_bearer_submitter)]
"""The holder of a token with the scope ``submit``, for the signature of a route that submits."""
