"""``make demo``: start everything on a free port, generate one image over HTTP, stop everything."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time

from photogram import Photogram, PhotogramError

from service.backbone.settings import Settings
from service.llm.install import EngineMissing, engine_python, model_folder
from service.short_lived import running_service

REWRITER_START_S = 180.0
"""The longest wait for the language engine; its start takes about 40 s on two idle cores."""
_POLL_S = 1.0
_PROBE = "a lighthouse"
"""A prompt for probing; another one than the user's, so that the user's is not answered from the cache."""
_PROBE_PROFILE = "sentence"
"""A profile that adds to every short prompt, so that the probe reaches the engine."""


def main(argv: list[str] | None = None) -> int:
    """Start a service and generate one image; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.demo", description=__doc__)
    parser.add_argument("prompt", nargs="?", default="a red apple")
    parser.add_argument("--output", help="a new file (default: photogram.png, or the next free name)")
    options = parser.parse_args(argv)
    if options.output is not None and os.path.isfile(options.output):  # said before anything starts
        _say(f"{options.output} exists: choose another name.")
        return 2
    with tempfile.TemporaryDirectory(prefix="photogram-demo-") as data:
        return _draw(options.prompt, options.output, data)


def _draw(prompt: str, output: str | None, data: str) -> int:
    key = secrets.token_urlsafe(32)
    _say("Starting Valkey, the gateway and a worker ...")
    try:
        with running_service(data, key, llm=True, PHOTOGRAM_LOG_LEVEL="WARNING") as url:
            client = [sys.executable, "-m", "photogram", "generate", prompt, "--url", url]
            client += [] if output is None else ["--output", output]
            if _can_rewrite(url, key):
                client.append("--enhance")
            return subprocess.run(client, env=os.environ | {"PHOTOGRAM_API_KEY": key}, check=False).returncode
    except RuntimeError:
        _say("The service did not start; see above.")
        return 1


def _can_rewrite(url: str, key: str) -> bool:
    """Whether prompts can be rewritten; waits for the engine to start, and prints the reason if they cannot."""
    settings = Settings.from_environment(os.environ)
    if settings.llm == "off":
        _say("The prompt is used unchanged: PHOTOGRAM_LLM=off.")
        return False
    if settings.llm_url is None and not _is_installed(settings):
        return False  # the service has printed this already
    try:
        with Photogram(url, key) as client:
            why_not = _wait_for_rewriter(client)
    except PhotogramError as error:
        why_not = str(error)
    if why_not is not None:
        _say(f"The prompt is used unchanged: {why_not}.")
    return why_not is None


def _is_installed(settings: Settings) -> bool:
    try:
        engine_python(settings.llm_folder)
        model_folder(settings.llm_folder)
    except EngineMissing:
        return False
    return True


def _wait_for_rewriter(client: Photogram) -> str | None:
    """Wait until prompts can be rewritten; returns ``None``, or the reason why they cannot."""
    _say(f"Waiting for the language engine, {REWRITER_START_S:.0f} s at most ...")
    deadline = time.monotonic() + REWRITER_START_S
    while True:
        rewrite = client.rewrite(_PROBE, profile=_PROBE_PROFILE).rewrite
        if rewrite.status != "unavailable":
            return None
        if time.monotonic() >= deadline:
            return rewrite.reason or rewrite.status
        time.sleep(_POLL_S)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
