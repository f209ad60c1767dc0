"""The settings that the bot's operator gives as environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_DATA = "~/.local/share/photogram-discord"


@dataclass(frozen=True, slots=True)
class Config:
    """The repr omits the secrets."""

    token: str = field(repr=False)
    """The token of the bot account."""
    url: str = DEFAULT_URL
    """The address of the Photogram server."""
    api_key: str | None = field(default=None, repr=False)
    """The API key where a guild has none of its own."""
    data: Path = Path(DEFAULT_DATA)
    """The folder of the bot's database."""
    moderation: str | None = None
    """`module:function` that may refuse a prompt; see `rules.Moderator`."""
    daily_images: int = 100
    """Images that one user may request in a day, where a guild sets no other limit."""

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Config:
        """Read `PHOTOGRAM_DISCORD_*`, `PHOTOGRAM_URL` and `PHOTOGRAM_API_KEY`; raises ValueError.

        `PHOTOGRAM_DISCORD_TOKEN_FILE` and `PHOTOGRAM_API_KEY_FILE` name files that have the secrets instead.
        """
        token = _secret(variables, "PHOTOGRAM_DISCORD_TOKEN")
        if token is None:
            raise ValueError("PHOTOGRAM_DISCORD_TOKEN is not set; docs/discord.md explains how to get a token")
        daily = variables.get("PHOTOGRAM_DISCORD_DAILY_IMAGES") or "100"
        if not daily.isdecimal():
            raise ValueError(f"PHOTOGRAM_DISCORD_DAILY_IMAGES must be a whole number, got {daily!r}")
        return cls(
            token=token,
            url=variables.get("PHOTOGRAM_URL") or DEFAULT_URL,
            api_key=_secret(variables, "PHOTOGRAM_API_KEY"),
            data=Path(variables.get("PHOTOGRAM_DISCORD_DATA") or DEFAULT_DATA).expanduser(),
            moderation=variables.get("PHOTOGRAM_DISCORD_MODERATION") or None,
            daily_images=int(daily),
        )


def _secret(variables: Mapping[str, str], name: str) -> str | None:
    """The value of the variable `name`, or else the content of the file that `name`_FILE names; None if empty."""
    path = variables.get(f"{name}_FILE")
    if variables.get(name) or not path:
        return variables.get(name, "").strip() or None
    try:
        return Path(path).read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file that {name}_FILE names cannot be read: {error}") from error
