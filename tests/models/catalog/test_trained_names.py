"""LoRAs are found by the name they were trained under, in any case, with folders; odd files are no surprise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.trained_names import trained_name


def lora_file(file: Path, metadata: object) -> Path:
    header = json.dumps({"__metadata__": metadata}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    return file


def test_a_lora_is_found_by_its_names(tmp_path):
    film = AuxiliaryModel(
        name="film-000010", path=lora_file(tmp_path / "f.safetensors", {"ss_output_name": "FilmLook"})
    )
    ink = AuxiliaryModel(name="ink", path=lora_file(tmp_path / "ink.safetensors", {"ss_output_name": "film-000010"}))
    found = AuxiliaryModels({each.name: each for each in (film, ink)})
    for name in ("FilmLook", "filmlook", "film-000010", "styles/film-000010", "F.safetensors", "a\\b\\FILM-000010"):
        assert found.resolve(name) is film, name
    assert found.resolve("") is found.resolve("/") is found.resolve("nobody") is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 8, b"\xff" * 64, (5).to_bytes(8, "little") + b"[1]", (9).to_bytes(8, "little") + b"{}       ",
     (40).to_bytes(8, "little") + b'{"__metadata__": {"ss_output_name": 5}}   ',
     (20_000).to_bytes(8, "little") + b"[" * 20_000],
)  # fmt: skip
def test_odd_files_have_no_name(tmp_path, data):
    file = tmp_path / "x.safetensors"
    file.write_bytes(data)
    assert trained_name(file) is None


def test_only_files_have_names(tmp_path):
    assert trained_name(tmp_path / "gone.safetensors") is None
    assert trained_name(lora_file(tmp_path / "x.pt", {"ss_output_name": "x"})) is None
