"""The option ``--data`` of the commands of the server, which all find its data folder in the same way."""

from __future__ import annotations

import argparse

from photogram_cli.texts import FileName

_HELP = "the server's data folder (default: PHOTOGRAM_DATA, then that of the last photogram up)"


def add_data_option(parser: argparse.ArgumentParser, flag: str = "--data") -> None:
    """Let ``parser`` take the option, before and after its subcommands, which must have been added."""
    parser.add_argument(flag, metavar="FOLDER", type=FileName, help=_HELP)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                command.add_argument(flag, metavar="FOLDER", type=FileName, help=_HELP, default=argparse.SUPPRESS)
