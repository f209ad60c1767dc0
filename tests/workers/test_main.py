"""The command line of a worker: what it refuses to start with, and why."""

from __future__ import annotations

import pytest

from workers.__main__ import main


@pytest.fixture(autouse=True)
def environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.delenv("PHOTOGRAM_JOB_KINDS", raising=False)


def test_a_queue_that_no_kind_uses_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--queue", "nothing"]) == 2
    assert "no job kind uses the queue 'nothing'; the queues are: photogram" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("modules", "words"), [("no_such_module", "no_such_module"), ("a b", "names of Python modules")]
)
def test_modules_of_kinds_that_cannot_be_imported_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], modules: str, words: str
) -> None:
    monkeypatch.setenv("PHOTOGRAM_JOB_KINDS", modules)
    assert main([]) == 2
    error = capsys.readouterr().err
    assert "PHOTOGRAM_JOB_KINDS" in error and words in error


def test_redis_must_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("REDIS_URL")
    assert main([]) == 2
    assert "REDIS_URL" in capsys.readouterr().err
