"""The parser of all commands: says which command or flag was probably meant, and refuses what is no text."""

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from .texts import is_text


class Parser(argparse.ArgumentParser):
    """Says which command or flag was probably meant; a command refuses flags of other commands itself."""

    def parse_known_args(  # type: ignore[override]  # its overloads are for namespaces of other types
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:  # noqa: ANN401
        value = super()._get_value(action, arg_string)
        if action.nargs != argparse.PARSER and not is_text(value):  # the parser of the command checks its own arguments
            raise argparse.ArgumentError(action, f"must be text in UTF-8, and is {arg_string!r}")
        return value

    def error(self, message: str) -> NoReturn:
        super().error(message + self._hint(message))

    def _hint(self, message: str) -> str:
        if found := re.search(r"invalid choice: '(.*?)'", message):
            return near_miss(found[1], re.findall(r"'([\w.-]+)'", message[found.end() :]))
        if found := re.search(r"unrecognized arguments: --([\w-]+)", message):
            if any(action.metavar == found[1].upper() for action in self._get_positional_actions()):
                return f"; {found[1].upper()} is given without a flag, at its place"
            return near_miss(f"--{found[1]}", self._option_string_actions)
        return ""


def near_miss(name: str, names: Iterable[str]) -> str:
    """A hint at the name that was probably meant; nothing if none is like it."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {found[0]}?" if found else ""
