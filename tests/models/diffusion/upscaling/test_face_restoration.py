"""Faces are found, restored with GFPGAN, and put back; whoever else is restored beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.diffusion.upscaling.architectures import import_spandrel
from models.diffusion.upscaling.face_detector import FaceDetector
from models.diffusion.upscaling.faces import FaceRestoration, FaceRestorer, load_face_restorer
from models.diffusion.upscaling.postprocess import Postprocess
from models.diffusion.upscaling.upscaler import load_upscaler
from models.errors import InputUnavailable, ModelUnavailable
from tests.models.diffusion.upscaling.tiny_detector import CELL_PX, LANDMARKS_PX, build_tiny_detector
from tests.models.diffusion.upscaling.tiny_upscalers import CPU, esrgan, noise, write


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_detector(tmp_path_factory.mktemp("detector") / "tiny.onnx")


@pytest.fixture(scope="module")
def restorer(detector_file: Path) -> FaceRestorer:
    import_spandrel()
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    gfpgan = GFPGAN(channel_multiplier=1, narrow=1 / 16, num_style_feat=16).requires_grad_(False)
    for name, weight in gfpgan.named_parameters():
        if weight.shape == (1,) and name.startswith("stylegan_decoder"):
            weight.fill_(0.5)  # the strength of the noise, 0 at first
    return FaceRestorer(gfpgan, FaceDetector(detector_file))


def image_with_faces(*places: tuple[int, int], size: tuple[int, int] = (320, 240), seed: int = 0) -> Image.Image:
    """Noise without red, and a red square with its top left corner at each of ``places``."""
    pixels = np.array(noise(*size, seed=seed)) // 2
    for x, y in places:
        pixels[y : y + CELL_PX, x : x + CELL_PX] = (255, 0, 0)
    return Image.fromarray(pixels)


def landmarks_at(x: int, y: int) -> np.ndarray:
    """Those of a face whose red square is there [5, 2]."""
    return LANDMARKS_PX + np.array([x, y])


def run(*jobs: Postprocess) -> list[np.ndarray]:
    """Take all steps in company; the images' values."""
    while group := [job for job in jobs if not job.is_done]:
        for job, output in zip(group, group[0].forward(group), strict=True):
            job.take_step(output)
    return [np.array(job.image()).astype(int) for job in jobs]


@pytest.mark.parametrize("size", [(320, 240), (333, 207), (640, 64)])
def test_faces_are_found_with_their_landmarks(size: tuple[int, int], restorer: FaceRestorer):
    image = image_with_faces((48, 32), (200, 40), size=size)
    found = sorted(restorer.detector.find(np.array(image)), key=lambda landmarks: landmarks[0, 0])
    assert np.allclose(found, [landmarks_at(48, 32), landmarks_at(200, 40)], atol=0.01)


def test_large_images_are_looked_at_smaller(restorer: FaceRestorer):
    image = image_with_faces((56, 32), size=(640, 480)).resize((1280, 960), Image.Resampling.NEAREST)
    (found,) = restorer.detector.find(np.array(image))
    assert np.allclose(found, 2 * landmarks_at(56, 32), atol=0.01)


def test_each_face_is_restored_in_a_step_and_the_rest_stays(restorer: FaceRestorer):
    image = image_with_faces((80, 80), (480, 240), size=(640, 400))
    job = FaceRestoration(image, restorer)
    assert job.steps == 2
    assert job.next_input().shape == (1, 3, 512, 512)
    (restored,) = run(job)
    changed = np.abs(restored - np.array(image)).max(axis=-1) > 0
    for x, y in ((80, 80), (480, 240)):
        assert changed[y - 30 : y + 40, x - 30 : x + 30].mean() > 0.9
    assert not changed[:, 250:330].any()
    assert not changed[300:, :300].any()


def test_company_changes_nothing(restorer: FaceRestorer):
    images = [image_with_faces((80, 80), seed=1), image_with_faces((72, 96), (208, 120), seed=2)]
    together = run(*(FaceRestoration(image, restorer) for image in images))
    alone = [run(FaceRestoration(image, restorer))[0] for image in images]
    assert all(np.abs(one - other).max() <= 1 for one, other in zip(together, alone, strict=True))


def test_no_noise_is_drawn(restorer: FaceRestorer):
    image = image_with_faces((80, 80))
    state = torch.get_rng_state()
    first, second = (run(FaceRestoration(image, restorer))[0] for _ in range(2))
    assert (first == second).all()
    assert torch.equal(state, torch.get_rng_state())


def test_an_image_without_a_face_fails(restorer: FaceRestorer):
    with pytest.raises(InputUnavailable, match="no face was found"):
        FaceRestoration(image_with_faces(), restorer)


def test_only_rgb_is_taken(restorer: FaceRestorer):
    with pytest.raises(ValueError, match="must be RGB, not L"):
        FaceRestoration(image_with_faces((80, 80)).convert("L"), restorer)


def test_published_weights_are_recognised_and_are_no_upscaler(tmp_path: Path, detector_file: Path):
    path = tmp_path / "GFPGANv1.4.pth"
    torch.save({"params_ema": _published_layout()}, path)
    restorer = load_face_restorer(path, detector_file, CPU)
    assert type(restorer.gfpgan).__name__ == "GFPGANv1Clean"
    assert not restorer.gfpgan.training
    with pytest.raises(ModelUnavailable, match="GFPGAN is a model for FaceSR"):
        load_upscaler(path, CPU, torch.float32)


def _published_layout() -> dict[str, torch.Tensor]:
    """Zeros in the shapes of GFPGAN v1.4; each tensor takes one number's room in a file."""
    import_spandrel()
    from spandrel.architectures.GFPGAN import GFPGAN

    with torch.device("meta"):
        shapes: nn.Module = GFPGAN()
    return {name: torch.zeros(1).expand(weight.shape) for name, weight in shapes.state_dict().items()}


def test_other_files_are_refused_with_the_reason(tmp_path: Path, detector_file: Path):
    weights = write(esrgan, tmp_path / "esrgan.safetensors")
    with pytest.raises(ModelUnavailable, match="has the architecture ESRGAN; face restorers must be GFPGAN"):
        load_face_restorer(weights, detector_file, CPU)
    for content in (b"no network", b""):
        damaged = tmp_path / "damaged.onnx"
        damaged.write_bytes(content)
        with pytest.raises(ModelUnavailable, match="no face detector that OpenCV can read"):
            load_face_restorer(weights, damaged, CPU)
    with pytest.raises(ModelUnavailable, match="there is no file"):
        load_face_restorer(weights, tmp_path / "absent.onnx", CPU)
