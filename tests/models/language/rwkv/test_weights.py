"""Files that are checkpoints, and files that are none: said in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.language.rwkv import v5, v6
from models.language.rwkv.model import Model
from models.language.rwkv.weights import BadWeights, check
from tests.tiny.rwkv import checkpoint

Change = Callable[[dict[str, Any]], Any]


class Forbidden:
    """Not a tensor: unpickling it would run code."""


def test_the_version_and_the_sizes_are_read_from_the_file(version: str, tiny: Model) -> None:
    assert (tiny.version, tiny.vocabulary_size, tiny.width) == (version, 257, 128)
    state = tiny.new_state(3)
    assert (state.last.shape, state.wkv.shape) == ((2, 2, 3, 128), (2, 3, 2, 64, 64))


def test_the_first_layer_of_version_7_may_lack_what_it_does_not_use(tmp_path: Path) -> None:
    tensors = checkpoint("7")
    path = tmp_path / "whole.pth"
    torch.save(tensors, path)
    whole = Model(path)
    bare = tmp_path / "bare.pth"
    torch.save({name: each for name, each in tensors.items() if not name.startswith("blocks.0.att.v")}
               | {"blocks.0.att.value.weight": tensors["blocks.0.att.value.weight"]}, bare)  # fmt: skip
    tokens = torch.tensor([[1, 2, 3]])
    assert torch.equal(whole.forward(tokens, whole.new_state(1)), Model(bare).forward(tokens, whole.new_state(1)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("blocks.1.att.key.weight"), "lacks blocks.1.att.key.weight"),
        (
            lambda tensors: tensors.update({"blocks.0.ffn.s_emb.weight": torch.ones(2)}),
            "unknown tensors: blocks.0.ffn.s",
        ),
        (lambda tensors: tensors.update({"blocks.7.ln1.weight": torch.ones(128)}), "lacks blocks.2."),
        (lambda tensors: tensors.update({"ln_out.bias": torch.ones(64)}), "ln_out.bias has the shape 64; expected 128"),
        (lambda tensors: tensors.update({"ln_out.bias": torch.ones(128, 1)}), "ln_out.bias has the shape 128 x 1"),
        (lambda tensors: tensors.update({"ln_out.bias": torch.ones(128).int()}), "other than weights: 'ln_out.bias'"),
        (lambda tensors: tensors.update({"ln_out.bias": "text"}), "other than weights: 'ln_out.bias'"),
        (
            lambda tensors: tensors.update({"blocks.0.att.time_faaaa": torch.ones(2, 32)}),
            "time_faaaa has the shape 2 x 32",
        ),
        (lambda tensors: tensors.pop("blocks.0.att.time_mix_g"), "none of the supported RWKV versions"),
        (lambda tensors: tensors.update({"emb.weight": Forbidden()}), "cannot be read as a checkpoint"),
        (lambda tensors: tensors.clear(), "contains no named tensors"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path, change: Change, said: str) -> None:
    tensors: dict[str, Any] = checkpoint("5.2")
    change(tensors)
    path = tmp_path / "bad.pth"
    torch.save(tensors, path)
    with pytest.raises(BadWeights, match=re.escape(said)) as caught:
        Model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"PK\x03\x04 broken", b"\x80\x02]q\x00."])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(BadWeights, match="cannot be read as a checkpoint"):
        Model(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="there is no file"):
        Model(tmp_path / "missing.pth")
    with pytest.raises(BadWeights, match="there is no file"):
        Model(tmp_path)


def test_one_letter_is_one_size_and_a_multiple_of_it_too() -> None:
    tensors = checkpoint("6")
    assert check(tensors, v6.SHAPES) == {"V": 257, "C": 128, "F": 384, "H": 2, "N": 64}
    tensors["blocks.1.att.time_maa_w1"] = torch.ones(128, 21)
    with pytest.raises(BadWeights, match=r"time_maa_w[12] has the shape"):
        check(tensors, v6.SHAPES)
    with pytest.raises(BadWeights, match="2 heads of 32 do not match the width of 128"):
        check(checkpoint("5.2") | {
            f"blocks.{layer}.att.time_{name}": torch.ones(2, 32) for layer in (0, 1) for name in ("decay", "faaaa")
        }, v5.SHAPES)  # fmt: skip
