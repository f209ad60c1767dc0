"""A model of the catalog as OpenAI's API shows it, for the native listing of models and for OpenAI's own route."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from models.catalog.catalog import ModelSpec


class OpenAiModel(BaseModel):
    """A model in the shape of OpenAI's API."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(
        description="When the files were last modified, in seconds since the epoch; 0 for models from the hub."
    )
    owned_by: str = "photogram"


def openai_model(spec: ModelSpec) -> OpenAiModel:
    """``spec`` in the shape of OpenAI's API. Blocking: it reads the time of the model's files."""
    place = spec.folder or spec.file
    try:
        created = 0 if place is None else int(place.stat().st_mtime)
    except OSError:
        created = 0
    return OpenAiModel(id=spec.name, created=created)
