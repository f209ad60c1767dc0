"""Whether a model's weights are on this machine: folders and files always, repositories if the hub's cache has all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.catalog.catalog import ModelSpec
from models.downloads.on_disk import bytes_of, is_on_disk, place_of

COMMIT = "0" * 40
INDEX = {"_class_name": "X", "unet": ["diffusers", "U"], "tokenizer": ["transformers", "T"], "safety": [None, None]}


def repository() -> ModelSpec:
    return ModelSpec(name="a", family="stable-diffusion", repository="someone/something", revision=COMMIT)


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete repository in the cache of the hub's client."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    folder = tmp_path / "models--someone--something" / "snapshots" / COMMIT
    for part in ("unet", "tokenizer"):
        (folder / part).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "unet" / "model.safetensors").write_bytes(b"12345")
    return folder


def test_a_complete_repository_is_on_disk(snapshot: Path) -> None:
    assert place_of(repository()) == snapshot and is_on_disk(repository())


def test_a_repository_that_was_never_downloaded_is_not(snapshot: Path) -> None:
    other = ModelSpec(name="b", family="stable-diffusion", repository="someone/else", revision=COMMIT)
    assert place_of(other) is None and not is_on_disk(other)


def test_weights_that_are_missing_make_it_incomplete(snapshot: Path) -> None:
    (snapshot / "unet" / "model.safetensors").unlink()
    assert not is_on_disk(repository())
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "unet" / "model.safetensors.index.json").write_text(json.dumps(shards))
    (snapshot / "unet" / "model-1.safetensors").write_bytes(b"1")
    assert not is_on_disk(repository())
    (snapshot / "unet" / "model-2.safetensors").write_bytes(b"2")
    assert is_on_disk(repository())
    (snapshot / "tokenizer").rmdir()
    assert not is_on_disk(repository())


def test_the_bytes_of_a_folder_are_those_of_what_its_links_point_to(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"12345")
    (tmp_path / "folder" / "part").mkdir(parents=True)
    (tmp_path / "folder" / "part" / "link").symlink_to(blob)
    (tmp_path / "folder" / "broken").symlink_to(tmp_path / "nothing")
    assert (bytes_of(tmp_path / "folder"), bytes_of(blob)) == (5, 5)
