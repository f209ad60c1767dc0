"""Prodia's v2 dialect: one call that takes a typed job and answers with its image, and the same asynchronously."""

from __future__ import annotations

from service.api.prodia_v2.answers import DIALECT
from service.api.prodia_v2.calls import V2JobBody
from service.api.prodia_v2.configs import FaceRestoreConfig, UpscaleConfig
from service.api.prodia_v2.draw_config import DrawConfig
from service.api.prodia_v2.routes import router
from service.api.prodia_v2.views import V2Job

WIRE_MODELS = (V2JobBody, V2Job, DrawConfig, UpscaleConfig, FaceRestoreConfig)
"""What the OpenAPI page shows although routes only refer to it."""

__all__ = ["DIALECT", "WIRE_MODELS", "router"]
