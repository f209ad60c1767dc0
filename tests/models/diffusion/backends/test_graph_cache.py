"""The cache of exported graphs: whole entries only, made once, made again when damaged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch

from models.diffusion.backends.cache import MANIFEST, STALE_S, GraphCache
from models.diffusion.backends.exporting import export_key
from tests.models.diffusion.backends.unets import build_unet


class Builder:
    """Writes two files, and counts how often."""

    def __init__(self) -> None:
        self.built = 0

    def __call__(self, folder: Path) -> None:
        self.built += 1
        (folder / "graph").write_bytes(b"graph")
        (folder / "weights").write_bytes(b"weights" * 1000)


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    cache, build = GraphCache(tmp_path / "new" / "cache"), Builder()
    places = [cache.obtain("key", build) for _ in range(2)]
    assert places[0] == places[1] and (places[0] / "graph").read_bytes() == b"graph"
    assert cache.obtain("another", build) != places[0]
    assert build.built == 2


def _truncate(place: Path) -> None:
    with (place / "weights").open("r+b") as file:
        file.truncate(10)


def _alter(place: Path) -> None:
    (place / "weights").write_bytes(b"Weights" * 1000)


def _lose_file(place: Path) -> None:
    (place / "graph").unlink()


def _lose_manifest(place: Path) -> None:
    (place / MANIFEST).unlink()


def _garble_manifest(place: Path) -> None:
    (place / MANIFEST).write_bytes(b"\x00" * 20)


@pytest.mark.parametrize("damage", [_truncate, _alter, _lose_file, _lose_manifest, _garble_manifest])
def test_a_damaged_entry_is_made_again(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    cache, build = GraphCache(tmp_path), Builder()
    damage(cache.obtain("key", build))
    place = cache.obtain("key", build)
    assert (build.built, (place / "weights").read_bytes()) == (2, b"weights" * 1000)
    assert "is damaged" in caplog.text
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "graph").write_bytes(b"half")
        raise RuntimeError("cannot be converted")

    with pytest.raises(RuntimeError, match="cannot be converted"):
        GraphCache(tmp_path).obtain("key", fail)
    assert not list(tmp_path.iterdir())


def test_several_may_make_the_same_entry_at_once(tmp_path: Path) -> None:
    together = Barrier(4)

    def obtain() -> Path:
        def build(folder: Path) -> None:
            Builder()(folder)
            together.wait(10)

        return GraphCache(tmp_path).obtain("key", build)

    with ThreadPoolExecutor(4) as threads:
        places = {future.result() for future in [threads.submit(obtain) for _ in range(4)]}
    (place,) = places
    unneeded = Builder()
    GraphCache(tmp_path).obtain("key", unneeded)
    assert (unneeded.built, [each.name for each in tmp_path.iterdir()]) == (0, [place.name])


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    abandoned, current = tmp_path / "key.1.partial", tmp_path / "key.2.partial"
    for folder in (abandoned, current):
        folder.mkdir()
    long_ago = time.time() - 2 * STALE_S
    os.utime(abandoned, (long_ago, long_ago))
    GraphCache(tmp_path).obtain("key", Builder())
    assert (abandoned.exists(), current.exists()) == (False, True)


def test_the_key_follows_weights_configuration_and_runtime() -> None:
    unet = build_unet()
    first = export_key("openvino", "1.0", unet)
    assert export_key("openvino", "1.0", build_unet()) == first
    other_weights = build_unet()
    with torch.no_grad():
        other_weights.conv_out.bias[0] += 1
    keys = {
        first,
        export_key("openvino", "1.1", unet),
        export_key("onnxruntime", "1.0", unet),
        export_key("openvino", "1.0", other_weights),
        export_key("openvino", "1.0", build_unet("house")),
        export_key("openvino", "1.0", build_unet().half()),
    }
    assert len(keys) == 6
