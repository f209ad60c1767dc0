"""``models verify``: it draws with every family both ways, and its exit code tells whether the law holds."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.catalog.catalog import HOUSE
from models.diffusion import denoising_work, verify
from models.diffusion.verify import Difference
from tests.models.diffusion.test_memory_plan import ALL


def verified(folder: Path, family: str, *lines: str, steps: int = 3) -> int:
    """Verify the tiny model in ``folder``, with further lines of its entry."""
    catalog = folder.parent / "catalog.toml"
    entry = [f'folder = "{folder}"', f'family = "{family}"', "defaults = { width = 64, height = 64 }", *lines]
    catalog.write_text("[models.tiny]\n" + "\n".join(entry))
    return verify.main([str(catalog), "tiny", "--steps", str(steps)])


@pytest.mark.parametrize("name", ALL)
def test_every_family(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build, family = ALL[name]
    assert verified(build(tmp_path / name), family) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"tiny: 3 images of 64x64, 3 steps, Euler( a)?, float32, cpu", lines[0])
    assert [line.split("  ")[0] for line in lines[2:5]] == [
        "plain diffusers",
        "engine, one by one",
        "engine, 3 together",
    ]
    if name != "refiner":  # it draws over an image
        assert lines[3].endswith("0    0.0000     inf dB"), "alone it is the plain pipeline's image"
    assert lines[5] == "tiny: ok, within 1 of 255"


@pytest.mark.parametrize("line", ['weights = "fp8"', "vae_tiling = true", 'offload = "model"', "vae_slicing = true"])
def test_settings_of_memory(line: str, tmp_path: Path) -> None:
    build, family = ALL["sd"]
    assert verified(build(tmp_path / "sd"), family, line) == 0


def test_half_precision_has_a_tolerance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build, family = ALL["sd"]
    assert verified(build(tmp_path / "sd"), family, 'dtype = "bfloat16"', steps=2) == 0
    assert "tiny: ok, within a PSNR of 30 dB" in capsys.readouterr().out


def test_images_that_differ_end_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine in which each output depends on the rows beside it."""
    honest = denoising_work.predict

    def mixed(batch: Any) -> list[Any]:
        return [output + 0.2 * (len(batch) - 1) for output in honest(batch)]

    monkeypatch.setattr(denoising_work, "predict", mixed)
    build, family = ALL["pixart"]
    assert verified(build(tmp_path / "pixart"), family) == 1
    assert "tiny: THE IMAGES DIFFER by more than 1 of 255" in capsys.readouterr().out


def test_an_unknown_name_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(tmp_path / "catalog.toml"), "nobody"]) == 1
    assert "there is no model 'nobody'" in capsys.readouterr().err


def test_waiting_threads_sleep_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def policy() -> str:
        verify.main([str(tmp_path / "catalog.toml"), "nobody"])
        return os.environ["OMP_WAIT_POLICY"]

    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert policy() == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert policy() == "PASSIVE"


def test_the_built_in_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for steps in ("0", "-1", "5000"):
        assert verify.main([str(tmp_path / "catalog.toml"), HOUSE, "--steps", steps]) == 1
        assert "--steps must be from 1 to" in capsys.readouterr().err
    assert verify.main([str(tmp_path / "catalog.toml"), HOUSE, "--steps", "2"]) == 0
    assert "house: ok, within 1 of 255" in capsys.readouterr().out


def test_differences() -> None:
    black, grey = Image.new("RGB", (2, 1)), Image.new("RGB", (2, 1), (0, 0, 51))
    found = Difference.of([black, black], [black, grey])
    assert (found.largest, found.mean) == (51, 51 / 6)
    assert found.psnr_db == pytest.approx(18.75, abs=0.01), "of the second image: 255 / (51 / sqrt 3), 20 log10"
    assert not found.is_within("float32") and not found.is_within("bfloat16")
    assert Difference(largest=9, mean=0.1, psnr_db=39.0).is_within("float16")
