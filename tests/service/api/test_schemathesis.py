"""Every operation of the OpenAPI document keeps to it, whatever is sent: schemathesis makes up the requests.

Jobs succeed as soon as they are queued, so that calls which wait for images are answered; the language engine
proposes a job whatever it is asked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from zipfile import ZipFile

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image as Image
from redis import Redis
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from models.jobs.kinds import DIFFUSION_QUEUE
from models.media.archives import ZIP_TYPES
from service.api.app import create_app
from service.backbone.connections import connect
from service.backbone.keys import add_key
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from service.backbone.turns import Turns
from tests.engine_stub import EngineStub, Say
from tests.service.api.conftest import EXECUTION, Hand

KEY = "a-key-for-schemathesis"
EXAMPLES = int(os.environ.get("PHOTOGRAM_SCHEMATHESIS_EXAMPLES", "4"))
"""Requests for each operation; making them up takes most of the time, so `make soak` makes up more."""
TIMEOUT_S = 120
"""Far more than an answer takes, even on a busy machine."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def bitmap() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "BMP")
    return buffer.getvalue()


def archive() -> bytes:
    buffer = BytesIO()
    with ZipFile(buffer, "w") as packed:
        packed.writestr("cat/1.bmp", bitmap())
    return buffer.getvalue()


for name in ("bmp", "avif", "jp2", "tiff", "x-icon", "x-portable-anymap"):  # told by the bytes, whatever the type says
    schemathesis.openapi.media_type(f"image/{name}", st.sampled_from([bitmap(), b"no image"]))
for name in ZIP_TYPES:
    schemathesis.openapi.media_type(name, st.sampled_from([archive(), b"no archive"]))
schema = schemathesis.openapi.from_dict(create_app(Settings(prodia_keyless=True)).openapi())


@pytest.fixture(scope="module")
def ledger(valkey_url: str) -> Iterator[Redis]:
    """A connection to the Valkey, which has nothing but our key."""
    connection = connect(valkey_url, "photogram-schemathesis")
    connection.flushall()
    add_key(connection, KEY, "schemathesis")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def gateway(
    ledger: Redis,
    valkey_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    serve: Callable[[FastAPI], AbstractContextManager[str]],
) -> Iterator[str]:
    """The URL of a server, with a worker's hand at work behind it."""
    data = tmp_path_factory.mktemp("schemathesis")
    hand, ending = Hand(Ledger(ledger, 3600), ImageStore(data / "images")), threading.Event()
    thread = threading.Thread(target=work, args=(ledger, hand, ending))
    thread.start()
    with EngineStub() as engine:
        engine.answer_with(Say(calls=(("create_image", '{"prompt": "a fox"}'),)))
        settings = Settings(redis_url=valkey_url, data=data, prodia_keyless=True, llm_url=engine.url)
        with serve(create_app(settings)) as url:
            yield url
    ending.set()
    thread.join()


def work(redis: Redis, hand: Hand, ending: threading.Event) -> None:
    """Finish every job that is queued, unless it is canceled, until it is time to end."""
    turns = Turns(redis, DIFFUSION_QUEUE)
    while not ending.is_set():
        hand.ledger.beat("hand")
        job_id = turns.take() or turns.wait(0.2)
        if job_id is not None and hand.ledger.start(job_id, EXECUTION) is not None:
            hand.succeed(job_id)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
def test_every_operation_keeps_to_the_document(case: Case, gateway: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    case.call_and_validate(base_url=gateway, headers=headers, checks=CHECKS, timeout=TIMEOUT_S)
