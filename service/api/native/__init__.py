"""The native dialect, below ``/v1``: jobs, the images that they start from, listings, rewriting and preferences."""

from fastapi import APIRouter

from service.api.native import auxiliary_listings, files, inputs, listings, preferences, prompts, routes

WIRE_MODELS = (*prompts.WIRE_MODELS, *preferences.WIRE_MODELS)
"""The bodies that routes read themselves, for the OpenAPI document."""

router = APIRouter()
for _module in (routes, files, inputs, listings, auxiliary_listings, prompts, preferences):
    router.include_router(_module.router)
