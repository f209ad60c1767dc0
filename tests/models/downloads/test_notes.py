"""How far a download is, as other processes see it: while it runs, after it was cut off, and when it is complete."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.catalog.catalog import ModelSpec
from models.downloads.download import download
from models.downloads.notes import DownloadState, download_of, downloads_beside, note_of
from models.downloads.progress import Progress
from models.errors import DownloadFailed
from tests.loopback_hub import LoopbackHub
from tests.weight_files import SD1, safetensors

FILE = safetensors({**SD1, "padding": [500, 500]})


@pytest.fixture(params=["repository", "url"])
def spec(request: pytest.FixtureRequest, hub: LoopbackHub, tiny_folder: Path, tmp_path: Path) -> ModelSpec:
    """A model that is not here, of a hub that sends slowly."""
    hub.faults.pause_s = 0.005
    if request.param == "repository":
        commit = hub.add("someone/tiny", tiny_folder).commit
        return ModelSpec(name="tiny", family="stable-diffusion", repository="someone/tiny", revision=commit)
    hub.files["one.safetensors"] = FILE
    return ModelSpec(
        name="tiny",
        family="stable-diffusion",
        url=f"{hub.files_url}/one.safetensors",
        file=tmp_path / "one.safetensors",
    )


@contextmanager
def downloading(spec: ModelSpec) -> Iterator[Progress]:
    """A download that has some bytes, and is stopped at the end of the block."""
    progress = Progress()

    def run() -> None:
        with pytest.raises(DownloadFailed, match="was stopped"):
            download(spec, progress)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while progress.done_bytes < 100_000:
            time.sleep(0.01)
        yield progress
    finally:
        progress.cancel()
        thread.join()


def state_of(spec: ModelSpec) -> DownloadState:
    state = download_of(spec)
    assert state is not None
    return state


def test_a_download_is_seen_while_it_runs_and_after_it_was_cut_off(hub: LoopbackHub, spec: ModelSpec) -> None:
    assert download_of(spec) is None
    with downloading(spec) as progress:
        running = state_of(spec)
        assert running.is_running and running.bytes_per_s is not None and running.bytes_per_s > 0
        assert running.total_bytes == progress.total_bytes and 0 < running.done_bytes <= progress.done_bytes
    cut_off = state_of(spec)
    assert (cut_off.is_running, cut_off.bytes_per_s, cut_off.done_bytes) == (False, None, progress.done_bytes)

    hub.faults.pause_s = 0
    download(spec, Progress())
    assert download_of(spec) is None and not note_of(spec).exists()


def test_the_speed_is_that_since_the_download_went_on(spec: ModelSpec) -> None:
    with downloading(spec):
        pass
    had_bytes = state_of(spec).done_bytes
    began_at = time.time()
    with downloading(spec) as progress:
        while progress.done_bytes < had_bytes + 20_000:
            time.sleep(0.01)
        running = state_of(spec)
        assert running.bytes_per_s is not None
        assert running.bytes_per_s * (time.time() - began_at) < 2 * (running.done_bytes - had_bytes)


def test_downloads_are_found_without_their_models(spec: ModelSpec, tmp_path: Path) -> None:
    with downloading(spec):
        pass
    assert list(downloads_beside(tmp_path)) == [(note_of(spec), state_of(spec))]


@pytest.mark.parametrize("damaged", ["", "[]", "null", "{}", '{"files": 1}'])
def test_a_damaged_note_tells_nothing(spec: ModelSpec, tmp_path: Path, damaged: str) -> None:
    with downloading(spec):
        pass
    note_of(spec).write_text(damaged)
    assert download_of(spec) is None and list(downloads_beside(tmp_path)) == []
