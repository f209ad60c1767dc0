"""The engine of ``photogram up``: said ready once, started again, and given up; a small script stands in for vLLM."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.language import smollm2
from models.language.presets import SMOLLM2
from service.backbone.configuration import configure
from service.commands import stack
from service.llm import install as installing
from service.llm.install import EngineMissing
from service.llm.own_engine import OwnEngine
from service.supervisor import stop_in_order

SERVES = """#!{python}
import http.server, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""
FAILS = "#!/bin/sh\nexit 3\n"


def put_in_place(folder: Path, script: str) -> Path:
    """An install whose interpreter is ``script``, in ``folder``; gives the folder of its model's folder."""
    (program := folder / "venv" / "bin" / "python").parent.mkdir(parents=True)
    program.write_text(script.format(python=sys.executable))
    program.chmod(0o755)
    (folder / "venv" / ".photogram-llm").write_text(installing._requirements_hash())
    (model := folder / "cache" / "language" / SMOLLM2.name).mkdir(parents=True)
    (model / "photogram-conversion").write_text(smollm2.VERSION)
    return model.parent


@pytest.fixture(autouse=True)
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are looked for in this test's folder."""
    monkeypatch.setattr(installing, "default_venv", lambda: tmp_path / "venv")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], OwnEngine]]:
    """Makes engines whose interpreter is a script; none outlives its test."""
    made: list[OwnEngine] = []

    def make_engine(script: str) -> OwnEngine:
        made.append(OwnEngine(put_in_place(tmp_path, script), os.environ))
        return made[-1]

    yield make_engine
    stop_in_order([[engine.child for engine in made]], [5.0])


def run_until(engine: OwnEngine, is_done: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < deadline
        engine.keep_running()
        time.sleep(0.05)


def test_without_an_install_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="not installed"):
        OwnEngine(tmp_path, os.environ)


def test_ready_is_said_once_for_each_start(make: Callable[[str], OwnEngine], capfd: pytest.CaptureFixture[str]) -> None:
    engine = make(SERVES)
    said = ""

    def ready(times: int) -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return said.count("language engine ready after") == times

    run_until(engine, lambda: ready(1))
    end = time.monotonic() + 2.5
    run_until(engine, lambda: time.monotonic() > end)
    assert ready(1)
    engine.child.terminate()
    run_until(engine, lambda: ready(2))
    assert engine.child.is_running


def test_an_engine_that_never_gets_ready_is_given_up(
    make: Callable[[str], OwnEngine], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    engine = make(FAILS)
    said = ""

    def given_up() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "prompt rewriting is off: the language engine ended 3 times before it was ready" in said

    run_until(engine, given_up)
    assert [record.message for record in caplog.records] == ["llm ended with code 3; starting it again"] * 2
    end = time.monotonic() + 2.5
    run_until(engine, lambda: time.monotonic() > end)
    assert not engine.child.is_running and said.count("prompt rewriting is off") == 1


def test_what_the_others_are_told_leads_to_it(make: Callable[[str], OwnEngine]) -> None:
    engine = make(FAILS)
    told = engine.variables({})
    assert told["PHOTOGRAM_LLM_URL"].startswith("http://127.0.0.1:") and told["PHOTOGRAM_LLM_URL"].endswith("/v1")
    assert told["PHOTOGRAM_LLM_PRESET"] == SMOLLM2.name and len(told["PHOTOGRAM_LLM_KEY"]) > 32
    assert told["PHOTOGRAM_LLM_DEADLINE_S"] == "10"
    assert engine.variables({"PHOTOGRAM_LLM_DEADLINE_S": "3"})["PHOTOGRAM_LLM_DEADLINE_S"] == "3"


def test_it_is_there_only_if_wanted_and_no_other_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_in_place(tmp_path, FAILS)
    asked = {"PHOTOGRAM_DATA": str(tmp_path), "PHOTOGRAM_CACHE": str(tmp_path / "cache"), "PHOTOGRAM_LLM": "auto"}
    assert stack._own_engine(configure(asked)) is not None
    assert stack._own_engine(configure(asked | {"PHOTOGRAM_LLM": "off"})) is None
    assert stack._own_engine(configure(asked | {"PHOTOGRAM_LLM_URL": "http://127.0.0.1:9/v1"})) is None
    assert capsys.readouterr().err == ""
    assert stack._own_engine(configure(asked | {"PHOTOGRAM_CACHE": str(tmp_path / "empty")})) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("photogram up: prompt rewriting is off: ") and line.endswith("run `photogram llm install`")
