"""Who may request what: limits of guilds and roles, daily use, words for age-restricted channels, moderation."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from .config import Config
from .errors import Refused
from .markdown import in_line
from .store import Store, guild_scope, user_scope

MAX_COUNT = 4
MODERATION_S = 2.0
"""Discord gives three seconds for the first answer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for, and where."""

    prompt: str
    count: int
    """Images that are drawn at once."""
    images: int
    """The most that it may draw in all, which counts for the day: more than `count` for an agent."""
    steps: int | None
    user: int
    guild: int | None
    roles: frozenset[int]
    is_age_restricted: bool


Moderator: TypeAlias = Callable[[Request], str | Awaitable[str | None] | None]
"""The operator's own function: returns why a request is refused, or None.

If it raises an error or takes longer than `MODERATION_S`, the request is refused. A function that is not `async` is
called in a thread.
"""


class Rules:
    def __init__(self, config: Config, store: Store) -> None:
        self._store = store
        self._daily_images = config.daily_images
        self._moderator = None if config.moderation is None else load_moderator(config.moderation)

    async def check(self, request: Request) -> None:
        """Raise Refused unless the limits, the words of the channel and the operator's function allow `request`."""
        settings = self._settings(request)
        limits = limits_for(settings, request.roles)
        _check_limit(request.count, limits.get("count"), "image at once", "images at once")
        _check_limit(request.steps or 0, limits.get("steps"), "step", "steps")
        _check_words(request, settings.get("adult_words", ()))
        if self._moderator is not None:
            await _moderate(self._moderator, request)

    @contextmanager
    def counted(self, request: Request) -> Iterator[None]:
        """Count the images of `request` as used today, unless the block fails; raises Refused if they are too many."""
        daily = limits_for(self._settings(request), request.roles).get("daily", self._daily_images)
        user = user_scope(request.user)
        scope = user if request.guild is None else f"{guild_scope(request.guild)}:{request.user}"
        if self._store.used_today(scope) + request.images > daily:
            raise Refused(
                f"You may request {_counted(daily, 'image', 'images')} a day here. "
                "The count starts again at midnight, UTC."
            )
        self._store.count_use(scope, request.images)
        try:
            yield
        except BaseException:
            self._store.count_use(scope, -request.images)
            raise

    def _settings(self, request: Request) -> dict[str, Any]:
        return {} if request.guild is None else self._store.settings(guild_scope(request.guild))


async def _moderate(moderator: Moderator, request: Request) -> None:
    async def asked() -> str | None:
        answer = await asyncio.to_thread(moderator, request)
        return await answer if inspect.isawaitable(answer) else answer

    try:
        reason = await asyncio.wait_for(asked(), MODERATION_S)
    except Exception as error:
        log.exception("the function of PHOTOGRAM_DISCORD_MODERATION failed")
        raise Refused("Requests cannot be checked at the moment. Please try again in a moment.") from error
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


def _check_limit(value: int, limit: int | None, one: str, several: str) -> None:
    if limit is not None and value > limit:
        raise Refused(f"You may request at most {_counted(limit, one, several)} here.")


def _check_words(request: Request, words: Iterable[str]) -> None:
    if request.is_age_restricted:
        return
    prompt = _folded(request.prompt)
    found = next((word for word in words if re.search(rf"(?<!\w){re.escape(_folded(word))}(?!\w)", prompt)), None)
    if found is not None:
        raise Refused(f"“{in_line(found, 100)}” is allowed in age-restricted channels only.")


def _folded(text: str) -> str:
    """`text` for comparing: compatible letters are equal, and invisible characters are left out."""
    shown = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    return shown.casefold()


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
