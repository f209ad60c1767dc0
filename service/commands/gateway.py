"""``photogram gateway``: one gateway process, against the Redis at ``REDIS_URL``."""

from __future__ import annotations

import argparse
import sys

import uvicorn
from redis.exceptions import RedisError

from models.errors import CatalogError
from models.jobs.kinds import KindModuleError
from service.api.app import create_app
from service.backbone.connections import connect, wait_for_redis, wait_until_writable
from service.backbone.keys import bootstrap_key, has_keys
from service.backbone.logs import configure_logging
from service.backbone.permissions import restrict_umask, tighten
from service.backbone.settings import Settings, SettingsError
from service.commands.listening import GatewayServer, listening_socket
from service.http.server import KEEP_ALIVE_S, protocol_for

REDIS_WAIT_S = 10.0
GRACE_S = 2
"""How long open requests may continue after the signal to stop."""


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(prog="photogram gateway", description="Serve the HTTP API over REDIS_URL.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--reuse-port", action="store_true", help="let another gateway listen on the same port, to replace this one"
    )
    parser.add_argument(
        "--fd", type=int, help="a listening socket that the parent process opened; replaces host and port"
    )
    options = parser.parse_args(argv)
    configure_logging("gateway")
    restrict_umask()
    try:
        settings = Settings.from_environment()
        if settings.redis_url is None:
            raise SettingsError("set REDIS_URL to the Redis that the workers use")
        if settings.data.is_dir():
            tighten(settings)
        app = create_app(settings)
        ensure_key(settings.redis_url, settings.bootstrap_key)
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
    GatewayServer(config).run([listener])
    return 0


def ensure_key(redis_url: str, bootstrap: str | None) -> None:
    """Accept the key ``bootstrap``; without it, create the first key if there is none, and print it once.

    A key that must be added is added when Redis accepts writes; nothing else of the gateway's start needs that.
    """
    with connect(redis_url, "photogram-gateway-start") as connection:
        wait_for_redis(connection, REDIS_WAIT_S)
        if has_keys(connection, bootstrap):
            return
        wait_until_writable(connection)
        created = bootstrap_key(connection, bootstrap)
    if created is not None:
        print(f"API key, shown this once: {created}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
