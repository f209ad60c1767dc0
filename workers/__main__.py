"""``photogram worker``: the command line of one worker process."""

from __future__ import annotations

import socket
import sys
import uuid

from photogram_cli.near_misses import Parser

from service.backbone.data_option import add_data_option


def main(argv: list[str] | None = None) -> int:
    """Run a worker until SIGINT or SIGTERM; returns the exit code, as :func:`workers.process.serve`."""
    parser = Parser(prog="photogram worker", description="Run jobs from a queue of REDIS_URL.")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", help="a unique name")
    parser.add_argument("--queue", help="the queue to serve (default: the one of diffusion jobs)")
    add_data_option(parser)
    options = parser.parse_args(argv)
    # The import of the queue and the ledger takes longer than --help should.
    from workers.process import serve

    return serve(options.name, options.queue, options.data)


if __name__ == "__main__":
    sys.exit(main())
