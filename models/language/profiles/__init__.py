"""Profiles of rewriting for each type of image model: instructions, examples, and phrases to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.catalog.catalog import HOUSE_FOLDER, ModelSpec
from models.catalog.families import FLUX, PIXART_SIGMA, SD3
from models.language.profiles.icons import GROUNDS, ICONS
from models.language.profiles.sentence import SENTENCE
from models.language.profiles.shape import PhraseChoice, Profile, Subject, Template
from models.language.profiles.tags import TAGS

__all__ = ["GROUNDS", "PROFILES", "PhraseChoice", "Profile", "Subject", "Template", "profile_of"]

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in (ICONS, TAGS, SENTENCE)})
"""By name."""


def profile_of(spec: ModelSpec) -> Profile:
    """The profile for the model ``spec``."""
    if spec.folder == HOUSE_FOLDER:
        return ICONS
    return SENTENCE if spec.family in (FLUX, PIXART_SIGMA, SD3) else TAGS
