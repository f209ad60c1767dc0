"""``make demo``: start everything on a free port, draw one image over HTTP, stop everything."""

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
"""How long the image waits for the language engine; loading it takes about 40 s on two cores that are free."""
_LOOK_S = 1.0
_PROBE = "a lighthouse"
"""Another prompt than the one to draw, so that this one is not remembered from before."""
_PROBE_PROFILE = "sentence"
"""The one that finds something to add to any short prompt, so that the engine is really asked."""


def main(argv: list[str] | None = None) -> int:
    """Draw one image with a service of our own; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.demo", description=__doc__)
    parser.add_argument("prompt", nargs="?", default="a red apple")
    parser.add_argument("--output", default="photogram.png")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="photogram-demo-") as data:
        return _draw(options.prompt, options.output, data)


def _draw(prompt: str, output: str, data: str) -> int:
    key = secrets.token_urlsafe(32)
    _say("Starting Valkey, the gateway and a worker ...")
    try:
        with running_service(data, key, llm=True, PHOTOGRAM_LOG_LEVEL="WARNING") as url:
            client = [sys.executable, "-m", "photogram", "generate", prompt, "--output", output, "--url", url]
            if _rewriter_is_there(url, key):
                client.append("--enhance")
            return subprocess.run(client, env=os.environ | {"PHOTOGRAM_API_KEY": key}, check=False).returncode
    except RuntimeError:
        _say("The service did not start; see above.")
        return 1


def _rewriter_is_there(url: str, key: str) -> bool:
    """Whether the prompt can be rewritten; waits for that if there is hope, and says why not if there is none."""
    settings = Settings.from_environment(os.environ)
    if settings.llm == "off":
        _say("The prompt is drawn as it is: PHOTOGRAM_LLM=off.")
        return False
    if settings.llm_url is None and not _is_installed(settings):
        return False  # the service said so when it started
    try:
        with Photogram(url, key) as client:
            why_not = _wait_for_rewriter(client)
    except PhotogramError as error:
        why_not = str(error)
    if why_not is not None:
        _say(f"The prompt is drawn as it is: {why_not}.")
    return why_not is None


def _is_installed(settings: Settings) -> bool:
    try:
        engine_python(settings.llm_folder)
        model_folder(settings.llm_folder)
    except EngineMissing:
        return False
    return True


def _wait_for_rewriter(client: Photogram) -> str | None:
    """Why the prompt will not be rewritten; ``None`` once it can be."""
    _say(f"Waiting for the language engine, {REWRITER_START_S:.0f} s at most ...")
    deadline = time.monotonic() + REWRITER_START_S
    while True:
        rewrite = client.rewrite(_PROBE, profile=_PROBE_PROFILE).rewrite
        if rewrite.status != "unavailable":
            return None
        if time.monotonic() >= deadline:
            return rewrite.reason or rewrite.status
        time.sleep(_LOOK_S)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
