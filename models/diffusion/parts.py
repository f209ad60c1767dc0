"""The parts of a pipeline that are used one after another: text encoders, denoiser, VAE; torch is not imported."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """A part of a pipeline."""

    TEXT_ENCODERS = "text encoders"
    DENOISER = "denoiser"
    VAE = "VAE"


def part_named(component: str) -> Part:
    """The part that the component of a pipeline with this name belongs to."""
    if component.startswith("text_encoder"):
        return Part.TEXT_ENCODERS
    return Part.VAE if component == "vae" else Part.DENOISER
