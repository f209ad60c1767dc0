"""Learning from two icons: it resumes, learns them, and exports a model that sees and reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.catalog.concepts import Concept
from models.catalog.vision import PROJECTION, VisionSpec
from models.vision.model import EMBEDDING, LOGITS, load_vision_model
from training.eyes import learning
from training.eyes.captions import Captions
from training.eyes.export import export
from training.eyes.learning import Learning
from training.eyes.network import WIDTH
from training.eyes.renderings import NONE, SIZE_PX, Renderings
from training.eyes.scenes import Painter


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> tuple[Renderings, Captions]:
    """A wide and a tall bar, and a caption of each."""
    monkeypatch.setattr(learning, "BATCH", 16)
    monkeypatch.setattr(learning, "WARMUP_STEPS", 4)
    pixels = torch.zeros(2, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    pixels[0, 3, 40:56, 8:88] = pixels[1, 3, 8:88, 40:56] = 255
    both, none = torch.tensor([0, 1]), torch.full((2,), NONE)
    captions = Captions(torch.eye(2, 384), torch.tensor([[0, NONE, NONE], [1, NONE, NONE]]))
    captions.draw = lambda scenes, rng: scenes.concepts.clone()  # type: ignore[method-assign]
    return Renderings(pixels, both, torch.zeros(2, dtype=torch.long), none), captions


def test_it_learns_resumes_and_is_exported(world: tuple[Renderings, Captions], tmp_path: Path) -> None:
    first = Learning(*world, 2, tmp_path)
    first.run(16 * 20)
    resumed = Learning(*world, 2, tmp_path)
    assert resumed.samples == first.samples == 320
    assert all(torch.equal(a, b) for a, b in zip(first.average.state_dict().values(),
                                                 resumed.average.state_dict().values(), strict=True))  # fmt: skip
    resumed.run(16 * 60)
    concepts = [Concept("wide", ("wide bar",), 1), Concept("tall", ("tall bar",), 1)]
    export(resumed.eyes, concepts, tmp_path / "made")
    spec = VisionSpec(name="made", folder=tmp_path / "made")
    model = load_vision_model(spec, torch.device("cpu"))
    assert spec.projection == tmp_path / "made" / PROJECTION and model.width == WIDTH
    assert [label.text for label in model.labels] == ["wide bar", "tall bar"]
    scenes = Painter(world[0], 64).paint(torch.arange(40) % 2, torch.Generator().manual_seed(5))
    features = model.forward((scenes.images - 0.5) / 0.5)
    right = model.read(features, LOGITS).argmax(1) == scenes.concepts
    assert right.float().mean() > 0.8
    assert model.read(features, EMBEDDING).shape == (40, WIDTH)
