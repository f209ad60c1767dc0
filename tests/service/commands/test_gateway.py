"""The command line of the gateway: what it refuses to start with, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.commands.gateway import main


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
