"""Compiled graphs are kept, and whatever is wrong with a kept one, the image is the same."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import photogram_runtime
import pytest
from photogram_runtime.compiled import UNUSED_S


def draw(folder: Path, cache: Path | None) -> bytes:
    return (
        photogram_runtime.load(folder, threads=1, cache=cache)
        .draw("a cat", seed=5, steps=2, width=32, height=32)
        .tobytes()
    )


def files(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


def test_each_graph_is_compiled_once(openvino_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(openvino_folder, None)
    cache = tmp_path / "cache"
    assert draw(openvino_folder, cache) == expected
    assert len(files(cache)) == 3 and all(each.suffix == ".compiled" for each in files(cache))
    monkeypatch.setattr("openvino.Core.compile_model", lambda *args: pytest.fail("was compiled again"))
    assert draw(openvino_folder, cache) == expected


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    file.write_bytes(held)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": cut,
    "a bit is flipped": flip,
    "empty": lambda file: file.write_bytes(b""),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_compiled_again(openvino_folder: Path, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    expected = draw(openvino_folder, cache)
    for each in files(cache):
        DAMAGES[damage](each)
    assert draw(openvino_folder, cache) == expected


def test_a_cache_that_cannot_be_written_is_left_out(openvino_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert draw(openvino_folder, tmp_path / "cache") == draw(openvino_folder, None)


def test_what_was_not_used_for_long_is_removed(openvino_folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    old, new = cache / "old.compiled", cache / "new.compiled"
    for each in (old, new):
        each.write_bytes(b"?")
    long_ago = time.time() - UNUSED_S - 60
    os.utime(old, (long_ago, long_ago))
    draw(openvino_folder, cache)
    assert not old.exists() and new.exists()
