"""``photogram worker``: the command line of one worker process."""

from __future__ import annotations

import argparse
import socket
import sys
import uuid

from models.errors import CatalogError
from models.jobs.kinds import DIFFUSION_QUEUE, load_kinds
from service.backbone.logs import configure_logging
from service.backbone.settings import Settings, SettingsError
from workers.functions import FunctionMissing
from workers.worker import UnknownQueue, run


def main(argv: list[str] | None = None) -> int:
    """Run a worker until SIGINT or SIGTERM; returns the exit code."""
    options = _parser().parse_args(argv)
    configure_logging("worker")
    try:
        settings = Settings.from_environment()
        if settings.redis_url is None:
            raise SettingsError("REDIS_URL must be the URL of the Redis that the gateway uses")
        _load_kinds(settings)
        run(settings, settings.redis_url, options.name, options.queue)
    except (SettingsError, CatalogError, UnknownQueue, FunctionMissing) as error:
        print(f"photogram worker: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="photogram worker", description="Run jobs from a queue of REDIS_URL.")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", help="a unique name")
    parser.add_argument("--queue", default=DIFFUSION_QUEUE, help=f"the queue to serve ({DIFFUSION_QUEUE})")
    return parser


def _load_kinds(settings: Settings) -> None:
    try:
        load_kinds(settings.job_kinds)
    except (ImportError, ValueError) as error:
        raise SettingsError(f"PHOTOGRAM_JOB_KINDS: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
