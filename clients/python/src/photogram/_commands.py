"""Commands that other installed distributions add to `photogram`, found without importing them."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias

GROUP = "photogram.commands"

# What the server distribution brings; named here so that the help and the errors know them without it.
SERVER_COMMANDS = {
    "up": "start a whole server on this machine",
    "gateway": "start the REST gateway alone",
    "worker": "start one GPU or CPU worker",
    "models": "list, add, remove and check the server's models",
    "llm": "install, list and serve language models",
}

Command: TypeAlias = Callable[[list[str]], int]


class CommandBroken(Exception):
    """An installed command cannot be loaded."""


def found_commands() -> dict[str, EntryPoint]:
    """The entry points of the group by name, sorted; of several with one name the first installed counts."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return {entry.name: entry for entry in reversed(found)}


def load(entry: EntryPoint) -> Command:
    """Import the command; raises CommandBroken where that fails, as when an optional dependency is missing."""
    try:
        command: Command = entry.load()
    except (ImportError, AttributeError) as error:
        raise CommandBroken(f"the command {entry.name!r} ({entry.value}) cannot be loaded: {error}") from error
    return command


def help_of(entry: EntryPoint) -> str:
    """One line on the command for the help page."""
    origin = entry.dist.name if entry.dist else entry.value
    return SERVER_COMMANDS.get(entry.name, f"from {origin}")
