"""``make demo``: start everything on a free port, draw one picture over HTTP, stop everything."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile

from service.short_lived import running_service


def main(argv: list[str] | None = None) -> int:
    """Draw one picture with a service of our own; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.demo", description=__doc__)
    parser.add_argument("prompt", nargs="?", default="a red apple")
    parser.add_argument("--output", default="photogram.png")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="photogram-demo-") as data:
        return _draw(options.prompt, options.output, data)


def _draw(prompt: str, output: str, data: str) -> int:
    key = secrets.token_urlsafe(32)
    print("Starting Valkey, the gateway and a worker ...", file=sys.stderr)
    try:
        with running_service(data, key, PHOTOGRAM_LOG_LEVEL="WARNING") as url:
            client = [sys.executable, "-m", "photogram", "generate", prompt, "--output", output, "--url", url]
            return subprocess.run(client, env=os.environ | {"PHOTOGRAM_API_KEY": key}, check=False).returncode
    except RuntimeError:
        print("The service did not start; see above.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
