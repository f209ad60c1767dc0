"""The law holds whatever runs the UNet in float32: images are those of plain diffusers, within 1/255."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.diffusion.backends.choose import choose_backend
from models.diffusion.backends.eager import EagerDenoiser
from tests.models.diffusion.rig import Studio, WatchedDenoiser, add_row, images, params, run

WANTED: dict[str, dict[str, Any]] = {
    "guided": {"sampler": "Euler a", "num_inference_steps": 7},
    "unguided": {"sampler": "DDIM", "guidance_scale": 1.0, "seed": 2},
    "worded": {"sampler": "DPM++ 2M Karras", "prompt": "two dogs", "negative_prompt": "red", "seed": 3},
    "odd": {"width": 72, "height": 104, "seed": 4},
}


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("model", ["tiny_sd", "tiny_house", "tiny_sdxl", "tiny_distilled"])
def test_images_in_mixed_company_are_the_plain_ones(
    request: pytest.FixtureRequest, backend: str, model: str, graphs: Path
) -> None:
    studio: Studio = request.getfixturevalue(model)
    chosen = choose_backend(EagerDenoiser(studio.checkpoint.pipeline.unet), backend, graphs)
    assert chosen.name == backend
    watched = WatchedDenoiser(chosen)
    engine = studio.engine(watched, preview_every=0)
    wanted = {row_id: params(**changes) for row_id, changes in WANTED.items()}
    for row_id, each in wanted.items():
        add_row(engine, row_id, each, studio.spec)
    drawn = images(run(engine))
    assert max(watched.batches) >= 3
    assert {row_id: studio.off_by(each, drawn[row_id]) for row_id, each in wanted.items()} == pytest.approx(
        dict.fromkeys(wanted, 0), abs=1
    )
