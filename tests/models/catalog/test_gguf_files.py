"""The header of GGUF files: what it tells, and what is refused without reading further than it."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import pytest
import torch

from models.catalog.file_kinds import DENOISER, kind_of
from models.catalog.gguf_files import read_gguf
from models.catalog.weights import read_header
from models.errors import ModelUnavailable
from tests.tiny.denoisers import write_gguf

WEIGHTS = {
    "double_blocks.0.img_attn.qkv.weight": torch.zeros(96, 32),
    "double_blocks.0.img_attn.qkv.bias": torch.zeros(96),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "flux.gguf", WEIGHTS, gguf.GGMLQuantizationType.Q4_0)


def test_names_shapes_types_and_places(file: Path) -> None:
    header = read_header(file)
    assert header["double_blocks.0.img_attn.qkv.weight"] == {
        "dtype": "Q4_0", "shape": [96, 32], "data_offsets": [0, 96 * 18],
    }  # fmt: skip
    assert (header["double_blocks.0.img_attn.qkv.bias"]["dtype"], len(header)) == ("F32", 2)
    found = kind_of(file)
    assert (found.kind, found.family, found.details, found.problem) == (DENOISER, "flux", ("Q4_0",), None)


def test_metadata_of_every_type_is_read_over(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "flux")
    writer.add_string("a", "text")
    writer.add_array("b", ["one", "two"])
    writer.add_array("c", [1, 2, 3])
    writer.add_bool("d", True)
    writer.add_float64("e", 0.5)
    writer.add_custom_alignment(64)
    writer.add_tensor("x", torch.zeros(3, 5).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert read_header(tmp_path / "a.gguf") == {"x": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}}


def head(tensors: int, keys: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


HOSTILE = {
    "empty": (b"", "incomplete or no .gguf file"),
    "another format": (b"PK\3\4" + bytes(100), "is no .gguf file"),
    "version 1": (head(0, 0, version=1), "is no .gguf file of version 2 or 3"),
    "a billion tensors": (head(1 << 30, 0), "its header counts"),
    "a billion keys": (head(0, 1 << 62), "its header counts"),
    "a name beyond the end": (head(0, 1, struct.pack("<Q", 1 << 60)), "incomplete"),
    "an endless array": (head(0, 1, text(b"k") + struct.pack("<IIQ", 9, 4, 1 << 61)), "incomplete"),
    "an endless array of texts": (head(0, 1, text(b"k") + struct.pack("<IIQ", 9, 8, 1 << 61)), "incomplete"),
    "a type of value that there is not": (head(0, 1, text(b"k") + struct.pack("<I", 77)), "unknown type"),
    "an array of arrays": (head(0, 1, text(b"k") + struct.pack("<IIQ", 9, 9, 1)), "unknown type"),
    "many dimensions": (head(1, 0, text(b"t") + struct.pack("<I", 9)), "has 9 dimensions"),
    "a type that is not read": (head(1, 0, text(b"t") + struct.pack("<IQIQ", 1, 256, 16, 0)), "is not read; these are"),
    "data beyond the end": (head(1, 0, text(b"t") + struct.pack("<IQIQ", 1, 1 << 60, 0, 0)), "incomplete: download"),
    "an alignment of 0": (
        head(1, 1, text(b"general.alignment") + struct.pack("<II", 4, 0) + text(b"t")
             + struct.pack("<IQIQ", 1, 100, 0, 0)), "incomplete: download",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_header_is_refused(case: str, tmp_path: Path) -> None:
    content, reason = HOSTILE[case]
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(ModelUnavailable, match=reason):
        read_gguf(tmp_path / "a.gguf", len(content))


def test_only_denoisers_are_read(tmp_path: Path) -> None:
    found = kind_of(
        write_gguf(tmp_path / "t5.gguf", {"encoder.block.0.layer.0.SelfAttention.k.weight": torch.zeros(2)})
    )
    assert found.problem == "only denoisers (UNets and transformers) are read from .gguf files"
