"""The native API below ``/v1``: jobs, uploads, listings, prompt rewriting, preferences, usage, keys and webhooks."""

from fastapi import APIRouter, Depends

from service.api.native import (
    agents,
    auxiliary_listings,
    batches,
    files,
    image_search,
    keys,
    listings,
    lists,
    preferences,
    prompts,
    provenance,
    routes,
    uploads,
    usage,
    vision_listings,
    webhook_deliveries,
    webhooks,
)
from service.api.native.single_values import require_single_values

OPENAPI_MODELS = (
    *agents.OPENAPI_MODELS,
    *batches.OPENAPI_MODELS,
    *prompts.OPENAPI_MODELS,
    *preferences.OPENAPI_MODELS,
    *keys.OPENAPI_MODELS,
    *provenance.OPENAPI_MODELS,
    *webhooks.OPENAPI_MODELS,
)
"""Models for the OpenAPI document that routes parse without FastAPI."""

router = APIRouter(dependencies=[Depends(require_single_values)])
for _module in (
    routes,
    agents,
    batches,
    lists,
    files,
    image_search,
    uploads,
    listings,
    auxiliary_listings,
    vision_listings,
    prompts,
    preferences,
    usage,
    keys,
    provenance,
    webhooks,
    webhook_deliveries,
):
    router.include_router(_module.router)
