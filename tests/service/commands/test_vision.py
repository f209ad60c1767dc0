"""``photogram vision finetune``: what it prints and adds to the catalog, and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from models.catalog.catalog import Catalog
from models.catalog.vision import EYES
from service.commands.vision import main
from tests.models.vision.rig import TINY, save

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def base(data: Path, tmp_path: Path) -> Path:
    """A server with the vision model ``tiny``, also called ``eyes``."""
    folder = save(TINY, tmp_path / "tiny")
    catalog = data / "catalog.toml"
    catalog.write_text(f'[vision.tiny]\nfolder = "{folder}"\naliases = ["eyes"]\nlicence = "mit"\n')
    return catalog


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for colour in ("red", "blue"):
        (tmp_path / "images" / colour).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (40, 40 + number), colour).save(tmp_path / "images" / colour / f"{number}.png")
    (tmp_path / "images/red/broken.png").write_bytes(b"no image")
    return tmp_path / "images"


def run(images: Path, output: str, *more: str, model: str = "eyes") -> int:
    return main(["finetune", "--data", str(images), "--model", model, "--output", output, "--epochs", "3", *more])


def test_a_model_is_trained_added_and_replaced(
    base: Path, images: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(images, "colours") == 0
    out, err = capsys.readouterr()
    assert "2 labels; 6 images to learn from, 2 held out" in out and "epoch 1/3: loss" in out
    assert "photogram classify IMAGE --model colours" in out and "broken.png: " in err
    added = Catalog.load(base).vision["colours"]
    assert (added.folder, added.licence, added.problem()) == (data / "vision/colours", "mit", None)
    assert run(images, "colours") == 1 and "--overwrite" in capsys.readouterr().err
    assert run(images, "colours", "--overwrite", "--json", model="colours") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {event["event"] for event in events} == {"counted", "prepared", "epoch", "finetuned"}


@pytest.mark.parametrize(
    ("output", "more", "model", "reason"),
    [
        ("new", (), "gone", "there is no vision model 'gone'"),
        (EYES, ("--overwrite",), "tiny", "is built in"),
        ("../new", (), "tiny", "must be letters"),
        ("eyes", (), "tiny", "another name of the vision model 'tiny'"),
        ("tiny", (), "tiny", "--overwrite replaces it"),
        ("new", ("--held-out", "1"), "tiny", "held-out must be from 0.01 to 0.9"),
        ("new", ("--learning-rate", "nan"), "tiny", "learning-rate must be greater than 0"),
    ],
)
def test_what_is_refused(
    base: Path, images: Path, data: Path, output: str, more: tuple[str, ...], model: str, reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(images, output, *more, model=model) == 1
    assert reason in capsys.readouterr().err
    assert list(Catalog.load(base).vision) == ["tiny", EYES] and not (data / "vision").exists()
