"""How fast images are found among 100,000 of one API key, over HTTP and inside, and what the first search takes.

``python -m benchmarks.search`` starts Valkey and one gateway without a worker, and puts records with fingerprints into
Valkey itself. The same searches are then made in this process without HTTP (``nearest``), on an index of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gateway.client import Connection
from benchmarks.gateway.load import Hand, new_job
from benchmarks.gateway.servers import Server, gateway, valkey
from models.eyes.encoders import WIDTH
from models.eyes.fingerprints import Fingerprint
from service.backbone.connections import connect_async
from service.backbone.image_index import ImageIndex
from service.backbone.image_search import ImageSearch
from service.backbone.keyspace import owner_fingerprints_key, record_key
from service.backbone.listing import JobQuery
from service.backbone.records import FINGERPRINTS
from service.backbone.watch import JobWatcher

LIKES, TEXTS = 300, 100
_AT_ONCE = 1000


async def fill(redis: Any, finished: str, count: int) -> tuple[str, list[str]]:
    """Copy the record of a finished job ``count`` times, each with a random fingerprint; gives owner and image ids."""
    random = np.random.default_rng(0)
    record = await redis.hgetall(record_key(finished))
    owner, images, [image_of] = record[b"owner"].decode(), [], json.loads(record[b"images"])
    for first in range(0, count, _AT_ONCE):
        size = min(_AT_ONCE, count - first)
        vectors = random.normal(size=(size, WIDTH)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        async with redis.pipeline(transaction=False) as pipeline:
            for number, vector in enumerate(vectors, first):
                job, image = f"search-{number}", f"image-{number}"
                images.append(image)
                print_ = Fingerprint(vector, int(random.integers(0, 1 << 63)))
                own = {b"job_id": job, FINGERPRINTS.encode(): json.dumps({image: print_.to_text()})}
                own[b"images"] = json.dumps([image_of | {"image_id": image}])
                pipeline.hset(record_key(job), mapping={**record, **own})
                pipeline.zadd(owner_fingerprints_key(owner), {job: time.time() - 86400 * (1 - number / count)})
            await pipeline.execute()
    return owner, images


async def timed_ms(count: int, search: Callable[[int], Awaitable[object]]) -> dict[str, float]:
    """The median and the 99th percentile of ``count`` searches, one after another, in milliseconds."""
    took = []
    for number in range(count):
        began = time.perf_counter()
        await search(number)
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return {"p50_ms": round(took[count // 2], 1), "p99_ms": round(took[int(count * 0.99)], 1)}


async def over_http(server: Server, key: str, images: Sequence[str]) -> dict[str, Any]:
    """The first search, and the others by images and by texts; the memory of the gateway before and after."""
    connection = await Connection.open(server.port, key)

    async def found(query: str) -> None:
        status, body = await connection.request("GET", f"/v1/images/search?limit=20&{query}")
        assert status == 200 and len(json.loads(body)["images"]) == 20, body

    before_mb = memory_mb(server.pid)
    first = await timed_ms(1, lambda _: found(f"like={images[0]}"))
    likes = await timed_ms(LIKES, lambda number: found(f"like={images[number * len(images) // LIKES]}"))
    first_text = await timed_ms(1, lambda _: found("text=a+red+apple"))
    texts = await timed_ms(TEXTS, lambda number: found(f"text=apple+number+{number}"))
    connection.close()
    return {
        "first_ms": first["p50_ms"], "like": likes, "first_text_ms": first_text["p50_ms"], "text": texts,
        "memory_mb": [before_mb, memory_mb(server.pid)],
    }  # fmt: skip


async def inside(url: str, owner: str) -> dict[str, float]:
    """The time of :meth:`ImageSearch.nearest` alone, with its index read."""
    redis = connect_async(url, "inside")
    search = ImageSearch(redis, JobWatcher(redis, 3600), ImageIndex(redis))
    vectors = np.random.default_rng(1).normal(size=(LIKES, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    async def nearest(number: int) -> None:
        assert len(await search.nearest(owner, vectors[number], JobQuery(), limit=20, least=-1)) == 20

    await nearest(0)
    found = await timed_ms(LIKES, nearest)
    await redis.aclose()
    return found


def memory_mb(pid: int) -> int:
    """The resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


async def measure(jobs: int) -> dict[str, Any]:
    """All figures for ``jobs`` jobs with an image each."""
    key = secrets.token_hex(16)
    with valkey(key) as url, gateway(url) as server:
        redis = connect_async(url, "benchmark")
        finished, hand = await new_job(server.port, key), Hand(redis)
        await hand.start(finished)
        await hand.succeed(finished)
        owner, images = await fill(redis, finished, jobs)
        http = await over_http(server, key, images)
        figures = {"jobs": jobs, "http": http, "nearest": await inside(url, owner)}
        await redis.aclose()
    return figures | {"load": os.getloadavg()[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="how many jobs with an image there are")
    print(json.dumps(asyncio.run(measure(parser.parse_args().jobs)), indent=2))


if __name__ == "__main__":
    main()
