"""The gateway process: the application, its first API key and its listening socket."""

from __future__ import annotations

import argparse
import gc
import os
import sys

import uvicorn
from redis.exceptions import RedisError

from models.errors import CatalogError
from models.jobs.kinds import KindModuleError
from service.api.app import create_app
from service.backbone.configuration import configure_process
from service.backbone.connections import connect
from service.backbone.permissions import restrict_umask, tighten
from service.backbone.provenance import Signing
from service.backbone.settings import SettingsError
from service.backbone.tracing import start_tracing, stop_tracing
from service.commands.first_key import ensure_key
from service.commands.listening import GatewayServer, listening_socket
from service.http.server import KEEP_ALIVE_S, protocol_for

GRACE_S = 2
"""How long open requests may continue after the signal to stop."""


def serve(options: argparse.Namespace) -> int:
    """Serve at the address, or on the descriptor, of ``options`` until a signal; returns the exit code."""
    restrict_umask()
    try:
        settings = configure_process("gateway", options.data)
        if settings.redis_url is None:
            raise SettingsError("set REDIS_URL to the Redis that the workers use")
        if settings.data.is_dir():
            tighten(settings)
        start_tracing("photogram-gateway", os.environ)
        app = create_app(settings)
        ensure_key(settings.redis_url, settings.bootstrap_key)
        with connect(settings.redis_url, "photogram-signing") as connection:
            Signing(settings, connection).open_at_start()
    except (SettingsError, CatalogError, KindModuleError) as error:
        print(f"photogram gateway: {error}", file=sys.stderr)
        return 2
    except (TimeoutError, RedisError) as error:
        print(f"photogram gateway: {error}", file=sys.stderr)
        return 1
    try:
        listener = listening_socket(options.host, options.port, fd=options.fd, is_shared=options.reuse_port)
    except (OSError, OverflowError) as error:
        print(f"photogram gateway: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app, access_log=False, log_config=None, proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S, timeout_keep_alive=KEEP_ALIVE_S, server_header=False,
        http=protocol_for(settings), ws="none",
    )  # fmt: skip
    # What the application is made of stays until the end; each search for garbage in it would stop all requests for
    # about 100 ms.
    gc.collect()
    gc.freeze()
    GatewayServer(config).run([listener])
    stop_tracing()
    return 0
