"""``photogram models add`` and ``pull`` with a hub: the real command in a process of its own, through HF_ENDPOINT."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.catalog.catalog import Catalog
from models.downloads.progress import Progress
from service.commands.model_downloads import Speed, progress_line
from tests.loopback_hub import LoopbackHub, serving_hub
from tests.loopback_hub.content import sha256
from tests.tiny import build_tiny_file, build_tiny_sd


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with serving_hub() as served:
        yield served


def run(hub: LoopbackHub, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **hub.environment(data / "cache"), "PHOTOGRAM_DATA": str(data)}
    command = [sys.executable, "-m", "service.commands.models", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_repository_is_added_with_its_files_and_pulled_again(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    added = hub.add("someone/tiny", build_tiny_sd(tmp_path / "folder"))
    done = run(hub, data, "add", "someone/tiny")
    assert done.returncode == 0, done.stderr
    assert "tiny: " in done.stderr and " of " in done.stderr
    spec = Catalog.load(data / "catalog.toml")["tiny"]
    assert (spec.revision, spec.licence) == (added.commit, "mit")
    hub.requests.clear()
    pulled = run(hub, data, "pull", "tiny")
    assert (pulled.returncode, pulled.stdout, hub.requests) == (0, "tiny is on this machine\n", [])


def test_an_add_that_cannot_download_adds_nothing(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    hub.add("someone/tiny", build_tiny_sd(tmp_path / "folder"), is_gated=True)
    done = run(hub, data, "add", "someone/tiny")
    assert done.returncode == 1 and "HF_TOKEN" in done.stderr and "Traceback" not in done.stderr
    assert not (data / "catalog.toml").exists()
    assert run(hub, data, "add", "someone/tiny", "--no-download").returncode == 0
    assert "tiny" in Catalog.load(data / "catalog.toml")


def test_a_url_lands_in_the_data_folder_with_its_family(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    file = build_tiny_file(tmp_path / "one.safetensors", build_tiny_sd(tmp_path / "folder"))
    hub.files["one.safetensors"] = file.read_bytes()
    source, checksum = f"{hub.files_url}/one.safetensors", sha256(file.read_bytes())
    assert run(hub, data, "add", source, "--sha256", "0" * 64).returncode == 1
    done = run(hub, data, "add", source, "--sha256", checksum, "--name", "my one")
    assert done.returncode == 0, done.stderr
    spec = Catalog.load(data / "catalog.toml")["my one"]
    assert (spec.url, spec.sha256, spec.file) == (source, checksum, data / "models" / "my_one.safetensors")
    assert spec.family == "stable-diffusion" and spec.problem() is None


def test_the_line_tells_bytes_speed_and_time_left() -> None:
    progress, speed = Progress(), Speed()
    progress.done_bytes = 2_000_000_000
    assert progress_line("xl", progress, speed.of(0, 10.0)) == "xl: 2.0 GB"
    progress.total_bytes = 8_000_000_000
    assert progress_line("xl", progress, speed.of(500_000_000, 20.0)) == (
        "xl: 2.0 GB of 8.0 GB, 50.0 MB/s, 2 min 0 s left"
    )
