"""Prompt inputs: prompts with their style applied, and the textual-inversion embeddings that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from models.catalog.auxiliary import AuxiliaryModels
from models.catalog.catalog import Catalog
from models.catalog.families import FAMILIES
from models.catalog.styles import find_style
from models.diffusion.text import Embedding, load_embedding
from models.jobs.composition import compose, styled
from models.jobs.params import DrawParams


@dataclass(frozen=True, kw_only=True)
class PromptInputs:
    """The parameters of one image that decide the conditioning, besides the model and the image size."""

    prompts: tuple[str, ...]
    """One; or the texts of all parts of a composed prompt, none if all of their weights are 0."""
    negative_prompt: str
    guidance_scale: float
    clip_skip: int
    is_composed: bool = False
    """Whether the prompts are parts with weights, which need classifier-free guidance whatever its scale is."""
    embeddings: Mapping[str, Embedding] = field(hash=False, compare=False)
    """Textual-inversion embeddings by name; the prompts may contain these names."""


def prompt_inputs_of(params: DrawParams, catalog: Catalog) -> PromptInputs:
    """The prompt inputs of ``params``, with the embeddings of ``catalog`` that the prompts may name.

    Raises:
        ModelUnavailable: an embedding cannot be read.
    """
    prompt, negative_prompt = params.prompt, params.negative_prompt
    facts = FAMILIES[catalog[params.model].family]
    style = None if params.style_preset is None else find_style(params.style_preset)
    if style is not None:
        prompt, styled_negative = styled(style, prompt, negative_prompt)
        negative_prompt = styled_negative if facts.takes_negative_prompt else negative_prompt
    composition = compose(prompt)
    return PromptInputs(
        prompts=composition.texts,
        is_composed=composition.weights is not None,
        negative_prompt=negative_prompt,
        guidance_scale=params.guidance_scale,
        clip_skip=params.clip_skip,
        embeddings=_embeddings_in(f"{prompt}\n{negative_prompt}".casefold(), catalog.embeddings),
    )


def _embeddings_in(text: str, embeddings: AuxiliaryModels) -> Mapping[str, Embedding]:
    """The embeddings whose names occur in ``text``, even within longer words, which the encoding sorts out."""
    named = (each for each in embeddings.values() if each.name.casefold() in text)
    return {each.name: _load(each.path, each.path.stat().st_mtime_ns) for each in named if each.path.exists()}


@lru_cache(64)
def _load(path: Path, modified_at_ns: int) -> Embedding:
    return load_embedding(path)
