"""The command line of the gateway: what it refuses to start with, in one line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from service.commands.gateway import main


@pytest.mark.parametrize("key", ["x", "short", "aaaaaaaaaaaaaaaaaaaaaaaa", "abababababababab"])
def test_a_key_that_is_easy_to_guess_stops_the_start(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PHOTOGRAM_BOOTSTRAP_KEY", key)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    rule = "PHOTOGRAM_BOOTSTRAP_KEY must have at least 12 characters, and 6 different ones"
    assert line.startswith(f"photogram gateway: {rule}") and f"not {key!r}" not in line


def test_a_port_in_use_is_named(
    redis_url: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PHOTOGRAM_DATA", str(data))
    monkeypatch.setenv("PHOTOGRAM_BOOTSTRAP_KEY", "test-key-123456")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    assert f"photogram gateway: cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "words"),
    [("no_such_module", "ModuleNotFoundError"), ("tests.workers.broken_kinds", "RuntimeError: this module is broken")],
)
def test_modules_of_job_kinds_that_cannot_be_imported_are_named(
    data: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str,
    words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PHOTOGRAM_DATA", str(data))
    monkeypatch.setenv("PHOTOGRAM_JOB_KINDS", module)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"photogram gateway: PHOTOGRAM_JOB_KINDS: the module {module!r}") and words in line
