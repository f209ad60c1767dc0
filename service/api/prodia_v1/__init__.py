"""Prodia's API v1: its field names, its four status words and its plain-text errors.

The wire format is Prodia's OpenAPI document 1.3.0, and what clients send beyond it; docs/prodia-v1.md explains the use.
"""

from fastapi import APIRouter

from service.api.prodia_v1 import listings, routes
from service.api.prodia_v1.errors import DIALECT
from service.api.prodia_v1.keyless import router as keyless_router
from service.api.prodia_v1.schemas import OPENAPI_MODELS

__all__ = ["DIALECT", "OPENAPI_MODELS", "keyless_router", "router"]

router = APIRouter()
router.include_router(routes.router)
router.include_router(listings.router)
