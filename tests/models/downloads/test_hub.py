"""Repositories, with the real client of the hub: which files come, resumed downloads, and what each refusal says."""

from __future__ import annotations

import errno
import re
import shutil
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from models.catalog.catalog import ModelSpec
from models.diffusion.checkpoint_loading import load_checkpoint
from models.downloads.download import download
from models.downloads.hub import look_up
from models.downloads.on_disk import is_on_disk, place_of, variant_of
from models.downloads.parts import FP16
from models.downloads.progress import Progress
from models.errors import DownloadFailed, with_detail
from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.hub import STRANGER, TOKEN

UNET = "unet/diffusion_pytorch_model.safetensors"
Usage = namedtuple("Usage", "total used free")


def spec_of(revision: str | None, **facts: str) -> ModelSpec:
    return ModelSpec(name="tiny", family="stable-diffusion", repository="someone/tiny", revision=revision, **facts)


def failure_of(spec: ModelSpec) -> str:
    with pytest.raises(DownloadFailed) as caught:
        download(spec, Progress())
    return str(caught.value)


def names_in(spec: ModelSpec) -> set[str]:
    place = place_of(spec)
    assert place is not None
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def test_a_repository_is_downloaded_and_loads(hub: LoopbackHub, tiny_folder: Path) -> None:
    spec, progress = spec_of(hub.add("someone/tiny", tiny_folder).commit), Progress()
    assert not is_on_disk(spec)
    download(spec, progress)
    place = place_of(spec)
    assert is_on_disk(spec) and place is not None and variant_of(place) is None
    expected = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    assert progress.done_bytes == progress.total_bytes == expected
    assert load_checkpoint(spec, torch.device("cpu")).spec is spec


def test_what_is_on_disk_is_not_asked_for_again(hub: LoopbackHub, tiny_folder: Path) -> None:
    spec = spec_of(hub.add("someone/tiny", tiny_folder).commit)
    download(spec, Progress())
    hub.requests.clear()
    download(spec, Progress())
    assert hub.requests == []


def test_the_fp16_variant_comes_alone_and_loads(hub: LoopbackHub, both_folder: Path) -> None:
    spec = spec_of(hub.add("someone/tiny", both_folder).commit)
    download(spec, Progress())
    place = place_of(spec)
    assert place is not None and variant_of(place) == FP16
    weights = {name for name in names_in(spec) if not name.endswith((".json", ".txt"))}
    assert weights == {
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16.safetensors",
    }
    assert not any(name.startswith("safety_checker") for name in names_in(spec))
    assert load_checkpoint(spec, torch.device("cpu")).dtype == torch.float32


def test_float32_takes_the_full_weights(hub: LoopbackHub, both_folder: Path) -> None:
    spec = spec_of(hub.add("someone/tiny", both_folder).commit, dtype="float32")
    download(spec, Progress())
    assert UNET in names_in(spec) and not any("fp16" in name for name in names_in(spec))


def test_a_part_without_the_variant_comes_in_full(hub: LoopbackHub, both_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(both_folder, tmp_path / "mixed")
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    spec = spec_of(hub.add("someone/tiny", folder).commit)
    download(spec, Progress())
    assert "vae/diffusion_pytorch_model.safetensors" in names_in(spec) and UNET not in names_in(spec)
    load_checkpoint(spec, torch.device("cpu"))


def test_a_stopped_download_asks_for_no_further_file(hub: LoopbackHub, tiny_folder: Path) -> None:
    spec, progress = spec_of(hub.add("someone/tiny", tiny_folder).commit), Progress()
    progress.cancel()
    with pytest.raises(DownloadFailed, match="was stopped"):
        download(spec, progress)
    assert [path.rpartition("/")[2] for path in hub.downloaded()] == ["model_index.json"]


def test_only_pickles_are_refused(hub: LoopbackHub, tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "pickles")
    (folder / UNET).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert "its unet has no .safetensors weights" in failure_of(spec_of(hub.add("someone/tiny", folder).commit))


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(hub: LoopbackHub, tiny_folder: Path) -> None:
    spec = spec_of(hub.add("someone/tiny", tiny_folder).commit)
    hub.faults.cut_after_bytes = 50_000
    download(spec, Progress())  # each attempt brings some bytes
    assert is_on_disk(spec)
    ranges = [asked for _, path, asked in hub.requests if path.endswith(UNET) and asked is not None]
    assert ranges[:2] == ["bytes=50000-", "bytes=100000-"]


def test_a_later_download_goes_on_where_an_earlier_one_stopped(hub: LoopbackHub, tiny_folder: Path) -> None:
    spec, first = spec_of(hub.add("someone/tiny", tiny_folder).commit), Progress()
    hub.faults.pause_s = 0.005

    def begin() -> None:
        with pytest.raises(DownloadFailed, match="was stopped"):
            download(spec, first)

    thread = threading.Thread(target=begin)
    thread.start()
    while first.done_bytes < 100_000:
        time.sleep(0.01)
    first.cancel()
    thread.join()
    assert not is_on_disk(spec)
    hub.faults.pause_s = 0
    hub.requests.clear()
    second = Progress()
    download(spec, second)
    assert is_on_disk(spec) and second.done_bytes == second.total_bytes
    assert [asked for _, path, asked in hub.requests if path.endswith(".safetensors") and asked is not None]


def test_a_server_without_ranges_is_asked_from_the_start(hub: LoopbackHub, tiny_folder: Path) -> None:
    spec = spec_of(hub.add("someone/tiny", tiny_folder).commit)
    hub.faults.cut_after_bytes, hub.faults.ignores_ranges = 50_000, True
    assert "broke off after 50000 of" in failure_of(spec)
    hub.faults.cut_after_bytes = None
    download(spec, Progress())
    load_checkpoint(spec, torch.device("cpu"))


def test_two_that_want_the_same_model_share_one_download(hub: LoopbackHub, tiny_folder: Path) -> None:
    spec = spec_of(hub.add("someone/tiny", tiny_folder).commit)
    hub.faults.pause_s = 0.001
    threads = [threading.Thread(target=download, args=(spec, Progress())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    weights = [path for path in hub.downloaded() if path.endswith(".safetensors")]
    assert is_on_disk(spec) and len(weights) == len(set(weights)) == 3


def test_too_little_space_is_told_before_the_download(
    hub: LoopbackHub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(hub.add("someone/tiny", tiny_folder).commit)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 10**9, 1234))
    needed = sum(path.stat().st_size for path in tiny_folder.rglob("*.safetensors"))
    reason = failure_of(spec)
    assert f"({needed} bytes)" in reason and "(1234 bytes) are free" in reason
    assert not any(path.endswith(".safetensors") for path in hub.downloaded())


def test_a_gated_repository_names_the_page_and_the_token(
    hub: LoopbackHub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(hub.add("someone/tiny", tiny_folder, is_gated=True).commit)
    reason = failure_of(spec)
    assert f"is gated: ask for access at {hub.url}/someone/tiny and set HF_TOKEN" in reason
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    assert "with the account of HF_TOKEN" in failure_of(spec)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    download(spec, Progress())
    assert is_on_disk(spec)


def test_a_wrong_token_is_told(hub: LoopbackHub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(hub.add("someone/tiny", tiny_folder).commit)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    reason = failure_of(spec)
    assert "does not accept HF_TOKEN" in reason and f"{hub.url}/settings/tokens" in reason
    assert "hf_of_nobody" not in reason


@pytest.mark.parametrize("is_private", [False, True])
def test_a_repository_that_is_not_there_or_private(hub: LoopbackHub, tiny_folder: Path, is_private: bool) -> None:
    if is_private:
        hub.add("someone/tiny", tiny_folder, is_private=True)
    reason = failure_of(spec_of(None))
    assert "there is no repository someone/tiny" in reason and "set HF_TOKEN" in reason


def test_a_wrong_revision_names_the_list_of_commits(hub: LoopbackHub, tiny_folder: Path) -> None:
    hub.add("someone/tiny", tiny_folder)
    assert f"no revision 'v9'; {hub.url}/someone/tiny/commits/main" in failure_of(spec_of("v9"))


def test_a_repository_of_something_else(hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "README.md").write_text("words")
    hub.add("someone/tiny", tmp_path / "else")
    assert "is no diffusers pipeline" in failure_of(spec_of(None))


NOT_REACHED = {
    "http://127.0.0.1:9": "it refuses the connection",
    "http://no-such-host.invalid": "its name cannot be resolved",
    "{hub}/files": "(404|something else answers)",
}


@pytest.mark.parametrize("endpoint", NOT_REACHED)
def test_a_hub_that_does_not_answer(hub: LoopbackHub, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint.format(hub=hub.url))
    with pytest.raises(DownloadFailed, match=NOT_REACHED[endpoint]) as caught:
        download(spec_of(None), Progress())
    assert caught.value.detail is None and not LIBRARIES.search(str(caught.value))


LIBRARIES = re.compile(r"\[Errno|https?x|huggingface_hub|Client Error|Request ID|Traceback|_error", re.IGNORECASE)
"""Words of the hub's client and of what it is built on."""
REFUSALS: dict[str, tuple[dict[str, bool], str | None, str | None, str]] = {
    "gated": ({"is_gated": True}, None, None, "is gated"),
    "gated for this account": ({"is_gated": True}, STRANGER, None, "is gated"),
    "private": ({"is_private": True}, None, None, "there is no repository"),
    "a wrong token": ({}, "hf_of_nobody", None, "does not accept HF_TOKEN"),
    "a wrong revision": ({}, None, "v9", "has no revision 'v9'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_said_in_our_own_words(
    hub: LoopbackHub, tiny_folder: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, token, revision, reason = REFUSALS[case]
    hub.add("someone/tiny", tiny_folder, **facts)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DownloadFailed, match=reason) as caught:
        download(spec_of(revision), Progress())
    assert not LIBRARIES.search(with_detail(caught.value))


def test_a_name_that_is_none_and_a_full_disk(
    hub: LoopbackHub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadFailed, match="is no name of a repository"):
        look_up("some one/..")
    hub.add("someone/tiny", tiny_folder)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/blob")

    monkeypatch.setattr("models.downloads.hub.transfer", full)
    assert "cannot be downloaded: the disk is full" in failure_of(spec_of(None))


def test_commit_and_licence_are_the_hubs(hub: LoopbackHub, tiny_folder: Path) -> None:
    added = hub.add("someone/tiny", tiny_folder, licence="openrail++")
    found = look_up("someone/tiny")
    assert (found.commit, found.licence) == (added.commit, "openrail++")
