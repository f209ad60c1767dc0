"""``photogram up`` where it must not start: said in one line, with nothing left running. The rest is in tests/e2e."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.jobs import kinds
from models.jobs.kinds import find_kind
from service.backbone.configuration import configure
from service.backbone.settings import Settings, SettingsError
from service.commands.stack import MISCONFIGURED, Stack, worker_children
from service.commands.up import _parser
from service.supervisor import Child
from tests.polling import until

ROOT = Path(__file__).parents[3]


def up(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    command = [sys.executable, "-m", "service", "--data", str(data), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


class _AlwaysReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port where somebody else answers that all is well."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _AlwaysReady) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_another_service_on_the_port_is_not_taken_for_ours(data: Path, taken_port: int) -> None:
    done = up(data, "--port", str(taken_port))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the gateway could not start on http://127.0.0.1:{taken_port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_is_in_use_is_left_alone(data: Path) -> None:
    with (data / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = up(data, "--port", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"another photogram up is running with {data}" in done.stderr
    assert list(data.iterdir()) == [data / "up.lock"]


@pytest.mark.parametrize("arguments", [("--port", "70000"), ("--workers", "0"), ("--host", "no such host")])
def test_arguments_that_make_no_sense_are_refused(data: Path, arguments: tuple[str, str]) -> None:
    done = up(data, *arguments)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert "photogram up: " in done.stderr and "Traceback" not in done.stderr


def test_modules_of_job_kinds_that_cannot_be_imported_are_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOGRAM_JOB_KINDS", "no_such_module")
    done = up(data)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no_such_module" in done.stderr and "Traceback" not in done.stderr


def test_each_further_queue_of_plans_or_functions_has_one_worker(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = replace(find_kind("txt2img"), name="toy", plan=None, function="toys:run", queue="toys")
    monkeypatch.setattr(kinds, "_KINDS", {**kinds._KINDS, "toy": toy, "toy2": replace(toy, name="toy2")})
    drawn = replace(find_kind("txt2img"), name="toy3", queue="drawn")
    monkeypatch.setitem(kinds._KINDS, "toy3", drawn)
    with socket.socket() as listener:
        configuration = configure({"PHOTOGRAM_DATA": str(data), "PHOTOGRAM_LLM": "off", "PHOTOGRAM_WORKERS": "2"})
        stack = Stack(configuration, _parser().parse_args([]), tmp_path, listener)
    assert [child.name for child in stack._workers] == [
        "worker 1",
        "worker 2",
        "worker agents",
        "worker drawn",
        "worker toys",
        "worker training",
    ]


@pytest.mark.parametrize(
    ("code", "is_ready", "is_started"),
    [
        (os.EX_CONFIG, False, False),
        (os.EX_CONFIG, True, False),
        (MISCONFIGURED, False, False),
        (MISCONFIGURED, True, True),
        (1, False, True),
    ],
)
def test_a_worker_is_not_started_again_if_that_would_not_help(
    code: int, is_ready: bool, is_started: bool, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as listener:
        stack = Stack(
            configure({"PHOTOGRAM_DATA": str(data), "PHOTOGRAM_LLM": "off"}),
            _parser().parse_args([]),
            tmp_path,
            listener,
        )
    stack._is_ready = is_ready
    worker = Child("worker toys", [sys.executable, "-c", f"raise SystemExit({code})"], os.environ)
    worker.start()
    while worker.is_running:
        time.sleep(0.01)
    until(lambda: stack._keep_running(worker) or not is_started or worker.starts > 1)
    for _ in range(3):
        stack._keep_running(worker)
    worker.end_by(time.monotonic() + 10)
    assert (worker.starts > 1) == is_started
    assert capfd.readouterr().err.count("worker toys is not started again") == (not is_started)


def test_functions_that_cannot_be_imported_stop_the_start(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOGRAM_JOB_KINDS", "tests.service.commands.missing_function")
    monkeypatch.setenv("PHOTOGRAM_LLM", "off")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = up(data, "--port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert len([line for line in done.stderr.splitlines() if "no_such_function" in line]) == 1
    assert done.stderr.count("photogram up: worker toys is not started again") == 1


GPUS = "GPU-aaa,GPU-bbb"
AGENTS, TRAINING = ("worker agents", None, None), ("worker training", None, None)


def test_threads_of_workers_wait_without_spinning_unless_the_user_says_otherwise(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    policies = {child._environment["OMP_WAIT_POLICY"] for child in worker_children(settings, os.environ)}
    assert policies == {"PASSIVE"}
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    policies = {child._environment["OMP_WAIT_POLICY"] for child in worker_children(settings, os.environ)}
    assert policies == {"ACTIVE"}


def places(settings: Settings) -> list[tuple[str, str | None, str | None]]:
    """The name of each worker, the GPU that it alone sees, and how many workers share its device."""
    children = [(child.name, child._environment) for child in worker_children(settings, os.environ)]
    inherited = os.environ["CUDA_VISIBLE_DEVICES"]
    return [
        (name, None if seen["CUDA_VISIBLE_DEVICES"] == inherited else seen["CUDA_VISIBLE_DEVICES"],
         seen.get("PHOTOGRAM_DEVICE_WORKERS"))
        for name, seen in children
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("visible", "workers", "expected"),
    [
        ("", None, [("worker 1", None, "1")]),
        ("", 3, [("worker 1", None, "3"), ("worker 2", None, "3"), ("worker 3", None, "3")]),
        (GPUS, None, [("worker 1", "GPU-aaa", "1"), ("worker 2", "GPU-bbb", "1")]),
        (GPUS, 1, [("worker 1", "GPU-aaa", "1")]),
        (GPUS, 3, [("worker 1", "GPU-aaa", "2"), ("worker 2", "GPU-bbb", "1"), ("worker 3", "GPU-aaa", "2")]),
    ],
)
def test_each_worker_has_one_gpu_and_shares_it_only_if_there_are_more_workers(
    visible: str,
    workers: int | None,
    expected: list[tuple[str, str | None, str]],
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert places(Settings(data=data, workers=workers)) == [*expected, AGENTS, TRAINING]


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_all_workers_are_on_a_device_that_is_named(device: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", GPUS)
    assert places(Settings(data=data, device=device)) == [("worker 1", None, "1"), AGENTS, TRAINING]
    assert [shared for _, _, shared in places(Settings(data=data, device=device, workers=2))] == ["2", "2", None, None]


def test_further_queues_have_places_only_if_they_run_models(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", GPUS)
    drawn = replace(find_kind("txt2img"), name="toy", queue="drawn")
    computed = replace(drawn, name="toy2", plan=None, function="toys:run", queue="toys")
    monkeypatch.setattr(kinds, "_KINDS", {**kinds._KINDS, "toy": drawn, "toy2": computed})
    assert places(Settings(data=data, workers=1)) == [
        ("worker 1", "GPU-aaa", "1"), AGENTS, ("worker drawn", "GPU-bbb", "1"), ("worker toys", None, None), TRAINING
    ]  # fmt: skip


def test_the_flag_stands_for_the_setting(data: Path) -> None:
    flags = {"data": str(data), "workers": _parser().parse_args(["--workers", "3"]).workers}
    assert configure({}, flags).settings.workers == 3
    assert configure({}, {"data": str(data), "workers": "auto"}).settings.workers is None
    with pytest.raises(SettingsError, match="--workers must be auto or a whole number"):
        configure({}, {"data": str(data), "workers": "many"})
