"""A package sees what the service sees."""

from pathlib import Path
from typing import Any

import numpy as np
import photogram_runtime
import pytest
import torch
from photogram_runtime import Deployed, InvalidRequest, PackageDamaged, PackageUnsupported
from photogram_runtime.package import read_manifest, write_manifest
from photogram_runtime.seeing import in_rgb, read_preprocessing
from PIL import Image

from models.media.images import decode
from models.vision.model import EMBEDDING, LOGITS, VisionModel
from models.vision.timm_import import import_timm
from tests.models.vision.rig import smooth_noise

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("crop_mode", "crop_pct", "size"), [
    ("center", 0.875, (64, 64)), ("center", 1.0, (64, 64)), ("center", 0.9, (48, 80)), ("center", 1.3, (64, 64)),
    ("squash", 1.0, (64, 64)), ("squash", 0.95, (40, 72)), ("border", 1.0, (64, 64)), ("border", 0.8, (64, 48)),
    ("border", 1.2, (63, 64)),
])  # fmt: skip
def test_preprocessing_is_that_of_timm(interpolation: str, crop_mode: str, crop_pct: float, size: tuple[int, int]):
    config = {"interpolation": interpolation, "crop_mode": crop_mode, "crop_pct": crop_pct, **IMAGENET}
    expected = import_timm().data.create_transform((3, *size), is_training=False, **config)
    found = read_preprocessing({"input_size": [3, *size], **config})
    for seed, pixels in enumerate([(200, 170), (64, 64), (31, 97), (97, 31), (301, 7), (65, 64), (1, 1)]):
        image = smooth_noise(seed, pixels)
        np.testing.assert_allclose(found(image)[0], expected(image).numpy(), rtol=0, atol=1e-5)


def test_labels_and_their_probabilities_are_the_services(seeing: Deployed, vision_model: VisionModel):
    image = smooth_noise(3)
    logits = vision_model.see(vision_model.prepare([image]), LOGITS)[0]
    values, indexes = logits.softmax(0).topk(7)
    found = seeing.classify(image, top=7)
    assert [each.index for each in found] == indexes.tolist()
    np.testing.assert_allclose([each.probability for each in found], values, rtol=1e-3)
    assert [(each.name, each.text) for each in found] == [
        (vision_model.labels[index].name, vision_model.labels[index].text) for index in indexes.tolist()
    ]
    assert len(seeing.classify(image)) == 5
    assert sum(each.probability for each in seeing.classify(image, top=100_000)) == pytest.approx(1)


def test_embeddings_are_the_services(seeing: Deployed, vision_model: VisionModel):
    image = smooth_noise(4)
    expected = torch.nn.functional.normalize(vision_model.see(vision_model.prepare([image]), EMBEDDING), dim=-1)[0]
    found = seeing.embed(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_images_are_read_as_the_service_reads_files(mode: str, tmp_path: Path):
    image = smooth_noise(5).convert("RGBA" if mode == "RGBA" else "RGB").convert(mode)
    if "A" in mode:
        image.putalpha(smooth_noise(6).convert("L"))
    file = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(file)
    with Image.open(file) as opened:
        assert in_rgb(opened).tobytes() == decode(file.read_bytes()).tobytes()


def test_photographs_are_turned_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth_noise(7, (40, 20)).save(tmp_path / "image.jpg", exif=exif)
    with Image.open(tmp_path / "image.jpg") as opened:
        assert in_rgb(opened).size == (20, 40)


@pytest.mark.parametrize(("image", "message"), [
    (None, "must be an image of Pillow, not a value of the type NoneType"),
    ("cat.png", "must be an image of Pillow, not a value of the type str"),
    (np.zeros((8, 8, 3), np.uint8), "must be an image of Pillow, not a value of the type ndarray"),
    (Image.new("I;16", (8, 8)), "has the mode I;16; convert it to RGB first"),
    (Image.new("RGB", (0, 8)), "has 0 x 8 pixels"),
    (Image.new("RGB", (1, 51)), "has 1 x 51 pixels"),
], ids=str)  # fmt: skip
def test_what_cannot_be_seen_is_refused(seeing: Deployed, image: Any, message: str):
    for ask in (seeing.classify, seeing.embed):
        with pytest.raises(InvalidRequest) as caught:
            ask(image)
        assert message in str(caught.value)


def test_a_damaged_image_is_refused(seeing: Deployed, tmp_path: Path):
    smooth_noise(8).save(tmp_path / "image.png")
    (tmp_path / "image.png").write_bytes((tmp_path / "image.png").read_bytes()[:-500])
    with Image.open(tmp_path / "image.png") as opened, pytest.raises(InvalidRequest, match="image cannot be decoded"):
        seeing.embed(opened)


@pytest.mark.parametrize("top", [0, -1, 1.0, "5", None, True, 10**6])
def test_a_number_of_labels_that_is_none_is_refused(seeing: Deployed, top: Any):
    with pytest.raises(InvalidRequest, match="top must be"):
        seeing.classify(smooth_noise(1), top=top)


def test_a_model_that_sees_does_not_draw(seeing: Deployed):
    with pytest.raises(InvalidRequest, match="tiny sees: it classifies and embeds images, and cannot draw"):
        seeing.draw("a cat")


def changed(seeing: Deployed, folder: Path, **vision: Any) -> Path:
    """A copy of the package with another description."""
    for name in read_manifest(seeing.package.folder)["files"]:
        (folder / name).write_bytes((seeing.package.folder / name).read_bytes())
    manifest = dict(seeing.package.manifest)
    write_manifest(folder, manifest | {"vision": manifest["vision"] | vision})
    return folder


def test_independent_classes_have_probabilities_of_their_own(
    seeing: Deployed, vision_model: VisionModel, tmp_path: Path
):
    image = smooth_noise(3)
    logits = vision_model.see(vision_model.prepare([image]), LOGITS)[0]
    best = photogram_runtime.load(changed(seeing, tmp_path, multi_label=True)).classify(image, top=1)[0]
    assert best.probability == pytest.approx(float(logits.sigmoid().max()), rel=1e-4)


def test_a_model_without_labels_does_not_classify(seeing: Deployed, tmp_path: Path):
    deployed = photogram_runtime.load(changed(seeing, tmp_path, labels=[]))
    with pytest.raises(InvalidRequest, match="has no classifier; it embeds"):
        deployed.classify(smooth_noise(1))
    assert deployed.embed(smooth_noise(1)).ndim == 1


@pytest.mark.parametrize(("vision", "error"), [
    ({"mean": [0.5]}, PackageDamaged), ({"std": [0, 1, 1]}, PackageDamaged), ({"input_size": "no"}, PackageDamaged),
    ({"crop_pct": 0}, PackageDamaged), ({"labels": [["a"]]}, PackageDamaged), ({"labels": 5}, PackageDamaged),
    ({"crop_mode": "spiral"}, PackageUnsupported), ({"interpolation": "magic"}, PackageUnsupported),
])  # fmt: skip
def test_a_description_that_is_wrong_is_refused(
    seeing: Deployed, tmp_path: Path, vision: dict[str, Any], error: type[Exception]
):
    with pytest.raises(error):
        photogram_runtime.load(changed(seeing, tmp_path, **vision))
