"""The gateway's listening socket: its own, a shared one, or one that a parent process passes on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.commands.listening import listening_socket

ROOT = Path(__file__).parents[3]


def test_a_port_that_is_in_use_is_refused_unless_both_share_it() -> None:
    with listening_socket("127.0.0.1", 0, environment={}) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError):
            listening_socket("127.0.0.1", port, environment={})
        with pytest.raises(OSError):
            listening_socket("127.0.0.1", port, is_shared=True, environment={})
    with (
        listening_socket("127.0.0.1", 0, is_shared=True, environment={}) as first,
        listening_socket("127.0.0.1", first.getsockname()[1], is_shared=True, environment={}) as second,
    ):
        assert first.getsockname() == second.getsockname()


def test_an_inherited_descriptor_is_used() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as parent,
        listening_socket("no such host", 1, fd=os.dup(parent.fileno())) as inherited,
    ):
        assert inherited.getsockname() == parent.getsockname()


SYSTEMD = """
import os, sys
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = sys.argv[2] or str(os.getpid()), "1"
from service.commands.listening import listening_socket
print(listening_socket("127.0.0.1", 0).getsockname()[1])
"""


@pytest.mark.parametrize(("process_id", "is_taken"), [("", True), ("1", False)])
def test_a_socket_of_systemd_is_taken_by_the_process_that_it_is_for(process_id: str, is_taken: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = f'exec "$0" -c "$1" "$2" "$3" 3<&{listener.fileno()}'
        done = subprocess.run(
            ["bash", "-c", command, sys.executable, SYSTEMD, "", process_id],
            pass_fds=[listener.fileno()], cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert (int(done.stdout) == port) == is_taken
