"""How many jobs and which workers a queue has."""

from __future__ import annotations

import time

from redis import Redis

from service.backbone.connections import connect_async
from service.backbone.ledger import Ledger
from service.backbone.queue_counts import Queues


async def test_workers_count_while_they_send_heartbeats(ledger: Ledger, redis: Redis, redis_url: str) -> None:
    ledger.beat("a")
    redis.zadd("photogram:workers", {"silent": time.time() - 60})
    ledger.beat("b", "toys")
    connection = connect_async(redis_url, "test")
    found = await Queues(connection).count(["photogram", "toys", "nobody"])
    await connection.aclose(close_connection_pool=True)
    assert {queue: count.workers for queue, count in found.items()} == {
        "photogram": ("a",), "toys": ("b",), "nobody": ()
    }  # fmt: skip
