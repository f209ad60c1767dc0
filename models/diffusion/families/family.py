"""What one family of pipelines does in its own way, and how it is found by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from models.diffusion.denoiser import Conditioning
from models.diffusion.pipeline import Pipeline
from models.families import FAMILIES
from models.params import Txt2ImgParams

Encode = Callable[[Pipeline, Txt2ImgParams, tuple[int, int], torch.device], Conditioning]
"""Takes a picture's parameters and the size (width, height) it is drawn at; gives what its denoiser is told."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture: the diffusers class that reads it, and where it parts from the others."""

    pipeline_class: Any
    """A subclass of ``DiffusionPipeline``; its plain call is what the engine's pictures are held against."""
    options: Mapping[str, Any]
    """What the class is to be loaded with, beside the dtype."""
    misfit: Callable[[Pipeline], str | None]
    """Why a loaded pipeline is none of this family, ``None`` if it is one."""
    prepare: Callable[[Pipeline], None]
    """What is to be done once to a pipeline that was just loaded."""
    encode: Encode


def load_family(name: str) -> Family:
    """The family of that name, its module imported now.

    Raises:
        KeyError: there is no such family.
    """
    family: Family = import_module(FAMILIES[name]).FAMILY
    return family
