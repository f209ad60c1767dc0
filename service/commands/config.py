"""``photogram config``: the settings of this machine's server, and where each one comes from."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from photogram_cli.near_misses import Parser

from service.backbone.configuration import Configuration, configure
from service.backbone.data_option import add_data_option
from service.backbone.settings import Settings, SettingsError
from service.backbone.user_config import user_config_path
from service.commands.prerequisites import missing

_DEFAULT = "default"


def main(argv: list[str] | None = None) -> int:
    """Show the settings, and what of them cannot be used on this machine; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        configuration = configure(flags={"data": options.data})
    except SettingsError as error:
        print(f"photogram config: {error}", file=sys.stderr)
        return 2
    for line in setting_lines(configuration):
        print(line)
    problems = list(missing(configuration))
    for problem in problems:
        print(f"photogram config: {problem}", file=sys.stderr)
    return 2 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="photogram config", description="Show the settings of the server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("show", help="print each setting, its value and where that comes from")
    add_data_option(parser)
    return parser


def setting_lines(configuration: Configuration) -> Iterator[str]:
    """Name, value and origin of each setting, and the files that settings may be in."""
    rows = [(name, configuration.shown(name), _origin(configuration, name)) for name in _names()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, origin in rows:
        yield f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}"
    yield f"settings file: {_place(configuration.file)}"
    yield f"user's file:   {_place(user_config_path(os.environ))}"


def _names() -> list[str]:
    return [each.name for each in Settings.declared()]


def _origin(configuration: Configuration, name: str) -> str:
    given = configuration.given.get(name)
    return _DEFAULT if given is None else given.place


def _place(path: os.PathLike[str]) -> str:
    return f"{path}{'' if os.path.exists(path) else ' (does not exist)'}"


if __name__ == "__main__":
    sys.exit(main())
