"""``photogram up``: what must be right before the whole service starts on one machine, and its start."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from photogram_cli.near_misses import Parser

from models.errors import StorageUnavailable
from service.backbone.configuration import Configuration, configure
from service.backbone.data_option import add_data_option
from service.backbone.files import make_folder
from service.backbone.logs import configure_logging
from service.backbone.permissions import restrict_umask
from service.backbone.settings import Settings, SettingsError
from service.backbone.storage import write_problem
from service.backbone.user_config import remember_server, user_config_path
from service.commands.listening import listening_socket
from service.commands.prerequisites import require_all
from service.commands.stack import Stack, address_of
from service.commands.welcome import settings_lines

STORAGE_POLL_S = 0.5


def main(argv: list[str] | None = None) -> int:
    """Run everything until SIGINT or SIGTERM; returns the exit code."""
    options = _parser().parse_args(argv)
    restrict_umask()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        configuration = _configured(options)
    except (SettingsError, OSError) as error:
        print(f"photogram up: {error}", file=sys.stderr)
        return 2
    try:
        return _serve(configuration, options, stopping)
    except OSError as error:
        print(f"photogram up: {error}", file=sys.stderr)
        return 1


def _configured(options: argparse.Namespace) -> Configuration:
    """The settings, which are printed where they are not defaults; raises also what :func:`make_folder` raises."""
    configuration = configure(flags={"data": options.data, "workers": options.workers})
    configure_logging("up", configuration.environment)
    require_all(configuration)
    make_folder(configuration.settings.data)
    for line in () if options.temporary else settings_lines(configuration):
        print(line, file=sys.stderr, flush=True)
    return configuration


def _serve(configuration: Configuration, options: argparse.Namespace, stopping: threading.Event) -> int:
    """Run everything until ``stopping`` is set; returns the exit code."""
    settings = configuration.settings
    if not _has_storage(settings, stopping):
        return 0
    with (
        _locked(settings),
        _listening(options) as listener,
        tempfile.TemporaryDirectory(prefix="photogram-") as runtime,
    ):
        stack = Stack(configuration, options, Path(runtime), listener)
        if not options.temporary:
            _remember(settings.data, stack.url)
        return stack.run(stopping)


def _remember(data: Path, url: str) -> None:
    """Note the server for the user's other commands, which find its data folder otherwise only by a variable."""
    try:
        remember_server(os.environ, data, url)
    except StorageUnavailable as error:
        path = user_config_path(os.environ)
        print(f"photogram up: {path} is not written, and other commands need --data: {error}", file=sys.stderr)


def _has_storage(settings: Settings, stopping: threading.Event) -> bool:
    """Wait until the data folder can be written; ``False`` if the service is stopped before.

    Valkey cannot start without space, and says so in many lines.
    """
    problem = write_problem(settings.data)
    if problem is not None:
        print(f"photogram up: waiting, because {problem} ({settings.data})", file=sys.stderr, flush=True)
    while problem is not None:
        if stopping.wait(STORAGE_POLL_S):
            return False
        problem = write_problem(settings.data)
        if problem is None:
            print("photogram up: the data folder can be written again", file=sys.stderr, flush=True)
    return True


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Lock the data folder, because two Valkeys would corrupt the append-only file."""
    if settings.redis_url is not None:
        yield
        return
    with (settings.data / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"another photogram up is running with {settings.data}") from error
        yield


def _listening(options: argparse.Namespace) -> socket.socket:
    """The socket that every gateway process inherits: connections made while one is replaced wait in its backlog.

    Raises:
        OSError: the port is in use, or there is no such address.
    """
    try:
        return listening_socket(options.host, options.port, environment={})
    except (OSError, OverflowError) as error:
        raise OSError(f"the gateway could not start on {address_of(options)}: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="photogram up", description="Run Valkey, the gateway, the workers and the language engine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument("--workers", metavar="N", help="as PHOTOGRAM_WORKERS: auto (default), or a number of workers")
    parser.add_argument(
        "--temporary",
        action="store_true",
        help="print less, and do not note the server for other commands",
    )
    add_data_option(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
