"""Headers of LoRAs that contradict themselves are refused before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from models.catalog.file_kinds import LORA, kind_of
from tests.weight_files import safetensors, write

Shapes = Mapping[str, list[int]]


def layer(up: list[int], down: list[int], alpha: list[int] | None = None) -> Shapes:
    names = {"x.lora_up.weight": up, "x.lora_down.weight": down, "x.alpha": [1] if alpha is None else alpha}
    return {f"lora_unet_{name}": shape for name, shape in names.items()}


WRONG: Mapping[str, tuple[Shapes, str]] = {
    "ranks differ": (layer([8, 4], [5, 8]), "the ranks in its layer 'lora_unet_x.lora' differ: 4 up and 5 down"),
    "rank 0": (layer([8, 0], [0, 8]), "has no matrices"),
    "a rank of 10^9": (layer([0, 10**9], [10**9, 0]), "has no matrices"),
    "a large rank": (layer([1, 20_000], [20_000, 1]), "has the rank 20000; the largest is 16384"),
    "vectors": (layer([8], [8]), "has no matrices"),
    "half of it": ({"unet.x.lora_A.weight": [4, 8]}, "one of the two matrices is missing"),
    "many alphas": (layer([8, 4], [4, 8], [3]), "is no single number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_lora_of_wrong_shapes_is_refused(tmp_path: Path, case: str) -> None:
    shapes, reason = WRONG[case]
    found = kind_of(write(tmp_path / "one.safetensors", shapes))
    assert found.kind == LORA and reason in str(found.problem)


@pytest.mark.parametrize("shapes", [layer([8, 4], [4, 8]), layer([8, 4, 1, 1], [4, 8, 3, 3], [])])
def test_linear_and_convolutional_layers_fit(tmp_path: Path, shapes: Shapes) -> None:
    assert kind_of(write(tmp_path / "one.safetensors", shapes)).problem is None


LIES = {
    "a shape of 10^9": ({"shape": [10**9, 8]}, "contradicts itself"),
    "a negative shape": ({"shape": [-4, -8]}, "no .safetensors file"),
    "a shape of texts": ({"shape": ["4", 8]}, "no .safetensors file"),
    "no shape": ({"shape": None}, "no .safetensors file"),
    "offsets backwards": ({"data_offsets": [128, 0]}, "no .safetensors file"),
    "many dimensions": ({"shape": [1] * 100}, "no .safetensors file"),
    "an unknown type": ({"dtype": "F37"}, "the unknown type 'F37'"),
    "the place of another": ({"data_offsets": [128, 256]}, "overlap or leave gaps"),
}


def test_a_file_ends_with_its_last_tensor_and_its_metadata_are_texts(tmp_path: Path) -> None:
    plain = safetensors({"unet.x.lora_A.weight": [4, 8], "unet.x.lora_B.weight": [8, 4]})
    assert "3 bytes follow" in str(kind_of(write(tmp_path / "long.safetensors", plain + b"abc")).problem)
    header = {"__metadata__": [1], "unet.x.lora_A.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    text = json.dumps(header).encode()
    file = write(tmp_path / "list.safetensors", len(text).to_bytes(8, "little") + text)
    assert "metadata are no texts" in str(kind_of(file).problem)


@pytest.mark.parametrize("case", LIES)
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, case: str) -> None:
    changes, reason = LIES[case]
    plain = safetensors({"unet.x.lora_A.weight": [4, 8], "unet.x.lora_B.weight": [8, 4]})
    length = int.from_bytes(plain[:8], "little")
    header = json.loads(plain[8 : 8 + length])
    header["unet.x.lora_A.weight"] |= changes
    text = json.dumps(header).encode()
    file = write(tmp_path / "one.safetensors", len(text).to_bytes(8, "little") + text + plain[8 + length :])
    assert reason in str(kind_of(file).problem)
