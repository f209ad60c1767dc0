"""A wish in plain language, in any language, turned into a job that can be posted: by tool calls, checked here."""

from service.api.assist.routes import WIRE_MODELS, router

__all__ = ["WIRE_MODELS", "router"]
