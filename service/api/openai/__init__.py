"""OpenAI's Images API, with Photogram's own parameters beside those of OpenAI."""

from service.api.openai.errors import DIALECT
from service.api.openai.routes import router
from service.api.openai.schemas import EditForm, GenerateBody, VariationForm

OPENAPI_MODELS = (GenerateBody, EditForm, VariationForm)
"""Models for the OpenAPI document that routes parse without FastAPI."""

__all__ = ["DIALECT", "OPENAPI_MODELS", "router"]
