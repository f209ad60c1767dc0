"""Who may request what: limits of guilds and roles, daily use, words for age-restricted channels, moderation."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .config import Config
from .errors import Refused
from .store import Store, guild_scope, user_scope

MAX_COUNT = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for, and where."""

    prompt: str
    count: int
    steps: int | None
    user: int
    guild: int | None
    roles: frozenset[int]
    is_age_restricted: bool


Moderator: TypeAlias = Callable[[Request], str | Awaitable[str | None] | None]
"""The operator's own function: returns why a request is refused, or None. It must answer within a second or two."""


class Rules:
    def __init__(self, config: Config, store: Store) -> None:
        self._store = store
        self._daily_images = config.daily_images
        self._moderator = None if config.moderation is None else load_moderator(config.moderation)

    async def check(self, request: Request) -> None:
        """Raise Refused unless all rules allow `request`; otherwise count it."""
        settings = {} if request.guild is None else self._store.settings(guild_scope(request.guild))
        limits = limits_for(settings, request.roles)
        _check_limit(request.count, limits.get("count"), "images at once")
        _check_limit(request.steps or 0, limits.get("steps"), "steps")
        _check_words(request, settings.get("adult_words", ()))
        scope = user_scope(request.user) if request.guild is None else f"{guild_scope(request.guild)}:{request.user}"
        daily = limits.get("daily", self._daily_images)
        if self._store.used_today(scope) + request.count > daily:
            raise Refused(f"You may request {daily} images a day here. The count starts again at midnight, UTC.")
        await self._moderate(request)
        self._store.count_use(scope, request.count)

    async def _moderate(self, request: Request) -> None:
        if self._moderator is None:
            return
        answer = self._moderator(request)
        reason = await answer if inspect.isawaitable(answer) else answer
        if reason is not None:
            raise Refused(reason)


def load_moderator(name: str) -> Moderator:
    """The function that `module:function` names; raises ValueError."""
    module, _, function = name.partition(":")
    try:
        found: Moderator = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"PHOTOGRAM_DISCORD_MODERATION must name a function as module:function, got {name!r}"
        ) from error
    return found


def limits_for(settings: dict[str, Any], roles: Iterable[int]) -> dict[str, int]:
    """The limits of a member: those of the guild, or the highest among those of the member's roles."""
    limits = dict(settings.get("limits", {}))
    of_roles = [of_role for role in roles if (of_role := settings.get("role_limits", {}).get(str(role)))]
    for name in {name for of_role in of_roles for name in of_role}:
        limits[name] = max(of_role[name] for of_role in of_roles if name in of_role)
    return limits


def _check_limit(value: int, limit: int | None, what: str) -> None:
    if limit is not None and value > limit:
        raise Refused(f"You may request at most {limit} {what} here.")


def _check_words(request: Request, words: Iterable[str]) -> None:
    if request.is_age_restricted:
        return
    found = next((word for word in words if re.search(rf"(?i)\b{re.escape(word)}\b", request.prompt)), None)
    if found is not None:
        raise Refused(f"“{found}” is allowed in age-restricted channels only.")
