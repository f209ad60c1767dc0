"""The templates: plans with slots, for briefs that no language model needs to plan."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.agent.templates.character_poses import CharacterPoses
from models.agent.templates.edit_then_upscale import EditThenUpscale
from models.agent.templates.icon_set import IconSet
from models.agent.templates.improve import Improve
from models.agent.templates.product_sheet import ProductSheet
from models.agent.templates.storyboard import Storyboard
from models.agent.templates.template import Template

TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        each.name: each
        for each in (Storyboard(), IconSet(), ProductSheet(), EditThenUpscale(), CharacterPoses(), Improve())
    }
)
"""Each by its name."""
