"""People in the stand-in: they use commands, press buttons, open menus, fill in forms, and read what they see."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .checks import walk
from .state import (
    ALL_PERMISSIONS,
    EPHEMERAL,
    MEMBER_PERMISSIONS,
    UNBOOSTED_FILE_BYTES,
    Interaction,
    Payload,
    snowflake,
)

if TYPE_CHECKING:
    from .standin import DiscordStandIn

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
SUBCOMMAND, ROLE_OPTION, ATTACHMENT_OPTION = 1, 8, 11
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Attached:
    """A file that a person attaches; `size_bytes` is what Discord says that it has, if not its length."""

    data: bytes
    name: str = "image.png"
    media_type: str = "image/png"
    size_bytes: int | None = None


class Person:
    """Someone in a channel of the guild, or in private with the bot if `channel` is None.

    With `is_hidden`, the person uses the bot as an app of their own account where external apps answer hidden.
    """

    is_hidden = False

    def __init__(self, discord: DiscordStandIn, name: str, channel: int | None, *, is_manager: bool = False) -> None:
        self.user = discord.world.add_user(name)
        self.id = int(self.user["id"])
        self.roles: list[str] = []
        self.is_in_guild = channel is not None
        self.channel = discord.world.add_private_channel(self.id) if channel is None else channel
        self._permissions = ALL_PERMISSIONS if is_manager else MEMBER_PERMISSIONS
        self.discord = discord

    async def slash(self, name: str, **options: Any) -> Interaction:
        """Use a command such as `imagine` or `settings mine`; files are attached. Returns once it is answered."""
        data = self._command_data(name, options)
        return await self.interact(COMMAND, data)

    async def menu(self, name: str, message: Payload) -> Interaction:
        """Use a context menu on a message."""
        command = self._command(name)
        data = {"id": command["id"], "name": name, "type": 3, "target_id": message["id"]}
        return await self.interact(COMMAND, data | {"resolved": {"messages": {message["id"]: message}}})

    async def press(self, message: Payload, label: str) -> Interaction:
        """Press the button with this label."""
        button = next((each for each in walk(message["components"]) if each.get("label") == label), None)
        assert button is not None, f"there is no button {label!r} in: {text_of(message)}"
        data = {"custom_id": button["custom_id"], "component_type": 2, "id": button["id"]}
        return await self.interact(COMPONENT, data, message=message)

    async def choose(self, message: Payload, label: str) -> Interaction:
        """Choose an option of the message's select menu."""
        select = next((each for each in walk(message["components"]) if each["type"] == 3), None)
        assert select is not None, f"there is no select menu in: {text_of(message)}"
        value = next(option["value"] for option in select["options"] if option["label"] == label)
        data = {"custom_id": select["custom_id"], "component_type": 3, "id": select["id"], "values": [value]}
        return await self.interact(COMPONENT, data, message=message)

    async def fill_in(self, interaction: Interaction, text: str) -> Interaction:
        """Submit the form that `interaction` opened, with `text` in its first field."""
        assert interaction.modal is not None
        fields = [field for field in walk(interaction.modal["components"]) if field["type"] == 4]
        labels = [{"type": 18, "id": 1, "component": {**field, "value": text, "id": 2}} for field in fields]
        data = {"custom_id": interaction.modal["custom_id"], "components": labels}
        return await self.interact(MODAL_SUBMIT, data)

    async def suggestions(self, name: str, option: str, typed: str) -> list[str]:
        """What autocomplete offers for an option."""
        data = self._command_data(name, {option: typed})
        data["options"][-1]["focused"] = True
        interaction = await self.interact(AUTOCOMPLETE, data)
        return [choice["name"] for choice in interaction.choices or []]

    async def interact(self, kind: int, data: Payload, message: Payload | None = None) -> Interaction:
        """Send an interaction, and wait until the bot has answered it."""
        number, token = snowflake(), uuid.uuid4().hex
        payload = self._payload(kind, data) | {"id": str(number), "token": token}
        if message is not None:
            payload["message"] = message
        interaction = Interaction(number, token, payload, self.discord.world.time(), is_hidden=self.is_hidden)
        self.discord.world.interactions[token] = interaction
        await self.discord.gateway.send("INTERACTION_CREATE", payload)
        await self.discord.until(lambda: interaction.response_type is not None, TIMEOUT_S)
        return interaction

    async def sees(
        self, interaction: Interaction, condition: Callable[[Payload], bool], timeout_s: float = TIMEOUT_S
    ) -> Payload:
        """The message that answers `interaction`, once `condition` holds for it."""
        found = self.discord.world.messages
        await self.discord.until(
            lambda: (message := found.get(interaction.message_id or 0)) is not None and condition(message), timeout_s
        )
        return found[interaction.message_id or 0]

    def _payload(self, kind: int, data: Payload) -> Payload:
        world = self.discord.world
        channel = world.channels[self.channel] | {"permissions": self._permissions}
        payload = {"application_id": str(world.application_id), "type": kind, "data": data, "version": 1}
        payload |= {"channel": channel, "channel_id": str(self.channel), "entitlements": [], "locale": "en-US"}
        payload |= {"app_permissions": ALL_PERMISSIONS, "attachment_size_limit": UNBOOSTED_FILE_BYTES}
        if not self.is_in_guild:
            owners = {"1": str(self.id)}
            return payload | {"user": self.user, "context": 1, "authorizing_integration_owners": owners}
        member = {"user": self.user, "roles": self.roles, "permissions": self._permissions, "flags": 0, "nick": None}
        member |= {"joined_at": "2026-01-01T00:00:00+00:00", "deaf": False, "mute": False, "avatar": None}
        guild = {"id": str(world.guild_id), "features": [], "locale": "en-US"}
        payload |= {"member": member, "guild": guild, "guild_id": str(world.guild_id), "context": 0}
        owners = {"1": str(self.id)} if self.is_hidden else {"0": str(world.guild_id)}
        return payload | {"authorizing_integration_owners": owners}

    def _command(self, name: str) -> Payload:
        return next(command for command in self.discord.world.commands if command["name"] == name)

    def _command_data(self, name: str, options: dict[str, Any]) -> Payload:
        first, *rest = name.split()
        command = declared = self._command(first)
        resolved: Payload = {}
        for part in rest:
            declared = next(option for option in declared["options"] if option["name"] == part)
        types = {option["name"]: option["type"] for option in declared["options"]}
        given = [self._option(name, types[name], value, resolved) for name, value in options.items()]
        for part in reversed(rest):
            given = [{"name": part, "type": SUBCOMMAND, "options": given}]
        data = {"id": command["id"], "name": first, "type": 1, "options": given}
        return data | ({"resolved": resolved} if resolved else {})

    def _option(self, name: str, kind: int, value: Any, resolved: Payload) -> Payload:
        if kind == ATTACHMENT_OPTION:
            attachment = self._attachment(value if isinstance(value, Attached) else Attached(value))
            resolved.setdefault("attachments", {})[attachment["id"]] = attachment
            value = attachment["id"]
        if kind == ROLE_OPTION:
            resolved["roles"] = {value["id"]: value}
            value = value["id"]
        return {"name": name, "type": kind, "value": value}

    def _attachment(self, file: Attached) -> Payload:
        attachment = self.discord.rest.add_file(file.name, file.data, file.media_type)
        return attachment | {"size": len(file.data) if file.size_bytes is None else file.size_bytes}


def text_of(message: Payload) -> str:
    """All text of a message."""
    return "\n".join(
        [message["content"], *(each["content"] for each in walk(message["components"]) if "content" in each)]
    )


def labels_of(message: Payload) -> list[str]:
    """The labels of its buttons."""
    return [each["label"] for each in walk(message["components"]) if each["type"] == 2]


def gallery_of(message: Payload) -> list[Payload]:
    """The items of its galleries."""
    return [item for each in walk(message["components"]) for item in each.get("items", [])]


def is_ephemeral(message: Payload) -> bool:
    return bool(message["flags"] & EPHEMERAL)
