"""``make demo``: start everything on a free port, draw one picture over HTTP, stop everything."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile

STOP_S = 15.0


def main(argv: list[str] | None = None) -> int:
    """Draw one picture with a stack of our own; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.demo", description=__doc__)
    parser.add_argument("prompt", nargs="?", default="a red apple")
    parser.add_argument("--output", default="photogram.png")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="photogram-demo-") as data:
        return _draw(options.prompt, options.output, data)


def _draw(prompt: str, output: str, data: str) -> int:
    key, port = secrets.token_urlsafe(32), free_port()
    ours = {"PHOTOGRAM_BOOTSTRAP_KEY": key, "PHOTOGRAM_DATA": data, "PHOTOGRAM_LOG_LEVEL": "WARNING"}
    environment = os.environ | ours
    environment.pop("REDIS_URL", None)
    command = [sys.executable, "-m", "service", "--port", str(port)]
    print("Starting Valkey, the gateway and a worker ...", file=sys.stderr)
    stack = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        return _generate(stack, prompt, output, key)
    finally:
        _stop(stack)


def _stop(stack: subprocess.Popen[str]) -> None:
    stack.send_signal(signal.SIGTERM)
    try:
        stack.wait(STOP_S)
    except subprocess.TimeoutExpired:
        stack.kill()


def _generate(stack: subprocess.Popen[str], prompt: str, output: str, key: str) -> int:
    assert stack.stdout is not None
    ready = stack.stdout.readline().split()
    if len(ready) != 2 or ready[0] != "ready":
        print("The service did not start; see above.", file=sys.stderr)
        return 1
    client = [sys.executable, "-m", "photogram", "generate", prompt, "--output", output, "--url", ready[1]]
    return subprocess.run(client, env=os.environ | {"PHOTOGRAM_API_KEY": key}, check=False).returncode


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
