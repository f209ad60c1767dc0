"""Prodia's v1 dialect: its fields, its four status words, its plain-text errors.

The wire is Prodia's OpenAPI document 1.3.0, and what clients send beside it; docs/prodia-v1.md tells how to use it.
"""

from fastapi import APIRouter

from service.api.prodia_v1 import lists, routes
from service.api.prodia_v1.bodies import WIRE_MODELS
from service.api.prodia_v1.errors import DIALECT
from service.api.prodia_v1.keyless import router as keyless_router

__all__ = ["DIALECT", "WIRE_MODELS", "keyless_router", "router"]

router = APIRouter()
router.include_router(routes.router)
router.include_router(lists.router)
