"""What people do in the stand-in and what they see, as lines of plain text, so that one can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .checks import walk
from .people import Attached, Person, is_ephemeral
from .state import Interaction, Payload, World


class Transcript:
    """People act through it, and `lines` has what they did and what `shows` was told that they see."""

    def __init__(self, world: World) -> None:
        self.lines: list[str] = []
        self._world = world

    async def slash(self, person: Person, name: str, **options: Any) -> Interaction:
        self._add(person, f"/{name}" + "".join(f" {option}: {_given(value)}" for option, value in options.items()))
        return self._with_form(await person.slash(name, **options))

    async def menu(self, person: Person, name: str, message: Payload) -> Interaction:
        self._add(person, f"(Apps > {name}, on the message)")
        return self._with_form(await person.menu(name, message))

    async def press(self, person: Person, message: Payload, label: str) -> Interaction:
        self._add(person, f"[{label}]")
        return self._with_form(await person.press(message, label))

    async def choose(self, person: Person, message: Payload, label: str) -> Interaction:
        self._add(person, f"[{label}]")
        return await person.choose(message, label)

    async def fill_in(self, person: Person, form: Interaction, text: str) -> Interaction:
        self._add(person, text)
        return await person.fill_in(form, text)

    async def type(self, person: Person, name: str, option: str, typed: str) -> None:
        """Type the beginning of an option, and note what is offered."""
        self._add(person, f"/{name} {option}: {typed}")
        self.lines += [f"    {each}" for each in await person.suggestions(name, option, typed)]

    def note(self, text: str) -> None:
        """Add a line about what happens elsewhere."""
        self.lines.append(f"({text})")

    def shows(self, message: Payload) -> None:
        """Add what is in a message."""
        seen = " (only you can see this)" if is_ephemeral(message) else ""
        self.lines.append(f"{message['author']['username']}:{seen}")
        lines = (line for component in message["components"] for line in _lines(component, self._world))
        self.lines += [f"    {line}" for line in lines]

    def _add(self, person: Person, text: str) -> None:
        self.lines.append(f"{person.user['username']}: {text}")

    def _with_form(self, interaction: Interaction) -> Interaction:
        if interaction.modal is not None:
            label = next(each["label"] for each in walk(interaction.modal["components"]) if "label" in each)
            self.lines.append(f"    [form: {interaction.modal['title']}] {label}")
        return interaction


def _lines(component: Payload, world: World) -> Iterator[str]:
    match component["type"]:
        case 1:
            yield " ".join(_label(each) for each in component["components"])
        case 10:
            yield from plain(component["content"], world).split("\n")
        case 12:
            yield from (f"[image: {each.get('description') or ''}]" for each in component["items"])
        case 17:
            for each in component["components"]:
                yield from _lines(each, world)


def _given(value: Any) -> str:
    if isinstance(value, Attached):
        return value.name
    return f"@{value['name']}" if isinstance(value, dict) else str(value)


def _label(component: Payload) -> str:
    return f"[{component['label']}]" if component["type"] == 2 else f"[{component['placeholder']} v]"


def plain(text: str, world: World) -> str:
    """Markdown as its readers see it, without fonts."""
    shown = re.sub(r"^-# |(?<!\\)\*\*", "", text, flags=re.MULTILINE)
    shown = re.sub(r"(?<!\\)\[([^\]]+)\]\(\S+?\)", r"\1", shown)
    shown = re.sub(r"\\([*_`~|>#\-\[\]()])", r"\1", shown)
    shown = re.sub(r"<@&(\d+)>", lambda found: f"@{world.role['name']}", shown)
    return re.sub(r"<@(\d+)>", lambda found: _name(world, int(found[1]), found[0]), shown)


def _name(world: World, user: int, otherwise: str) -> str:
    return f"@{world.users[user]['username']}" if user in world.users else otherwise
