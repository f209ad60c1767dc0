"""The routes for the preferences of an API key, which are defaults for its requests."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from service.api.auth import CurrentCaller, Submitter
from service.api.bodies import read_body, require_json_type
from service.api.documentation import json_body
from service.api.native.errors import READING, SENDING_JSON
from service.api.state import GatewayState
from service.api.validation import StrictBody
from service.backbone.preferences import PreferenceValues

router = APIRouter(tags=["preferences"])

_PROMPT = "The value of `enhance_prompt` for jobs that leave it out."
_NEGATIVE = "The value of `enhance_negative_prompt` for jobs that leave it out."
_METADATA = "The value of `metadata` for jobs that leave it out."
_PROVENANCE = "The value of `provenance` for jobs that leave it out, or more if the API key needs more."
_EXAMPLE = {"enhance_prompt": True}


class PreferencesView(BaseModel):
    """All preferences of the API key."""

    enhance_prompt: bool = Field(description=_PROMPT)
    enhance_negative_prompt: bool = Field(description=_NEGATIVE)
    metadata: str = Field(description=_METADATA)
    provenance: str | None = Field(description=f"{_PROVENANCE} Null is what the server marks.")


class PreferencesBody(StrictBody):
    """The preferences to change: null resets one to its default; one that is left out stays."""

    enhance_prompt: bool | None = Field(None, description=_PROMPT)
    enhance_negative_prompt: bool | None = Field(None, description=_NEGATIVE)
    metadata: Literal["full", "drawn", "none"] | None = Field(None, description=_METADATA)
    provenance: Literal["none", "iptc", "c2pa", "watermark"] | None = Field(None, description=_PROVENANCE)


OPENAPI_MODELS = (PreferencesBody,)


@router.get(
    "/v1/preferences",
    operation_id="getPreferences",
    summary="Read the preferences of the API key",
    responses=READING,
)
async def get_preferences(gateway: GatewayState, caller: CurrentCaller) -> PreferencesView:
    """The preferences of the API key that the request was sent with."""
    return _view(await gateway.preferences.get(caller.key_id))


@router.patch(
    "/v1/preferences",
    operation_id="changePreferences",
    summary="Change preferences of the API key",
    openapi_extra=json_body(PreferencesBody, _EXAMPLE),
    responses=SENDING_JSON,
)
async def change_preferences(request: Request, gateway: GatewayState, caller: Submitter) -> PreferencesView:
    """Change some preferences. Other gateway processes use the new values within five seconds."""
    require_json_type(request.headers)
    body = await read_body(request, PreferencesBody)
    return _view(await gateway.preferences.change(caller.key_id, body.model_dump(exclude_unset=True)))


def _view(values: PreferenceValues) -> PreferencesView:
    return PreferencesView(**asdict(values))
