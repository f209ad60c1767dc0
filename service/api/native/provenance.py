"""The route that tells what an image carries of its provenance (docs/provenance.md)."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from models.errors import ProblemCode
from models.media.images import MEDIA_TYPES
from service.api.auth import CurrentCaller
from service.api.bodies import read_body
from service.api.errors import invalid_field
from service.api.inspecting import InspectionFailed
from service.api.native.errors import VERIFYING
from service.api.native.uploads import read_image
from service.api.state import Gateway, GatewayState
from service.api.validation import StrictBody
from service.jobs.images import find_stored

router = APIRouter(tags=["provenance"])

_JSON = "application/json"


class VerifyBody(StrictBody):
    """An image that this server has."""

    image: str = Field(
        pattern=r"^(image:[0-9a-f-]{36}|input:[0-9a-f]{64})$",
        description="`image:<id>` of a generated image, or `input:<sha256>` of an uploaded one.",
    )


OPENAPI_MODELS = (VerifyBody,)


class ActionView(BaseModel):
    """Something that was done to the image."""

    action: str | None = Field(description="As in `c2pa.created`, `c2pa.edited`.")
    digital_source_type: str | None
    description: str | None


class ManifestView(BaseModel):
    """The C2PA manifest of an image."""

    state: Literal["valid", "untrusted", "tampered", "unreadable"] = Field(
        description="`valid`: unchanged since it was signed, by a signer that this server's certificates vouch for. "
        "`untrusted`: the same, by a signer that they do not know. `tampered`: the image or the manifest was changed. "
        "`unreadable`: `problems` says why."
    )
    is_ours: bool = Field(description="Whether this server signed it, and it is valid.")
    issuer: str | None = Field(description="The organisation that the certificate names.")
    common_name: str | None
    claim_generator: str | None = Field(description="The program that wrote the manifest, and its version.")
    actions: list[ActionView]
    ingredients: list[str | None] = Field(description="The images that it was made from.")
    problems: list[str | None] = Field(description="The failures of the validation, by their codes in C2PA.")


class WatermarkView(BaseModel):
    """The watermark of an image."""

    id: str = Field(description="The first eight digits of the id of the job's first image.")
    confidence: float = Field(description="How well the pixels agree with the id, from 0.72 to 1.")


class ProvenanceView(BaseModel):
    """What an image carries; a mark that is missing proves nothing, since marks can be removed."""

    media_type: str
    digital_source_type: str | None = Field(
        description="IPTC's value in the XMP data, as in `trainedAlgorithmicMedia`; anybody can write it."
    )
    c2pa: ManifestView | None
    watermark: WatermarkView | None
    parameters: str = Field(description="A1111's text of parameters; empty if there is none.")


_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            _JSON: {"schema": {"$ref": "#/components/schemas/VerifyBody"}},
            **{
                name: {"schema": {"type": "string", "format": "binary"}}
                for name in (*MEDIA_TYPES.values(), "application/octet-stream")
            },
        },
    }
}


@router.post(
    "/v1/provenance/verify",
    operation_id="verifyProvenance",
    summary="Tell what an image carries of its provenance",
    openapi_extra=_SCHEMA,
    responses=VERIFYING,
)
async def verify(request: Request, gateway: GatewayState, caller: CurrentCaller) -> ProvenanceView:
    """Send the image as the body, or JSON with the `image:<id>` or `input:<sha256>` of one that this server has."""
    is_named = request.headers.get("content-type", "").strip().lower().startswith(_JSON)
    if is_named:
        field, data = "image", await _stored(gateway, await read_body(request, VerifyBody))
    else:
        field, data = "body", await read_image(request, gateway.settings.max_input_bytes)
    try:
        return ProvenanceView.model_validate(await gateway.inspector.inspect(data))
    except InspectionFailed as error:
        raise invalid_field(field, str(error), ProblemCode.MALFORMED) from error


async def _stored(gateway: Gateway, body: VerifyBody) -> bytes:
    """The bytes of the image that ``body`` names."""

    def read() -> bytes | None:
        stored = find_stored(body.image, gateway.stores.inputs, gateway.stores.images)
        try:
            return None if stored is None else stored.read()
        except FileNotFoundError:  # it was removed this moment
            return None

    data = await gateway.reads.run(read)
    if data is None:
        raise invalid_field("image", "there is no such image here", ProblemCode.MALFORMED)
    return data
