"""What the stand-in knows: users, one guild, channels, messages, attachments, interactions and commands."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Payload = dict[str, Any]
DISCORD_EPOCH_MS = 1420070400000
EPHEMERAL = 1 << 6
LOADING = 1 << 7
COMPONENTS_V2 = 1 << 15
UNBOOSTED_FILE_BYTES = 10 << 20
"""The largest file of a message in a guild that nobody pays for."""
ALL_PERMISSIONS = str((1 << 53) - 1)
MEMBER_PERMISSIONS = str((1 << 10) | (1 << 11) | (1 << 31))
"""View channel, send messages, use application commands."""

_PLAIN_ROLE = {"color": 0, "hoist": False, "managed": False, "mentionable": False, "colors": {"primary_color": 0}}
_numbers = itertools.count()


def snowflake() -> int:
    """A new id with the time in it, as Discord's."""
    return (int(time.time() * 1000) - DISCORD_EPOCH_MS) << 22 | (next(_numbers) & 0xFFF)


def now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass
class Interaction:
    """One interaction, its token and what was answered."""

    id: int
    token: str
    payload: Payload
    created_at: float
    response_type: int | None = None
    message_id: int | None = None
    modal: Payload | None = None
    choices: list[Payload] | None = None
    is_hidden: bool = False
    """Whether all answers are for the user alone, as where members may not use external apps."""


@dataclass
class World:
    """Everything that outlives connections."""

    application_id: int = field(default_factory=snowflake)
    users: dict[int, Payload] = field(default_factory=dict)
    channels: dict[int, Payload] = field(default_factory=dict)
    messages: dict[int, Payload] = field(default_factory=dict)
    edits: dict[int, list[float]] = field(default_factory=dict)
    """When each message was edited, on the monotonic clock."""
    files: dict[str, bytes] = field(default_factory=dict)
    interactions: dict[str, Interaction] = field(default_factory=dict)
    commands: list[Payload] = field(default_factory=list)
    forbidden_channels: set[int] = field(default_factory=set)
    """Channels that the bot is no member of: its own token gives no access to them."""
    pings: list[str] = field(default_factory=list)
    """Mentions that notified somebody."""
    passed_s: float = 0.0
    """How much later it is here than on the monotonic clock, for the tokens of interactions."""

    def __post_init__(self) -> None:
        self.guild_id = snowflake()
        self.bot = self.add_user("photogram", is_bot=True, user_id=self.application_id)
        self.general = self.add_channel("general")
        self.adult = self.add_channel("adults", nsfw=True)
        self.role = {"id": str(snowflake()), "name": "artists", "permissions": "0", "position": 1} | _PLAIN_ROLE

    def add_user(self, name: str, *, is_bot: bool = False, user_id: int | None = None) -> Payload:
        number = user_id or snowflake()
        user = {"id": str(number), "username": name, "discriminator": "0", "avatar": None, "global_name": name}
        self.users[number] = user | {"bot": is_bot}
        return self.users[number]

    def add_channel(self, name: str, *, nsfw: bool = False) -> int:
        number = snowflake()
        channel = {"id": str(number), "type": 0, "name": name, "nsfw": nsfw, "position": len(self.channels)}
        self.channels[number] = channel | {"guild_id": str(self.guild_id), "permission_overwrites": [], "topic": None}
        return number

    def add_private_channel(self, user_id: int) -> int:
        for number, channel in self.channels.items():
            if channel["type"] == 1 and channel["recipients"][0]["id"] == str(user_id):
                return number
        number = snowflake()
        self.channels[number] = {"id": str(number), "type": 1, "recipients": [self.users[user_id]], "flags": 0}
        return number

    def guild(self) -> Payload:
        channels = [channel for channel in self.channels.values() if channel["type"] == 0]
        everyone = {"id": str(self.guild_id), "name": "@everyone", "permissions": MEMBER_PERMISSIONS, "position": 0}
        roles = [everyone | _PLAIN_ROLE, self.role]
        guild = {"id": str(self.guild_id), "name": "A guild", "roles": roles, "channels": channels, "members": []}
        guild |= {"emojis": [], "stickers": [], "features": [], "threads": [], "presences": [], "voice_states": []}
        guild |= {"member_count": 2, "owner_id": "1", "preferred_locale": "en-US", "stage_instances": []}
        return guild | {"guild_scheduled_events": [], "soundboard_sounds": [], "nsfw_level": 0, "premium_tier": 0}

    def time(self) -> float:
        """Seconds on the clock that `passed_s` advances."""
        return time.monotonic() + self.passed_s

    def new_message(self, channel_id: int, author: Payload, *, flags: int = 0, **more: Any) -> Payload:
        number = snowflake()
        message = {"id": str(number), "channel_id": str(channel_id), "author": author, "content": "", "embeds": []}
        message |= {"attachments": [], "components": [], "timestamp": now(), "edited_timestamp": None, "tts": False}
        message |= {"mentions": [], "mention_roles": [], "mention_everyone": False, "pinned": False, "type": 0}
        self.messages[number] = message | {"flags": flags} | more
        self.edits[number] = []
        return self.messages[number]
