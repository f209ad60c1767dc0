"""What is particular to S3: failures that say why, time limits, parts, ages, and checks of the service."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace

import httpx
import pytest
from obstore.exceptions import GenericError

from models.errors import StorageUnavailable
from service.backbone.objects import s3 as module
from service.backbone.objects import s3_monitor
from service.backbone.objects.opening import KINDS, open_monitor, open_stores
from service.backbone.objects.s3 import PIECE_BYTES, TOUCH_AFTER_S, S3Objects
from service.backbone.objects.s3_client import open_bucket, using_s3
from service.backbone.setting_values import bucket
from service.backbone.settings import Settings
from tests.s3 import S3Server

WRONG = {
    "wrong secret key": ({"s3_secret_access_key": "wrong"}, "the secret key is wrong"),
    "unknown key": ({"s3_access_key_id": "unknown"}, "the access key is not known there"),
    "missing bucket": ({"storage": "s3://no-such-bucket"}, "there is no such bucket"),
    "nobody listens": ({"s3_endpoint": "http://127.0.0.1:1"}, "it cannot be reached"),
    "another service": ({"s3_endpoint": "http://localhost:1"}, "it cannot be reached"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_without_addresses_and_keys(name: str, s3: S3Server) -> None:
    changes, reason = WRONG[name]
    settings = s3.settings(**changes)
    stores = open_stores(settings)
    with pytest.raises(StorageUnavailable) as raised:
        stores.inputs.add(b"x")
    problem = open_monitor(settings, KINDS).write_problem()
    assert str(raised.value) == problem == f"the S3 storage cannot be used: {reason}"


def test_what_nobody_expected_is_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with (
        pytest.raises(StorageUnavailable, match=r"it answered what was not expected; the log has its words$"),
        using_s3(),
    ):
        raise GenericError("a range of http://10.0.0.1 was ignored")
    assert "a range of http://10.0.0.1 was ignored" in caplog.text


def test_a_service_that_does_not_answer_is_given_up(s3: S3Server) -> None:
    s3.delay_s = 3.0
    images = open_stores(s3.settings(s3_timeout_s=0.5)).images
    began_at = time.monotonic()
    for call in (lambda: images.add(b"x"), lambda: images.find("00000000-0000-4000-8000-000000000000")):
        with pytest.raises(StorageUnavailable, match="did not answer in time"):
            call()
    assert time.monotonic() - began_at < 8


def test_connections_that_break_are_tried_again(s3: S3Server, s3_objects: S3Objects) -> None:
    s3.is_broken = True
    threading.Timer(0.05, lambda: setattr(s3, "is_broken", False)).start()
    s3_objects.put("00/a", b"x")
    assert s3_objects.find("00/a").read() == b"x"


def test_a_service_that_comes_back_is_used_again(s3: S3Server) -> None:
    images = open_stores(s3.settings()).images
    kept = images.add(b"kept")
    s3.kill()
    with pytest.raises(StorageUnavailable):
        images.add(b"x")
    with pytest.raises(StorageUnavailable):
        images.find(kept)
    s3.start()
    assert images.find(kept).read() == b"kept" and images.add(b"x")


def test_large_objects_go_in_parts_and_come_in_pieces(s3: S3Server, s3_objects: S3Objects) -> None:
    data = os.urandom(module.PART_BYTES + 5)
    s3.requests.clear()
    s3_objects.put("00/large", data)
    assert sum(method == "PUT" and "partNumber" in path for method, path in s3.requests) == 2
    found = s3_objects.find("00/large")
    s3.requests.clear()
    with found.open() as file:
        assert file.read(10) == data[:10]
    assert len(s3.requests) == 1, "one piece"
    assert found.read_range(PIECE_BYTES, PIECE_BYTES + 3) == data[PIECE_BYTES : PIECE_BYTES + 3]


def test_touching_sends_an_object_again_only_if_it_is_old(
    s3: S3Server, s3_objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_objects.put("00/a", b"x")
    s3.requests.clear()
    assert s3_objects.touch("00/a")
    assert {method for method, _ in s3.requests} == {"HEAD"}
    monkeypatch.setattr(module.time, "time", lambda now=time.time: now() + TOUCH_AFTER_S + 5)
    assert s3_objects.touch("00/a")
    assert [method for method, _ in s3.requests].count("PUT") == 1


def test_a_link_gives_the_object_to_everybody_for_a_while(s3: S3Server, s3_objects: S3Objects) -> None:
    s3_objects.put("00/a.png", b"png")
    link = s3_objects.find("00/a.png").link(60)
    assert httpx.get(link).content == b"png"
    for other in (link.partition("?")[0], link.replace("00/a.png", "00/b.png")):
        assert httpx.get(other).status_code in (400, 403)


def test_the_monitor_writes_only_at_first_and_after_failures(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(s3_monitor, "GOOD_FOR_S", 0.0)
    monkeypatch.setattr(s3_monitor, "CACHED_S", 0.0)
    monitor = open_monitor(s3.settings(), KINDS)
    s3.requests.clear()
    assert monitor.problem() is None and monitor.write_problem() is None
    assert [method for method, _ in s3.requests] == ["PUT", "HEAD"], "written, then asked"
    with caplog.at_level(logging.WARNING):
        s3.kill()
        assert monitor.problem() == monitor.write_problem() == "the S3 storage cannot be used: it cannot be reached"
        with pytest.raises(StorageUnavailable):
            monitor.require_room()
        s3.start()
        assert monitor.problem() is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"], "each change once"
    s3.requests.clear()
    monitor.note_failure()
    assert monitor.problem() is None
    assert [method for method, _ in s3.requests] == ["PUT"]


def test_an_operation_that_fails_is_noticed_at_once(s3: S3Server, s3_objects: S3Objects) -> None:
    """The times of the monitor are those of a server: nothing is asked for 15 s unless something fails."""
    monitor = open_monitor(s3.settings(), KINDS)
    assert monitor.problem() is None and s3_objects.create("00/a.png", b"png")
    found = s3_objects.find("00/a.png")
    s3.requests.clear()
    assert s3_objects.find("00/b.png") is None and monitor.is_checked, "what is not there is no failure"
    assert [method for method, _ in s3.requests] == ["HEAD"]
    s3.kill()
    assert monitor.problem() is None, "nobody has noticed"
    with pytest.raises(StorageUnavailable):
        found.read()
    assert not monitor.is_checked
    assert monitor.problem() == "the S3 storage cannot be used: it cannot be reached"
    with pytest.raises(StorageUnavailable):
        s3_objects.find("00/a.png")
    assert monitor.is_checked, "a store that is down is asked regularly, whatever fails"
    s3.start()


def test_only_one_thread_waits_for_a_check(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_monitor, "GOOD_FOR_S", 0.0)
    monitor = open_monitor(s3.settings(), KINDS)
    assert monitor.problem() is None
    s3.delay_s = 2.0
    waiting = threading.Thread(target=monitor.problem)
    waiting.start()
    time.sleep(0.3)
    began_at = time.monotonic()
    assert monitor.problem() is None and time.monotonic() - began_at < 1
    waiting.join()


def test_the_host_may_have_the_name_of_the_bucket(s3: S3Server) -> None:
    settings = replace(s3.settings(), s3_path_style=False, s3_endpoint="https://s3.example.org")
    link = module.S3Object("a", 1, 0.0, open_bucket("s3://prints/x", settings), "images/a").link(60)
    assert link.startswith("https://prints.s3.example.org/x/images/a?")


def test_encryption_is_asked_for(s3: S3Server) -> None:
    settings = s3.settings(s3_encryption="aws:kms", s3_kms_key="a-key")
    assert open_stores(settings).images.add(b"x"), "the server ignores it; obstore refuses names that it does not know"
    with pytest.raises(Exception, match="encryption"):
        open_stores(s3.settings(s3_encryption="rot13")).images.add(b"x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://my.bucket-1/", "s3://my.bucket-1"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
    ],
)
def test_places_in_buckets(text: str, value: str) -> None:
    assert bucket(text) == value
    assert Settings.from_environment({"HOME": "/", "PHOTOGRAM_STORAGE": text}).storage == value


@pytest.mark.parametrize(
    "text",
    ["s3://", "s3://B", "s3://b", "s3:/bucket", "gs://bucket", "/data", "s3://bucket//a", "s3://bucket/../a",
     "s3://bucket/a?b", "s3://key:secret@bucket", "s3://bucket/" + "a" * 300],
)  # fmt: skip
def test_what_is_no_place_in_a_bucket(text: str) -> None:
    with pytest.raises(ValueError, match="must be s3://bucket"):
        bucket(text)
