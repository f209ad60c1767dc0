"""The application commands; each module adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import agent, assist, edit, imagine, info, menus, queue, settings, upscale

if TYPE_CHECKING:
    from ..bot import PhotogramBot


def add_to(bot: PhotogramBot) -> None:
    """Add all commands and context menus to the command tree of `bot`."""
    for module in (imagine, edit, upscale, agent, assist, info, queue, settings, menus):
        module.add_to(bot)
