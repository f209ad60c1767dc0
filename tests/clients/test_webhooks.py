"""`client.webhooks`, `photogram.webhooks.verify` and the command `photogram webhooks`, against a real server."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from photogram import AsyncPhotogram, InvalidParams, NotFound, Photogram, WebhookRefused, webhooks
from photogram_cli.command import main
from redis import Redis
from standardwebhooks import Webhook

from service.api.app import create_app
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from tests.serving import serving
from tests.webhook_receiver import Receiver
from tests.webhook_receiver import status as answers

BODY = b'{"type": "job.finished", "timestamp": "2026-11-27T10:00:00Z", "data": {"id": "x", "is_shortened": true}}'
SECRET = "whsec_" + "QUJD" * 8


@pytest.fixture
def url(settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    private = Settings(redis_url=settings.redis_url, data=settings.data, webhook_private=True)
    with serving(create_app(private)) as served:
        monkeypatch.setenv("PHOTOGRAM_URL", served)
        monkeypatch.setenv("PHOTOGRAM_API_KEY", key)
        yield served


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


def signed(body: bytes = BODY, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    signature = Webhook(secret).sign("msg_1", moment, body.decode())
    stamp = str(int(moment.timestamp()))
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": stamp, "Webhook-Signature": f"v1,AAAA {signature} v1a,x"}


def test_what_the_library_of_the_standard_signs_is_verified():
    event = webhooks.verify(BODY, signed(), SECRET)
    assert (event.id, event.type, event.data["id"]) == ("msg_1", "job.finished", "x")
    with pytest.raises(ValueError, match="get it by its id"):
        _ = event.job


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (BODY, lambda: {}, "no header"),
        (BODY + b" ", signed, "signature"),
        (BODY, lambda: signed(secret="whsec_" + "QUJE" * 8), "signature"),
        (BODY, lambda: signed(at=time.time() - 400), "not sent just now"),
        (BODY, lambda: signed(at=time.time() + 400), "not sent just now"),
        (BODY, lambda: signed() | {"Webhook-Timestamp": "now"}, "not sent just now"),
        (BODY, lambda: signed() | {"Webhook-Signature": "v1,ü"}, "signature"),
        (b"[]", lambda: signed(b"[]"), "cannot be read"),
    ],
)
def test_anything_else_is_refused(body: bytes, headers: Callable[[], dict[str, str]], message: str):
    with pytest.raises(WebhookRefused, match=message):
        webhooks.verify(body, headers(), SECRET)


def test_an_endpoint_from_python(url: str, receiver: Receiver, redis: Redis):
    with Photogram() as client:
        made = client.webhooks.add(receiver.url, ["job.finished"], "mine")
        assert made.secret is not None and client.webhooks.list()[0].id == made.id
        job = client.submit("a cat")
        ledger = Ledger(redis, 3600)
        ledger.start(job.id, "e")
        ledger.succeed(job.id, "e", [], {})
        (got,) = receiver.wait_for(1)
        event = webhooks.verify(got.body, got.headers, made.secret)
        assert event.job == client.jobs.get(job.id)
        secret = client.webhooks.rotate_secret(0)
        receiver.replies.append(answers(410))
        own = client.submit("a dog", webhook=receiver.url)
        assert client.jobs.cancel(own).status == "canceled"
        assert {webhooks.verify(each.body, each.headers, secret).job.id for each in receiver.wait_for(3)[1:]} == {
            own.id
        }
        with pytest.raises(InvalidParams, match="http"):
            client.webhooks.add("nothing")
        client.webhooks.remove(made.id)
        for call in (client.webhooks.remove, client.webhooks.test, client.webhooks.attempts, client.webhooks.replay):
            with pytest.raises(NotFound):
                call(made.id)


async def test_an_endpoint_with_asyncio(url: str, receiver: Receiver):
    async with AsyncPhotogram() as client:
        made = await client.webhooks.add(receiver.url)
        assert (await client.webhooks.change(made.id, is_on=False)).off_reason is not None
        delivery_id = await client.webhooks.test(made.id)
        receiver.wait_for(1)
        while not (attempts := await client.webhooks.attempts(made.id)):
            pass
        assert (attempts[0].delivery_id, attempts[0].status) == (delivery_id, 200)
        assert await client.webhooks.deliveries("pending") == []
        assert (await client.webhooks.rotate_secret()).startswith("whsec_")
        await client.webhooks.remove(made.id)
        assert await client.webhooks.list() == []


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["webhooks", *arguments]) == code
    return capsys.readouterr().out


def test_the_command(url: str, receiver: Receiver, redis: Redis, capsys: pytest.CaptureFixture[str]):
    made = json.loads(run(capsys, "add", receiver.url, "--json"))
    endpoint_id, line = made["id"], f"{made['id']}  {receiver.url}  job.finished  "
    assert made["secret"].startswith("whsec_")
    assert run(capsys, "list") == f"{line}on\n"
    assert "webhook.test  answered 200" in run(capsys, "test", endpoint_id)
    receiver.replies += [answers(500), answers(410)]
    assert "webhook.test  answered 500" in run(capsys, "test", endpoint_id, code=1)
    with Photogram() as client:
        client.jobs.cancel(client.submit("a cat"))
        receiver.wait_for(3)
        while client.webhooks.list()[0].is_on:
            pass
    assert run(capsys, "list") == f"{line}off: it answered 410 Gone\n"
    assert run(capsys, "on", endpoint_id) == f"{line}on\n"
    (dead,) = run(capsys, "dead").splitlines()
    assert dead.endswith("dead after 1 attempts")
    assert "pending" in run(capsys, "replay", dead.split()[0])
    receiver.wait_for(4)
    assert len(run(capsys, "log", endpoint_id).splitlines()) in (3, 4)
    assert run(capsys, "secret").startswith("whsec_")
    assert run(capsys, "rm", endpoint_id) == "" and run(capsys, "list") == ""
    assert run(capsys, "rm", endpoint_id, code=1) == ""
