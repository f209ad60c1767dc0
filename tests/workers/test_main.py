"""The command line of a worker: what it refuses to start with, and why."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from models.jobs import kinds
from models.jobs.kinds import find_kind
from workers.__main__ import main


@pytest.fixture(autouse=True)
def environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.delenv("PHOTOGRAM_JOB_KINDS", raising=False)


def test_a_queue_that_no_kind_uses_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--queue", "nothing"]) == 2
    assert "no job kind uses the queue 'nothing'; the queues are: agents, photogram" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "expandable_segments:True"),
        ({"PYTORCH_ALLOC_CONF": "backend:native"}, "backend:native"),
        ({"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}, None),
    ],
)
def test_memory_of_a_gpu_grows_in_segments_unless_the_operator_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str | None
) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "to be removed at the end")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["--queue", "nothing"]) == 2
    assert os.environ.get("PYTORCH_ALLOC_CONF") == expected


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ("no_such_module", "no_such_module"),
        ("a b", "names of Python modules"),
        ("tests.workers.broken_kinds", "RuntimeError: this module is broken"),
    ],
)
def test_modules_of_kinds_that_cannot_be_imported_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], modules: str, words: str
) -> None:
    monkeypatch.setenv("PHOTOGRAM_JOB_KINDS", modules)
    assert main([]) == 2
    error = capsys.readouterr().err
    assert "PHOTOGRAM_JOB_KINDS" in error and words in error


def test_a_function_that_cannot_be_imported_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = replace(find_kind("txt2img"), name="toy", plan=None, function="tests.workers.broken_kinds:run", queue="toys")
    monkeypatch.setattr(kinds, "_KINDS", {**kinds._KINDS, "toy": toy})
    assert main(["--queue", "toys"]) == os.EX_CONFIG
    error = capsys.readouterr().err
    assert "tests.workers.broken_kinds:run" in error and "this module is broken" in error


def test_redis_must_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("REDIS_URL")
    assert main([]) == 2
    assert "REDIS_URL" in capsys.readouterr().err


def test_a_worker_that_leaves_frees_nothing_and_loses_no_output() -> None:
    program = (
        "import atexit, sys; from workers.exit import leave;"
        "atexit.register(print, 'finalized'); print('closed'); print('said', file=sys.stderr); leave()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "closed\n", "said\n")
