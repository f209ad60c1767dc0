"""``POST /v1/assist``: a language model turns a request in plain language into a job, by tool calls."""

from service.api.assist.routes import OPENAPI_MODELS, router

__all__ = ["OPENAPI_MODELS", "router"]
