"""What ``photogram up`` tells at its start: which settings are no defaults, and what to paste in a second terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from service.backbone.configuration import Configuration


def settings_lines(configuration: Configuration) -> Iterator[str]:
    """One line for each setting that is no default: its name, its value and where it was given."""
    if configuration.changed:
        yield "settings that are no defaults:"
    for name, given in configuration.changed.items():
        yield f"    {name} = {configuration.shown(name)}  ({given.place})"


def second_terminal(url: str, key: str | None, *, is_created: bool) -> str:
    """The lines for another terminal.

    Args:
        key: an API key, if it is known.
        is_created: whether the key was shown before; otherwise it is shown only if standard error is a terminal, since
            logs must not have it.
    """
    is_shown = key is not None and (is_created or sys.stderr.isatty())
    activate = Path(sys.prefix) / "bin" / "activate"
    lines = [
        "in a second terminal:",
        *([f"    . {activate}"] if activate.is_file() else []),
        f"    export PHOTOGRAM_URL={url}",
        f"    export PHOTOGRAM_API_KEY={key if is_shown else 'YOUR-KEY'}",
        '    photogram generate "a red apple"',
    ]
    return "\n".join(lines)
