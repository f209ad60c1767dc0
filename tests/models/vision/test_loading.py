"""Models that cannot be loaded say why, and a single file is loaded like timm loads it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.catalog.vision import CONFIG, WEIGHTS, VisionSpec
from models.errors import ModelUnavailable
from models.jobs.vision import ClassifyParams
from models.vision.model import load_vision_model
from tests.models.vision.rig import TINY, Folder, catalog_of, plain, save, see, smooth_noise

CPU = torch.device("cpu")


def refusal(spec: VisionSpec) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        load_vision_model(spec, CPU)
    assert caught.value.field == "model"
    return str(caught.value)


@pytest.fixture
def own_folder(weights: Folder, tmp_path: Path) -> Path:
    """A folder that the test may damage."""
    return Path(shutil.copytree(weights(TINY), tmp_path / "own"))


@torch.inference_mode()
def test_a_file_with_another_number_of_classes_and_a_list_of_labels(tmp_path: Path) -> None:
    folder = save(TINY, tmp_path / "pets", num_classes=2)
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    spec = VisionSpec(name="pets", file=folder / WEIGHTS, architecture=TINY, classes=2, labels=labels)
    loaded = load_vision_model(spec, CPU)
    model, transform = plain(folder)
    inputs = transform(smooth_noise(1))[None]
    assert [each.text for each in loaded.labels] == ["cat", "dog"]
    torch.testing.assert_close(loaded.read(loaded.forward(inputs), "logits"), model(inputs), atol=1e-5, rtol=0)


def test_a_list_of_labels_that_does_not_match_is_refused(weights: Folder, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    spec = VisionSpec(name="tiny", folder=weights(TINY), labels=labels)
    assert "it has 1000 classes, and its list of labels has 2" in refusal(spec)


def test_damaged_weights_are_refused(own_folder: Path) -> None:
    weights = own_folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "incomplete" in refusal(VisionSpec(name="tiny", folder=own_folder))


def test_a_pickle_beside_the_configuration_is_never_read(own_folder: Path) -> None:
    (own_folder / WEIGHTS).rename(own_folder / "pytorch_model.bin")
    assert "its file of weights is missing" in refusal(VisionSpec(name="tiny", folder=own_folder))


def test_weights_of_another_architecture_are_refused(own_folder: Path) -> None:
    config = json.loads((own_folder / CONFIG).read_text())
    (own_folder / CONFIG).write_text(json.dumps(config | {"architecture": "test_resnet"}))
    assert "damaged, or of another architecture" in refusal(VisionSpec(name="tiny", folder=own_folder))


def test_a_model_without_a_classifier_does_not_classify(tmp_path: Path) -> None:
    spec = VisionSpec(name="eyes", folder=save(TINY, tmp_path / "eyes", num_classes=0))
    job = ClassifyParams(image="a", model="eyes", top_k=1, multi_label=False)
    failure = see(catalog_of(spec), {"job": job}, {"a": smooth_noise(1)})["job"]
    assert isinstance(failure, ModelUnavailable) and "has no classifier" in str(failure)


def test_torchvision_is_there_for_timm_alone() -> None:
    """In a process of its own, since this one may have imported timm."""
    program = (
        "import models, importlib.util; assert importlib.util.find_spec('torchvision') is None\n"
        "from models.vision.timm_import import import_timm; import_timm()\n"
        "from torchvision.transforms import Resize\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
