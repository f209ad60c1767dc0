"""Files by URL: plain addresses and Civitai's, with checksums, tokens and downloads that are cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.catalog.catalog import ModelSpec
from models.downloads.download import download
from models.downloads.links import look_ahead, resolve
from models.downloads.progress import Progress
from models.errors import DownloadFailed
from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.content import sha256
from tests.loopback_hub.hub import CIVITAI_TOKEN, CivitaiFile
from tests.weight_files import LORA_FILE, SD1, safetensors


@pytest.fixture(scope="module")
def weights(tiny_folder: Path) -> bytes:
    """A real file of weights."""
    return (tiny_folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()


def spec_of(link_url: str, place: Path, checksum: str | None = None) -> ModelSpec:
    return ModelSpec(name="mine", family="stable-diffusion", file=place, url=link_url, sha256=checksum)


def test_a_plain_file_lands_under_its_name_when_it_is_whole(hub: LoopbackHub, weights: bytes, tmp_path: Path) -> None:
    hub.files["my model.safetensors"] = weights
    hub.faults.cut_after_bytes = 100_000
    link = resolve(f"{hub.files_url}/my%20model.safetensors?x=1", sha256(weights).upper())
    place, progress = tmp_path / "models" / "mine.safetensors", Progress()
    download(spec_of(link.url, place, link.sha256), progress)
    assert link.file_name == "my model.safetensors" and place.read_bytes() == weights
    assert list(place.parent.iterdir()) == [place]
    assert progress.done_bytes == progress.total_bytes == len(weights)
    assert "bytes=100000-" in [asked for _, _, asked in hub.requests]


@pytest.mark.parametrize("civitai", [False, True])
def test_a_wrong_checksum_leaves_nothing(hub: LoopbackHub, weights: bytes, tmp_path: Path, civitai: bool) -> None:
    hub.files["one.safetensors"] = weights
    hub.civitai[7] = CivitaiFile(weights, "one.safetensors", sha256="0" * 64)
    source = f"{hub.url}/models/70?modelVersionId=7" if civitai else f"{hub.files_url}/one.safetensors"
    link = resolve(source, None if civitai else "0" * 64)
    place = tmp_path / "models" / "mine.safetensors"
    with pytest.raises(DownloadFailed, match=f"its SHA-256 is {sha256(weights)} instead of {'0' * 64}"):
        download(spec_of(link.url, place, link.sha256), Progress())
    assert list(place.parent.iterdir()) == []


def test_what_is_no_safetensors_file_is_removed(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.files["one.safetensors"] = b"<html>sign in</html>"
    place = tmp_path / "models" / "mine.safetensors"
    with pytest.raises(DownloadFailed, match="web page"):
        download(spec_of(f"{hub.files_url}/one.safetensors", place), Progress())
    assert list(place.parent.iterdir()) == []


def test_a_file_that_changed_in_between_is_begun_anew(hub: LoopbackHub, weights: bytes, tmp_path: Path) -> None:
    hub.files["one.safetensors"] = bytes(len(weights))
    hub.faults.cut_after_bytes, hub.faults.ignores_ranges = 100_000, True
    spec = spec_of(f"{hub.files_url}/one.safetensors", tmp_path / "models" / "mine.safetensors")
    with pytest.raises(DownloadFailed, match="broke off"):
        download(spec, Progress())
    hub.files["one.safetensors"], hub.faults.cut_after_bytes = weights, None
    download(spec, Progress())
    assert spec.file is not None and spec.file.read_bytes() == weights


@pytest.mark.parametrize("path", ["/models/70/a-name?modelVersionId=7", "/models/70", "/api/download/models/7"])
def test_all_forms_of_civitais_links(hub: LoopbackHub, weights: bytes, path: str) -> None:
    hub.civitai[7] = CivitaiFile(weights, "dream_8.safetensors")
    link = resolve(hub.url + path)
    assert (link.file_name, link.sha256) == ("dream_8.safetensors", sha256(weights))
    assert link.url == f"{hub.url}/api/download/models/7"


def test_civitais_token(hub: LoopbackHub, weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.civitai[7] = CivitaiFile(weights, "one.safetensors", needs_token=True)
    spec = spec_of(f"{hub.url}/api/download/models/7", tmp_path / "models" / "mine.safetensors", sha256(weights))
    with pytest.raises(DownloadFailed, match="set CIVITAI_TOKEN"):
        download(spec, Progress())
    monkeypatch.setenv("CIVITAI_TOKEN", "wrong")
    with pytest.raises(DownloadFailed, match="does not accept CIVITAI_TOKEN"):
        download(spec, Progress())
    monkeypatch.setenv("CIVITAI_TOKEN", CIVITAI_TOKEN)
    download(spec, Progress())
    assert spec.file is not None and spec.file.read_bytes() == weights


BAD_LINKS = {
    "http://example.org/a.safetensors": "must begin with https://",
    "https://example.org/a.ckpt": "is no address of a .safetensors file",
    "{hub}/models/990": r"no such file or model \(404\)",
    "{hub}/models/80": "is a LORA and no checkpoint",
    "{hub}/api/v1": "is no page of a model",
}


@pytest.mark.parametrize("source", BAD_LINKS)
def test_links_that_cannot_be_used(hub: LoopbackHub, source: str) -> None:
    hub.civitai[8] = CivitaiFile(b"", "style.safetensors", kind="LORA")
    with pytest.raises(DownloadFailed, match=BAD_LINKS[source]):
        resolve(source.format(hub=hub.url))


def test_a_header_tells_what_a_file_is_before_it_is_downloaded(hub: LoopbackHub) -> None:
    hub.files["lora.safetensors"] = LORA_FILE
    hub.files["long.safetensors"] = safetensors({f"lora_unet_{number}.alpha": [1] for number in range(10_000)})
    hub.files["cut.safetensors"] = safetensors(SD1, missing=5)
    assert str(look_ahead(f"{hub.files_url}/lora.safetensors")) == "a LoRA"
    assert str(look_ahead(f"{hub.files_url}/long.safetensors")) == "a LoRA"
    assert "incomplete" in repr(look_ahead(f"{hub.files_url}/cut.safetensors"))
    assert all(asked is not None for _, _, asked in hub.requests) and len(hub.requests) == 4
    hub.faults.ignores_ranges = True
    assert look_ahead(f"{hub.files_url}/lora.safetensors") is None
    with pytest.raises(DownloadFailed, match="check the address"):
        look_ahead(f"{hub.files_url}/none.safetensors")


def test_a_file_that_is_gone(hub: LoopbackHub, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="check the address"):
        download(spec_of(f"{hub.files_url}/none.safetensors", tmp_path / "mine.safetensors"), Progress())
