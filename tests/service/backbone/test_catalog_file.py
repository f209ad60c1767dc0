"""The catalog on disk: changes in its folders are seen without a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.backbone.catalog_file import CatalogFile
from tests.weight_files import LORA_FILE


def add(folder: Path, name: str, stamp: int) -> None:
    """Add a file of weights; the folder's time of change is ``stamp``, whatever the file system's resolution."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(LORA_FILE)
    os.utime(folder, (stamp, stamp))


@pytest.mark.parametrize("below", ["", "style", "style/old"])
def test_a_file_that_is_added_is_seen(tmp_path: Path, below: str) -> None:
    folder = tmp_path / "loras" / below
    add(folder, "first", 1)
    catalog = CatalogFile(tmp_path / "catalog.toml")
    assert list(catalog.current().loras) == ["first"]
    add(folder, "second", 2)
    assert list(catalog.current().loras) == ["first", "second"]


def test_a_folder_that_is_added_is_seen(tmp_path: Path) -> None:
    catalog = CatalogFile(tmp_path / "catalog.toml")
    assert not catalog.current().loras
    add(tmp_path / "loras" / "style", "first", 1)
    assert list(catalog.current().loras) == ["first"]
    add(tmp_path / "loras" / "style" / "new", "second", 1)
    os.utime(tmp_path / "loras" / "style", (2, 2))
    assert list(catalog.current().loras) == ["first", "second"]
    add(tmp_path / "loras" / "style" / "new", "third", 3)
    assert list(catalog.current().loras) == ["first", "second", "third"]
