"""``photogram models add`` and ``pull`` with a hub: the real command in a process of its own, through HF_ENDPOINT."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from models.catalog.catalog import Catalog
from models.downloads.progress import Progress
from models.downloads.space import in_words
from service.commands.model_downloads import Speed, progress_line
from service.commands.models import main
from tests.disks import small_disk
from tests.loopback_hub import LoopbackHub, serving_hub
from tests.loopback_hub.content import sha256
from tests.tiny import build_tiny_file, build_tiny_sd
from tests.weight_files import LORA_FILE, SD1, safetensors, write


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with serving_hub() as served:
        yield served


def environment(hub: LoopbackHub, data: Path) -> Mapping[str, str]:
    return {**os.environ, **hub.environment(data / "cache"), "PHOTOGRAM_DATA": str(data)}


def run(hub: LoopbackHub, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.commands.models", *arguments]
    return subprocess.run(command, env=environment(hub, data), capture_output=True, text=True, timeout=60, check=False)


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
    assert run(hub, data, "add", "someone/tiny", "--no-download", "--family", "sdxl").returncode == 0
    assert "tiny" in Catalog.load(data / "catalog.toml")


def test_a_url_lands_in_the_data_folder_with_its_family(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    file = build_tiny_file(tmp_path / "one.safetensors", build_tiny_sd(tmp_path / "folder"))
    hub.files["one.safetensors"] = file.read_bytes()
    source, checksum = f"{hub.files_url}/one.safetensors", sha256(file.read_bytes())
    config = ("--config", str(tmp_path / "folder"))
    assert run(hub, data, "add", source, "--sha256", "0" * 64, *config).returncode == 1
    done = run(hub, data, "add", source, "--sha256", checksum, "--name", "my one", *config)
    assert done.returncode == 0, done.stderr
    spec = Catalog.load(data / "catalog.toml")["my one"]
    assert (spec.url, spec.sha256, spec.file) == (source, checksum, data / "models" / "my_one.safetensors")
    assert spec.family == "stable-diffusion" and spec.problem() is None


def test_a_full_disk_is_told_in_a_line(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    hub.add("someone/tiny", build_tiny_sd(tmp_path / "folder"))
    hub.files["one.safetensors"] = safetensors(SD1)
    with small_disk(data / "cache") as disk, small_disk(data / "models") as second:
        disk.fill()
        second.fill()
        said = [run(hub, data, "add", source) for source in ("someone/tiny", f"{hub.files_url}/one.safetensors")]
        for done in said:
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
            assert "Errno" not in done.stderr and str(data) in done.stderr
    assert not (data / "catalog.toml").exists()


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_what_is_refused_at_a_url_does_not_stay(hub: LoopbackHub, data: Path, ignores_ranges: bool) -> None:
    hub.files["lora.safetensors"], hub.faults.ignores_ranges = LORA_FILE, ignores_ranges
    source = f"{hub.files_url}/lora.safetensors"
    done = run(hub, data, "add", source)
    assert done.returncode == 1 and f"{source} is a LoRA and no checkpoint" in done.stderr
    assert not list(data.rglob("*.safetensors*")) and not (data / "catalog.toml").exists()
    if not ignores_ranges:
        assert [asked for _, _, asked in hub.requests] == ["bytes=0-524287"]


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_a_url_is_compared_with_its_configuration(
    hub: LoopbackHub, data: Path, tmp_path: Path, ignores_ranges: bool
) -> None:
    file = build_tiny_file(tmp_path / "one.safetensors", build_tiny_sd(tmp_path / "folder"))
    without(file, "model.diffusion_model.out.2.bias")
    hub.files["one.safetensors"], hub.faults.ignores_ranges = file.read_bytes(), ignores_ranges
    source = f"{hub.files_url}/one.safetensors"
    done = run(hub, data, "add", source, "--config", str(tmp_path / "folder"))
    assert done.returncode == 1 and f"{source} cannot be added: its unet lacks 1 of its" in done.stderr
    assert not list(data.rglob("*.safetensors*")) and not (data / "catalog.toml").exists()


def test_a_repository_is_compared_with_its_configurations(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "folder")
    without(folder / "unet/diffusion_pytorch_model.safetensors", "conv_in.bias")
    (folder / "tokenizer/tokenizer.json").rename(folder / "tokenizer/lost.json")
    hub.add("someone/tiny", folder)
    done = run(hub, data, "add", "someone/tiny")
    assert done.returncode == 1 and "someone/tiny cannot be added: its tokenizer has no vocabulary" in done.stderr
    (folder / "tokenizer/lost.json").rename(folder / "tokenizer/tokenizer.json")
    hub.add("someone/tiny", folder)
    done = run(hub, data, "add", "someone/tiny")
    assert done.returncode == 1 and "someone/tiny cannot be added: its unet lacks 1 of its" in done.stderr
    assert not (data / "catalog.toml").exists()


def without(file: Path, name: str) -> None:
    """Take a tensor out of a file of weights."""
    weights = load_file(file)
    del weights[name]
    save_file(weights, file)


def test_an_interrupted_download_says_how_it_goes_on(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    hub.files["one.safetensors"], hub.faults.pause_s = safetensors({**SD1, "padding": [4000, 1000]}), 0.01
    command = [sys.executable, "-m", "service.commands.models", "add", f"{hub.files_url}/one.safetensors"]
    with subprocess.Popen(command, env=environment(hub, data), stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(data.rglob("*.incomplete")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert "what was downloaded of one stays: the next photogram models add, or pull, goes on there\n" in said
    assert list(data.rglob("*.incomplete")) and not (data / "catalog.toml").exists()


@contextmanager
def killed(hub: LoopbackHub, data: Path, *arguments: str) -> Iterator[None]:
    """The command runs during the block, and is killed at its end."""
    command = [sys.executable, "-m", "service.commands.models", *arguments]
    with subprocess.Popen(command, env=environment(hub, data), stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def listed(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["list"]) == 0
    return capsys.readouterr().out


def until_listed(pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    deadline = time.monotonic() + 60
    while not re.search(pattern, out := listed(capsys)):
        assert time.monotonic() < deadline, out
        time.sleep(0.1)


def test_the_list_tells_how_far_downloads_are(
    hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHOTOGRAM_DATA", str(data))
    monkeypatch.delenv("REDIS_URL", raising=False)
    content = safetensors({**SD1, "padding": [4000, 1000]})
    hub.files["one.safetensors"], hub.faults.pause_s = content, 0.005
    source, place = f"{hub.files_url}/one.safetensors", data / "models" / "one.safetensors"
    bytes_here = rf"[\d.]+ [kM]?B of {in_words(len(content))} \(\d+ %\)"

    with killed(hub, data, "add", source):
        until_listed(rf"not in the catalog: one, from {source}: downloading, {bytes_here}, .+/s", capsys)
    assert re.search(rf"one, from {source}: not downloaded, {bytes_here}, not running\n", listed(capsys))

    entry = f'[models.one]\nfamily = "stable-diffusion"\nurl = "{source}"\nfile = "{place}"\n'
    (data / "catalog.toml").write_text(entry)
    goes_on = "photogram models pull one, or its first job, goes on there"
    assert re.search(rf"one: not downloaded, {bytes_here}, not running: {goes_on}\n", out := listed(capsys))
    assert "not in the catalog" not in out
    with killed(hub, data, "pull", "one"):
        until_listed(rf"one: downloading, {bytes_here}, .+/s, \d+ s left\n", capsys)

    hub.faults.pause_s = 0
    pulled = run(hub, data, "pull", "one")
    assert "one: ok\n" in listed(capsys) and pulled.returncode == 1
    assert "one is on this machine, and cannot be used: its text_encoder lacks 195 of its 196 tensors" in pulled.stderr


FAMILIES_TOLD = {
    "StableDiffusionXLPipeline": ("sdxl", None),
    "StableDiffusion3Img2ImgPipeline": ("sd3", None),
    "WanPipeline": (None, "its model_index.json is of the class 'WanPipeline', which no family runs"),
}


@pytest.mark.parametrize("class_name", FAMILIES_TOLD)
def test_the_family_of_a_repository_is_told_by_its_index(
    hub: LoopbackHub, data: Path, tmp_path: Path, class_name: str
) -> None:
    family, reason = FAMILIES_TOLD[class_name]
    write(tmp_path / "index" / "model_index.json", json.dumps({"_class_name": class_name}).encode())
    hub.add("someone/it", tmp_path / "index")
    done = run(hub, data, "add", "someone/it", "--no-download")
    if reason is not None:
        assert done.returncode == 1 and reason in done.stderr and "--family" in done.stderr
        assert run(hub, data, "add", "someone/it", "--no-download", "--family", "sdxl").returncode == 0
    else:
        assert Catalog.load(data / "catalog.toml")["it"].family == family


def test_the_line_tells_bytes_speed_and_time_left() -> None:
    progress, speed = Progress(), Speed()
    progress.done_bytes = 2_000_000_000
    assert progress_line("xl", progress, speed.of(0, 10.0)) == "xl: 2.0 GB"
    progress.total_bytes = 8_000_000_000
    assert progress_line("xl", progress, speed.of(500_000_000, 20.0)) == (
        "xl: 2.0 GB of 8.0 GB (25 %), 50.0 MB/s, 2 min 0 s left"
    )


def test_a_vision_model_is_resumed_shown_and_pulled_again(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architecture": "mobilenetv3_small_100"}))
    write(folder / "model.safetensors", LORA_FILE)
    size_bytes = (folder / "model.safetensors").stat().st_size
    added = hub.add("timm/mobilenetv3_small_100.lamb_in1k", folder)
    hub.faults.cut_after_bytes = size_bytes // 2 + 1
    done = run(hub, data, "add", "timm/mobilenetv3_small_100")
    assert done.returncode == 0, done.stderr
    assert "mobilenetv3_small_100: " in done.stderr and f"bytes={size_bytes // 2 + 1}-" in {
        each[2] for each in hub.requests
    }
    assert Catalog.load(data / "catalog.toml").vision["mobilenetv3_small_100"].revision == added.commit
    hub.requests.clear()
    pulled = run(hub, data, "pull", "mobilenetv3_small_100")
    assert (pulled.returncode, pulled.stdout, hub.requests) == (0, "mobilenetv3_small_100 is on this machine\n", [])


def test_a_repository_that_is_no_model_of_timm_says_so(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/config.json").write_text("{}")
    hub.add("timm/mobilenetv3_small_100.lamb_in1k", tmp_path / "folder")
    done = run(hub, data, "add", "timm/mobilenetv3_small_100")
    assert done.returncode == 1 and "is no model of timm: it has no model.safetensors" in done.stderr
    assert not (data / "catalog.toml").exists()
