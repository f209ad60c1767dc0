"""The first API key of a server: the one that the settings give, or a new one that is shown once."""

from __future__ import annotations

import sys
from collections.abc import Callable

from service.backbone.connections import connect, wait_for_redis, wait_until_writable
from service.backbone.keys import bootstrap_key, has_keys

REDIS_WAIT_S = 10.0


def ensure_key(redis_url: str, bootstrap: str | None, is_hopeless: Callable[[], bool] = lambda: False) -> str | None:
    """Accept the key ``bootstrap``; without it, create the first key if there is none, and print it once.

    A key that must be added is added when Redis accepts writes; nothing else of the gateway's start needs that.

    Returns:
        The created key; ``None`` if none was created.

    Raises:
        TimeoutError: Redis does not answer, or ``is_hopeless`` returned ``True`` while it accepts no writes.
        RedisError: Redis refuses.
    """
    with connect(redis_url, "photogram-first-key") as connection:
        wait_for_redis(connection, REDIS_WAIT_S, is_hopeless)
        if has_keys(connection, bootstrap):
            return None
        wait_until_writable(connection, is_hopeless)
        created = bootstrap_key(connection, bootstrap)
    if created is not None:
        print(f"API key, shown this once: {created}", file=sys.stderr, flush=True)
    return created
