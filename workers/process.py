"""The worker process: its settings and its exit codes."""

from __future__ import annotations

import os
import sys

from models.errors import CatalogError
from models.jobs.kinds import DIFFUSION_QUEUE, KindModuleError, load_kinds
from service.backbone.configuration import configure_process
from service.backbone.permissions import restrict_umask
from service.backbone.settings import SettingsError
from service.backbone.tracing import start_tracing, stop_tracing
from workers.exit import leave
from workers.functions import FunctionMissing
from workers.worker import UnknownQueue, run


def serve(name: str, queue: str | None, data: str | None) -> int:
    """Run a worker of ``queue``, or of the diffusion queue, until SIGINT or SIGTERM; then the process ends.

    Returns the exit code if it cannot run: 2 for settings that are not valid, and 78 (``EX_CONFIG``) if the function of
    a job kind cannot be imported, so that a supervisor can tell that a restart does not help.
    """
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:  # the variable's older name
        # Segments that grow waste less of a GPU's memory between batches of many sizes; read when torch first uses it.
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    restrict_umask()
    try:
        settings = configure_process("worker", data)
        if settings.redis_url is None:
            raise SettingsError("REDIS_URL must be the URL of the Redis that the gateway uses")
        load_kinds(settings.job_kinds)
        start_tracing("photogram-worker", os.environ)
        run(settings, settings.redis_url, name, queue or DIFFUSION_QUEUE)
    except (SettingsError, CatalogError, UnknownQueue, KindModuleError, FunctionMissing) as error:
        print(f"photogram worker: {error}", file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, FunctionMissing) else 2
    finally:
        stop_tracing()
    leave()
