"""Models that were made for inpainting, whose UNets take mask and masked image: the law, and what they cannot do."""

from __future__ import annotations

import pytest

from models.catalog.families import IMG2IMG, INPAINT, STABLE_DIFFUSION, TXT2IMG
from models.errors import DrawingFailed
from tests.models.diffusion import plain
from tests.models.diffusion.rig import Studio, add_row, failures, run
from tests.models.diffusion.test_law_images import IMAGES, over
from tests.tiny import build_tiny_inpaint

SAMPLERS = ("Euler", "Euler a", "DPM++ 2M Karras", "DDIM", "Heun", "DPM++ 2M SDE")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return plain.open_studio(build_tiny_inpaint(tmp_path_factory.mktemp("models") / "inpaint"), STABLE_DIFFUSION)


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_alone(studio: Studio, sampler: str, strength: float) -> None:
    plain.check(studio, {"row": (INPAINT, over(INPAINT, sampler=sampler, strength=strength))})


@pytest.mark.parametrize("late", [0, 1], ids=["together", "joining late"])
def test_in_company(studio: Studio, late: int) -> None:
    rows = {
        sampler: (INPAINT, over(INPAINT, sampler=sampler, seed=number, guidance_scale=(5.0, 1.0)[number % 2],
                                strength=(1.0, 0.6, 0.4)[number % 3]))
        for number, sampler in enumerate(SAMPLERS)
    }  # fmt: skip
    plain.check(studio, rows, late)


@pytest.mark.parametrize("kind", [TXT2IMG, IMG2IMG])
def test_without_a_mask_it_draws_nothing(studio: Studio, kind: str) -> None:
    engine = studio.engine()
    add_row(engine, "row", over(kind), studio.spec, kind, IMAGES)
    failure = failures(run(engine))["row"]
    assert isinstance(failure, DrawingFailed)
    assert str(failure) == f"this model is made for inpaint and cannot do {kind}: it needs an image and a mask"
