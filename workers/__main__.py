"""``photogram worker``: the command line of one worker process."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import uuid

from models.errors import CatalogError
from models.jobs.kinds import DIFFUSION_QUEUE, KindModuleError, load_kinds
from service.backbone.configuration import configure_process
from service.backbone.permissions import restrict_umask
from service.backbone.settings import SettingsError
from workers.functions import FunctionMissing
from workers.worker import UnknownQueue, run


def main(argv: list[str] | None = None) -> int:
    """Run a worker until SIGINT or SIGTERM.

    Returns the exit code: 2 for settings that are not valid, and 78 (``EX_CONFIG``) if the function of a job kind
    cannot be imported, so that a supervisor can tell that a restart does not help.
    """
    options = _parser().parse_args(argv)
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:  # the variable's older name
        # Segments that grow waste less of a GPU's memory between batches of many sizes; read when torch first uses it.
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    restrict_umask()
    try:
        settings = configure_process("worker")
        if settings.redis_url is None:
            raise SettingsError("REDIS_URL must be the URL of the Redis that the gateway uses")
        load_kinds(settings.job_kinds)
        run(settings, settings.redis_url, options.name, options.queue)
    except (SettingsError, CatalogError, UnknownQueue, KindModuleError, FunctionMissing) as error:
        print(f"photogram worker: {error}", file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, FunctionMissing) else 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="photogram worker", description="Run jobs from a queue of REDIS_URL.")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", help="a unique name")
    parser.add_argument("--queue", default=DIFFUSION_QUEUE, help=f"the queue to serve ({DIFFUSION_QUEUE})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
