"""The root of the server: where its documentation is."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from service.api.images import base_url
from service.api.state import GatewayState

router = APIRouter(tags=["health"])


class Index(BaseModel):
    """What runs here."""

    name: str = "Photogram"
    documentation: str = Field(description="The page that explains all routes.")
    openapi: str = Field(description="The OpenAPI document.")
    health: str = Field(description="The route that says whether jobs can be processed.")


@router.get("/", operation_id="index", summary="Find the documentation")
async def index(request: Request, gateway: GatewayState) -> Index:
    """Needs no API key; some clients call it to see whether the server runs."""
    base = base_url(request, gateway)
    return Index(documentation=f"{base}/docs", openapi=f"{base}/openapi.json", health=f"{base}/readyz")
