"""OpenAI's dialect: the Images API as its clients know it, with Photogram's own parameters beside OpenAI's."""

from service.api.openai.errors import DIALECT
from service.api.openai.fields import EditForm, GenerateBody, VariationForm
from service.api.openai.routes import router

WIRE_MODELS = (GenerateBody, EditForm, VariationForm)
"""The bodies that routes read by themselves."""

__all__ = ["DIALECT", "WIRE_MODELS", "router"]
