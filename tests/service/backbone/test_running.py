"""The note of a running server: found while its process lives, stale afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from service.backbone.running import RunningServer, announced, running_server

SERVER = RunningServer(1, "http://127.0.0.1:8000", "unix:///tmp/valkey.sock")
OTHER = RunningServer(2, "http://127.0.0.1:9000", None)
ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
from pathlib import Path
from service.backbone.running import RunningServer, announced
with announced(Path(sys.argv[1]), RunningServer(os.getpid(), "http://127.0.0.1:8000", None)):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_server_is_found_while_it_runs(data: Path) -> None:
    assert running_server(data) is None
    with announced(data, SERVER):
        assert running_server(data) == SERVER
        assert running_server(data) == SERVER, "a reader does not take the lock away"
    assert running_server(data) is None and list(data.iterdir()) == []


def test_the_first_of_several_servers_with_one_folder_is_found(data: Path) -> None:
    with announced(data, SERVER):
        with announced(data, OTHER):
            assert running_server(data) == SERVER
        assert running_server(data) == SERVER


def test_a_note_that_a_killed_process_left_is_stale(data: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(data)], cwd=ROOT, check=False)
    assert done.returncode == -9 and (data / "server.json").read_text().startswith("{")
    assert running_server(data) is None
    with announced(data, OTHER):
        assert running_server(data) == OTHER


def test_a_folder_that_does_not_exist_has_no_server(data: Path) -> None:
    assert running_server(data / "nowhere") is None
