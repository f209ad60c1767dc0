"""What an image's text encoders are told: the prompts in their style, and the embeddings that they name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from models.catalog.auxiliary import AuxiliaryModels
from models.catalog.catalog import Catalog
from models.catalog.families import FAMILIES
from models.catalog.styles import apply_style, find_style
from models.diffusion.families.family import Wording
from models.diffusion.text import Embedding, load_embedding
from models.jobs.params import DrawParams


def wording_of(params: DrawParams, catalog: Catalog) -> Wording:
    """The words of ``params``, with the embeddings of ``catalog`` that they name.

    Raises:
        ModelUnavailable: an embedding cannot be read.
    """
    prompt, negative_prompt = params.prompt, params.negative_prompt
    facts = FAMILIES[catalog[params.model].family]
    style = None if params.style_preset is None else find_style(params.style_preset)
    if style is not None:
        prompt, styled = apply_style(style, prompt, negative_prompt)
        negative_prompt = styled if facts.takes_negative_prompt else negative_prompt
    return Wording(
        prompt=prompt,
        negative_prompt=negative_prompt,
        guidance_scale=params.guidance_scale,
        clip_skip=params.clip_skip,
        embeddings=_named_in(f"{prompt}\n{negative_prompt}".casefold(), catalog.embeddings),
    )


def _named_in(text: str, extras: AuxiliaryModels) -> Mapping[str, Embedding]:
    """The embeddings whose names occur in ``text``; which of them are words of their own, the encoding finds out."""
    named = (extra for extra in extras.values() if extra.name.casefold() in text)
    return {extra.name: _load(extra.path, extra.path.stat().st_mtime_ns) for extra in named if extra.path.exists()}


@lru_cache(64)
def _load(path: Path, modified_at_ns: int) -> Embedding:
    return load_embedding(path)
