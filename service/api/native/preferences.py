"""The routes of an API key's preferences: what holds for its requests where they leave it open."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from service.api.auth import CurrentCaller
from service.api.bodies import read_body, require_json_type
from service.api.documentation import json_body, problems
from service.api.errors import ErrorCode
from service.api.state import GatewayState
from service.backbone.preferences import PreferenceValues

router = APIRouter(tags=["preferences"])

_READING = (ErrorCode.UNAUTHORIZED, ErrorCode.LEDGER_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)
_CHANGING = (
    *_READING,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.MALFORMED_JSON,
    ErrorCode.INVALID_PARAMS,
)
_DRAWN = "Whether prompts are rewritten by the language model where a job leaves `enhance_prompt` open."
_NEGATIVE = "The same for what must not be in the image, and `enhance_negative_prompt`."
_EXAMPLE = {"enhance_prompt": True}


class PreferencesView(BaseModel):
    """All preferences of the key."""

    enhance_prompt: bool = Field(description=_DRAWN)
    enhance_negative_prompt: bool = Field(description=_NEGATIVE)


class PreferencesBody(BaseModel):
    """Those to change: what is left out stays, null is the default again."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    enhance_prompt: bool | None = Field(None, description=_DRAWN)
    enhance_negative_prompt: bool | None = Field(None, description=_NEGATIVE)


WIRE_MODELS = (PreferencesBody,)
"""Bodies that the routes read themselves, for the OpenAPI document."""


@router.get(
    "/v1/preferences",
    operation_id="getPreferences",
    summary="What the key prefers",
    responses=problems(*_READING),
)
async def get_preferences(gateway: GatewayState, caller: CurrentCaller) -> PreferencesView:
    """The preferences of the API key that asks."""
    return _view(await gateway.preferences.get(caller.key_id))


@router.patch(
    "/v1/preferences",
    operation_id="changePreferences",
    summary="Change what the key prefers",
    openapi_extra=json_body(PreferencesBody, _EXAMPLE),
    responses=problems(*_CHANGING),
)
async def change_preferences(request: Request, gateway: GatewayState, caller: CurrentCaller) -> PreferencesView:
    """Change some preferences of the API key that asks; other processes follow within five seconds."""
    require_json_type(request.headers)
    body = await read_body(request, PreferencesBody)
    return _view(await gateway.preferences.change(caller.key_id, body.model_dump(exclude_unset=True)))


def _view(values: PreferenceValues) -> PreferencesView:
    return PreferencesView(**asdict(values))
