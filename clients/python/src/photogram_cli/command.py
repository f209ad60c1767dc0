"""The command `photogram`: finds the command that is meant, runs it, and gives its exit code.

The exit codes are 0 (done), 1 (failed), 2 (used wrongly) and 130 (interrupted).
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from .completion import completion
from .failures import told
from .installed import SERVER_COMMANDS, CommandBroken, found_commands, load
from .parser import ALWAYS_OWN, arguments_of, build_parser

if TYPE_CHECKING:
    from photogram import InvalidParams

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
_ALSO_OWN = ("models", "keys", "config")
"""Commands of the client whose names the server's distribution has too, which then come first."""

# Fewer than in the SDK, so that a user learns within a few seconds that no server is running.
_MAX_RETRIES = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is without the program's name."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] not in ALWAYS_OWN:
        code = _run_found(arguments[0], arguments[1:])
        if code is not None:
            return code
    parser = build_parser(version("photogram"))
    options = parser.parse_args(arguments)
    if options.run is None:
        print(completion(options.shell, parser))
        return DONE
    return _run_own(options)


def _run_found(name: str, rest: list[str]) -> int | None:
    """Run an installed command and return its exit code; None if `name` is not one."""
    entry = found_commands().get(name)
    if entry is not None:
        try:
            command = load(entry)
        except CommandBroken as error:
            return _fail(str(error), FAILED)
        return command(rest)
    if name in SERVER_COMMANDS and name not in _ALSO_OWN:
        return _fail(f"{name!r} needs the server: install the distribution photogram-server", MISUSED)
    return None


def _run_own(options: argparse.Namespace) -> int:
    from photogram import ConnectionFailed, InvalidParams, Photogram, PhotogramError

    from .user_config import noted_url

    module, _, name = options.run.partition(":")
    run: Callable[[argparse.Namespace, Photogram], None] = getattr(import_module(f"{__package__}.{module}"), name)
    try:
        url = options.url or os.environ.get("PHOTOGRAM_URL") or noted_url()
        with Photogram(url, options.api_key, max_retries=_MAX_RETRIES) as client:
            run(options, client)
            sys.stdout.flush()
    except BrokenPipeError:
        return _reader_left()
    except ConnectionFailed as error:
        is_servers = error.url.startswith(client.base_url)
        return _fail(f"{error}{'; start a server with: photogram up' * is_servers}", FAILED)
    except InvalidParams as error:
        return _fail(_in_arguments(error, arguments_of(options.parser)), FAILED)
    except (PhotogramError, OSError) as error:
        return _fail(told(error), FAILED)
    except ValueError as error:
        return _fail(str(error), MISUSED)
    return DONE


def _reader_left() -> int:
    """The exit code for an output that nobody reads any more, as with `| head`; Python must not complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _in_arguments(error: "InvalidParams", arguments: Mapping[str, str]) -> str:
    """The problems of the parameters, each with the argument that gave the parameter."""
    texts = []
    for problem in error.problems:
        name = problem.field.removeprefix("params.").removeprefix("options.").partition(".")[0].partition("[")[0]
        texts.append(f"{arguments.get(name, problem.field)}: {problem.message}")
    return "; ".join(texts) or str(error)


def _fail(text: str, code: int) -> int:
    print(f"photogram: {' '.join(text.split())}", file=sys.stderr)
    return code
