"""Commands that other installed distributions add to `photogram` by entry points, without importing them."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias

GROUP = "photogram.commands"

# The commands of the server distribution, for help and error messages when it is not installed.
SERVER_COMMANDS = {
    "up": "start a whole server on this machine",
    "gateway": "start the REST gateway alone",
    "worker": "start one GPU or CPU worker",
    "config": "show the server's settings and where each comes from",
    "keys": "create, list, rotate and revoke API keys",
    "models": "list, add, remove and check the server's models",
    "llm": "install, list and serve language models",
    "storage": "check the server's storage, and move it to S3 or back",
    "deploy": "export a model to an inference backend, and check the result",
    "vision": "give a vision model labels of your own",
}

Command: TypeAlias = Callable[[list[str]], int]


class CommandBroken(Exception):
    """An installed command cannot be loaded."""


def found_commands() -> dict[str, EntryPoint]:
    """The entry points of the group by name, sorted; the first of several with the same name is used."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return {entry.name: entry for entry in reversed(found)}


def load(entry: EntryPoint) -> Command:
    """Import the command; raises CommandBroken if the import fails, for example by a missing optional dependency."""
    try:
        command: Command = entry.load()
    except (ImportError, AttributeError) as error:
        raise CommandBroken(f"the command {entry.name!r} ({entry.value}) cannot be loaded: {error}") from error
    return command


def help_of(entry: EntryPoint) -> str:
    """One line about the command for `--help`."""
    origin = entry.dist.name if entry.dist else entry.value
    return SERVER_COMMANDS.get(entry.name, f"from {origin}")
