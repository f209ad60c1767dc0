"""``make demo``: start everything, generate an image and that of the rewritten prompt, stop everything."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from photogram import Photogram, PhotogramError

from service.backbone.settings import Settings
from service.llm.install import EngineMissing, engine_python, model_folder
from service.short_lived import running_service
from service.supervisor import die_with_parent

REWRITER_START_S = 180.0
"""The longest wait for the language engine; its start takes about 40 s on two idle cores."""
_POLL_S = 1.0
_PROBE = "a lighthouse"
"""A prompt for probing; another one than the user's, so that the user's is not answered from the cache."""
_PROBE_PROFILE = "sentence"
"""A profile that adds to every short prompt, so that the probe reaches the engine."""
_INTERRUPTED = 130


@dataclass(frozen=True)
class Demo:
    """What is generated and where: two images with one seed, so that only the prompt differs."""

    prompt: str
    output: Path | None
    """The file of the first image; ``None`` leaves both names to the command line, which takes free ones."""
    data: str
    key: str
    seed: int

    @property
    def outputs(self) -> tuple[Path | None, Path | None]:
        """The files of both images."""
        second = None if self.output is None else self.output.with_stem(f"{self.output.stem}-2")
        return self.output, second

    def generate(self, url: str, output: Path | None, *flags: str) -> int:
        """Generate one image as a user does; returns the exit code."""
        client = [sys.executable, "-m", "photogram", "generate", self.prompt, "--url", url, "--seed", str(self.seed)]
        client += [*flags, *([] if output is None else ["--output", str(output)])]
        return subprocess.run(client, env=os.environ | {"PHOTOGRAM_API_KEY": self.key}, check=False).returncode


def main(argv: list[str] | None = None) -> int:
    """Start a service and generate the images; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.demo", description=__doc__)
    parser.add_argument("prompt", nargs="?", default="a red apple")
    parser.add_argument("--output", type=Path, help="a new file (default: photogram.png, or the next free name)")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="photogram-demo-") as data:
            demo = Demo(options.prompt, options.output, data, secrets.token_urlsafe(32), secrets.randbelow(1 << 32))
            for taken in (path for path in demo.outputs if path is not None and path.exists()):
                _say(f"{taken} exists: choose another name.")
                return 2
            return _run(demo, Settings.from_environment(os.environ))
    except RuntimeError:
        _say("The service did not start; see above.")
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return _INTERRUPTED


def _run(demo: Demo, settings: Settings) -> int:
    """Generate the image as soon as a worker is ready, and that of the rewritten prompt once the engine is."""
    first, second = demo.outputs
    is_off = settings.llm == "off"
    is_installed = not is_off and (settings.llm_url is not None or _is_installed(settings))
    with nullcontext() if is_off or is_installed else _installing() as installation:
        _say("Starting Valkey, the gateway and a worker ...")
        with running_service(demo.data, demo.key, llm=is_installed, PHOTOGRAM_LOG_LEVEL="WARNING") as url:
            code = demo.generate(url, first)
            if code == 0 and is_installed:
                return _generate_rewritten(demo, url, second)
        if code != 0 or is_off:
            return code or _only_one("PHOTOGRAM_LLM=off")
        _say("Waiting for the installation of the language engine; Ctrl-C ends the demo ...")
        if installation is not None and installation.wait() != 0:
            return _only_one("the language engine is not installed; PHOTOGRAM_LLM=off tries no installation")
    with running_service(demo.data, demo.key, llm=True, PHOTOGRAM_LOG_LEVEL="WARNING") as url:
        return _generate_rewritten(demo, url, second)


def _generate_rewritten(demo: Demo, url: str, output: Path | None) -> int:
    """Generate the image of the rewritten prompt once prompts can be rewritten; returns the exit code."""
    try:
        with Photogram(url, demo.key) as client:
            why_not = _wait_for_rewriter(client)
    except PhotogramError as error:
        why_not = str(error)
    return _only_one(why_not) if why_not is not None else demo.generate(url, output, "--enhance")


def _only_one(reason: str) -> int:
    """Say why there is no image of a rewritten prompt, which is no failure of the demo."""
    _say(f"The prompt is not rewritten: {reason}.")
    return 0


@contextmanager
def _installing() -> Iterator[subprocess.Popen[bytes]]:
    """Install the language engine in the background, at the lowest priority; stopped at the end."""
    command = ["nice", "-n", "19", sys.executable, "-m", "service.commands.llm", "install"]
    with subprocess.Popen(command, preexec_fn=die_with_parent) as process:
        try:
            yield process
        finally:
            process.terminate()


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
