"""One server for the snippets of all pages: small models, an engine that answers, and the files that the pages name."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.docs.model_files import LINKED, LINKED_FILE, fill
from tests.e2e.conftest import KEY, ROOT, Stack
from tests.engine_stub import EngineStub, Say, first_allowed
from tests.loopback_hub import LoopbackHub, serving_hub
from tests.loopback_hub.content import sha256
from tests.models.vision.rig import TINY, save
from tests.tiny import build_tiny_sd
from tests.tiny.loras import build_tiny_lora

CATALOG = """
default = "house"
[models.sd15]
folder = "{folder}"
defaults = {{ width = 64, height = 64, num_inference_steps = 2 }}
limits = {{ min_px = 32 }}
[aliases]
sdxl = "sd15"
[vision.tiny]
folder = "{vision}"
"""
LIMIT_S = 200
"""How long the snippets of a page may take; those of README took 121 s on a busy machine with two cores."""
IMAGES = dict.fromkeys(("cat.png", "cat.jpg", "photo.jpg", "lighthouse.png"), "orange") | {"mask.png": "white"}


class Rig:
    """A running server, and the words of a page in its world."""

    def __init__(self, stack: Stack, data: Path, images: Path, images_url: str, hub: LoopbackHub) -> None:
        self.stack, self._images, self._hub = stack, images, hub
        keys = f"photogram keys --data {data}"
        with stack.client() as client:
            result = client.generate("a red apple", width=64, height=64, num_inference_steps=1).job.result
            assert result is not None
        uploaded = {name: self._upload(images / name) for name in ("cat.png", "mask.png")}
        self._words = {
            "http://127.0.0.1:8000": stack.url,
            "--port 8000": f"--port {stack.port}",
            "port=8000": f"port={stack.port}",
            "choose-a-long-one": KEY,
            "your key": KEY,
            "https://example.org/": f"{images_url}/",
            "input:9f86d0...": uploaded["cat.png"],
            "input:60303a...": uploaded["mask.png"],
            "image:0b7c2f0e-...": f"image:{Path(result.images[0].url).stem}",
            "--sha256 0123...": f"--sha256 {sha256(LINKED_FILE)}",
            "photogram keys": keys,
            "1f0c9a2e": f"$({keys} list | awk '$NF == \"shop\" {{print $1}}')",
            "wh_0123456789abcdef": "$(photogram webhooks list | awk 'NR == 1 {print $1}')",
            "photogram models verify sdxl": f"photogram models --data {data} verify sdxl",
            "--name sd15 --default": "--name sd15 --size 64 --steps 2 --default",
        }

    def _upload(self, file: Path) -> str:
        data = base64.b64encode(file.read_bytes()).decode()
        body = {"kind": "img2img", "params": {"prompt": "x", "image": data, "num_inference_steps": 1}}
        return str(self.post("jobs", body)["params"]["image"])

    def translate(self, text: str) -> str:
        """``text`` with this server's address, key and images."""
        for word, ours in self._words.items():
            text = text.replace(word, ours)
        return text

    def post(self, route: str, body: Mapping[str, Any]) -> Any:
        """The answer to a request of the native API, which must be accepted."""
        key, kind = f"Authorization: Bearer {KEY}", "Content-Type: application/json"
        command = ["curl", "-sS", f"{self.stack.url}/v1/{route}", "-H", key, "-H", kind, "-d", json.dumps(body)]
        done = self.run(command, self._images)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def run(self, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a command in ``folder``, with the commands of this environment, and with a curl that fails on errors."""
        (folder / ".curlrc").write_text("fail-with-body\n")
        environment = os.environ | {
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{ROOT}/clients/python/src",
            "PHOTOGRAM_DATA": str(folder / "data"),
            "PHOTOGRAM_URL": self.stack.url,
            "PHOTOGRAM_API_KEY": KEY,
            **self._hub.environment(folder / "cache"),
        }
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )


def make_images(folder: Path) -> None:
    for name, colour in IMAGES.items():
        Image.new("RGB", (64, 64), colour).save(folder / name)


def answer(body: Mapping[str, Any]) -> Say:
    """As a language model answers: with a tool call where there are tools, else with a text."""
    arguments = {"prompt": "a fox, snow", "negative_prompt": "text", "aspect_ratio": "2:3"}
    calls = (("create_image", json.dumps(arguments)),) if body.get("tools") else ()
    return Say(calls=calls) if calls else Say(text=first_allowed(body))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    make_images(folder)
    (folder / LINKED).write_bytes(LINKED_FILE)
    return folder


@pytest.fixture(scope="session")
def images_url(images: Path) -> Iterator[str]:
    """Where the server finds what the pages call https://example.org."""
    handler = partial(_Quiet, directory=str(images))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def do_POST(self) -> None:
        """Receive a webhook."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    with serving_hub() as served:
        fill(served, tmp_path_factory.mktemp("hub"))
        yield served


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory, images: Path, images_url: str, hub: LoopbackHub) -> Iterator[Rig]:
    data = tmp_path_factory.mktemp("data")
    folder = build_tiny_sd(tmp_path_factory.mktemp("tiny"))
    (data / "catalog.toml").write_text(CATALOG.format(folder=folder, vision=save(TINY, data / "tiny")))
    (data / "loras").mkdir()
    for seed, name in enumerate(("film", "pixel", "ink")):
        build_tiny_lora(data / "loras" / f"{name}.safetensors", folder, seed=seed)
    with EngineStub() as stub:
        stub.answer_with(answer)
        engine = {"URL": stub.url, "PRESET": "qwen2.5-7b-instruct", "DEADLINE_S": "30"}
        variables = {f"PHOTOGRAM_LLM_{name}": value for name, value in engine.items()} | {"PHOTOGRAM_LLM": "auto"}
        stack = Stack(data, PHOTOGRAM_FETCH_PRIVATE="1", PHOTOGRAM_WEBHOOK_PRIVATE="1",
                      PHOTOGRAM_PRODIA_KEYLESS="1", **variables)  # fmt: skip
        yield Rig(stack, data, images, images_url, hub)
        stack.stop()
        stack.close()
