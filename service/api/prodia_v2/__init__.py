"""Prodia's API v2: one route that takes a typed job and answers with its image, and asynchronous routes."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.prodia_v2 import listings, routes
from service.api.prodia_v2.errors import DIALECT
from service.api.prodia_v2.schemas import DrawConfig, FaceRestoreConfig, UpscaleConfig, V2Job, V2JobBody

OPENAPI_MODELS = (V2JobBody, V2Job, DrawConfig, UpscaleConfig, FaceRestoreConfig)
"""Models for the OpenAPI document that routes use without FastAPI."""

__all__ = ["DIALECT", "OPENAPI_MODELS", "router"]

router = APIRouter()
router.include_router(routes.router)
router.include_router(listings.router)
