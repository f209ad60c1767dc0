"""``photogram gateway``: one gateway process, against the Redis at ``REDIS_URL``."""

from __future__ import annotations

import sys

from photogram_cli.near_misses import Parser

from service.backbone.data_option import add_data_option
from service.backbone.lasting_imports import lasting_imports


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code."""
    parser = Parser(prog="photogram gateway", description="Serve the HTTP API over REDIS_URL.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument(
        "--reuse-port", action="store_true", help="let another gateway listen on the same port, to replace this one"
    )
    parser.add_argument(
        "--fd", type=int, help="a listening socket that the parent process opened; replaces host and port"
    )
    add_data_option(parser)
    options = parser.parse_args(argv)
    with lasting_imports():  # here, since they take longer than --help may
        from service.commands.serving import serve

    return serve(options)


if __name__ == "__main__":
    sys.exit(main())
