"""``photogram models add`` with models that see: folders, files and names of timm, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.catalog.catalog import Catalog
from models.catalog.vision import EYES
from service.commands.models import main
from tests.weight_files import SD1, write

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in timm's layout; adding it reads no weights but their header."""
    made = tmp_path / "eyes"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 2}))
    write(made / "model.safetensors", SD1)
    return made


def test_a_folder_a_file_and_a_name_of_timm_are_added_listed_and_removed(
    data: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(folder / "model.safetensors")
    assert main(["add", str(folder), "--alias", "mine"]) == 0
    assert main(["add", weights, "--architecture", "resnet18", "--classes", "2", "--name", "pets"]) == 0
    assert main(["add", "timm/mobilenetv3_small_100", "--no-download"]) == 0
    assert 'of the kind classify, embed or similarity: "model": "mobilenetv3_small_100"' in capsys.readouterr().out
    models = Catalog.load(data / "catalog.toml").vision
    assert list(models) == ["eyes", "pets", "mobilenetv3_small_100", EYES]
    assert models.resolve("MINE") is models["eyes"] and models["eyes"].folder == folder
    assert (models["pets"].file, models["pets"].classes) == (Path(weights), 2)
    small = models["mobilenetv3_small_100"]
    assert (small.repository, small.licence) == ("timm/mobilenetv3_small_100.lamb_in1k", "apache-2.0")
    assert main(["list"]) == 0
    assert "vision: eyes, pets, mobilenetv3_small_100, photogram-eyes" in capsys.readouterr().out
    assert main(["remove", "pets"]) == 0
    assert "pets" not in Catalog.load(data / "catalog.toml").vision
    assert main(["remove", EYES]) == 1 and "is built in and cannot be removed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["timm/no_such_model", "--no-download"], "timm has no model 'no_such_model'"),
        (["{weights}", "--architecture", "no_such_model"], "timm has no model 'no_such_model'"),
        (["gone.safetensors", "--architecture", "resnet18"], "its file of weights is missing"),
        (["{folder}", "--classes", "2"], "--classes is for vision models in a file, and"),
        (["{folder}", "--no-download"], "--no-download is for what is downloaded, and"),
        (["{folder}", "--architecture", "resnet18"], "--architecture is for vision models in a file, and"),
        (["{folder}", "--steps", "2"], "--steps is for checkpoints, and"),
        (["timm/resnet18", "--default"], "--default is for checkpoints, and timm/resnet18 is weights of timm"),
        (["{folder}", "--labels", "gone.txt"], "its file of labels is missing"),
        (["{folder}", "--name", "Photogram-Eyes", "--overwrite"], "the vision model 'photogram-eyes' is built in"),
        (["{weights}", "--architecture", "resnet18", "--classes", "-1"], "classes must be from 1"),
    ],
)
def test_what_is_refused_changes_nothing(
    data: Path, folder: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [each.format(folder=folder, weights=folder / "model.safetensors") for each in arguments]
    assert main(["add", *filled]) == 1
    assert reason in capsys.readouterr().err
    assert not (data / "catalog.toml").exists()


def test_a_name_that_is_taken_needs_overwrite(data: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add", str(folder)]) == 0
    assert main(["add", str(folder)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["add", str(folder), "--overwrite", "--licence", "mit"]) == 0
    assert Catalog.load(data / "catalog.toml").vision["eyes"].licence == "mit"
