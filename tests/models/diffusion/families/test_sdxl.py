"""SDXL under the law, what its UNet is told beside the prompt, and the pipelines that are taken for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.catalog.families import SDXL, STABLE_DIFFUSION
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.denoiser import Conditioning, Denoiser, Residuals
from models.diffusion.engine import Engine
from models.errors import ModelUnavailable
from tests.models.diffusion.rig import (
    CPU,
    Studio,
    add_row,
    images,
    params,
    prepare,
    progress,
    run,
    spec_of,
)
from tests.models.diffusion.test_law import PLAIN, check, check_alone, crowd, draw_together, mixed_cases, plain_crowd
from tests.tiny import POOLED_WIDTH, build_tiny_sdxl


@pytest.mark.parametrize("sampler", PLAIN)
@mixed_cases
def test_alone_it_is_the_plain_pipelines_image_to_the_bit(tiny_sdxl: Studio, sampler: str, case: str) -> None:
    check_alone(tiny_sdxl, crowd(case)[sampler])


@mixed_cases
def test_in_a_batch(tiny_sdxl: Studio, case: str) -> None:
    draw_together(tiny_sdxl, plain_crowd(case))


def test_joining_late(tiny_sdxl: Studio) -> None:
    rows = plain_crowd("mixed")
    engine, events = tiny_sdxl.engine(rows=len(rows)), []
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, tiny_sdxl.spec)
        events += engine.step()
    check(tiny_sdxl, rows, events + run(engine))


def test_other_sizes_at_once(tiny_sdxl: Studio) -> None:
    sizes = ((64, 64), (32, 64), (64, 32), (96, 64))
    draw_together(tiny_sdxl, {str(size): params(width=size[0], height=size[1]) for size in sizes})


def test_both_families_at_once(tiny_sd: Studio, tiny_sdxl: Studio) -> None:
    studios = {"sd": tiny_sd, "sdxl": tiny_sdxl}
    engine = Engine(lambda spec: studios[spec.name].checkpoint)
    company = crowd("guided", ["Euler a", "Euler", "DDIM"])
    rows = {f"{name} {sampler}": replace(wanted, model=name) for name in studios for sampler, wanted in company.items()}
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, replace(studios[wanted.model].spec, name=wanted.model))
    drawn = images(run(engine))
    assert all(studios[wanted.model].off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())


def test_a_distilled_unet(tmp_path: Path) -> None:
    studio = Studio.open(build_tiny_sdxl(tmp_path, time_cond_proj_dim=16), SDXL)
    check_alone(studio, params(sampler="LCM"))
    draw_together(studio, crowd("mixed", ["LCM", "Euler", "Euler a"]))


@pytest.mark.parametrize("force_zeros", [True, False])
def test_an_empty_negative_prompt_is_none(tmp_path: Path, force_zeros: bool) -> None:
    studio = Studio.open(build_tiny_sdxl(tmp_path, force_zeros=force_zeros), SDXL)
    check_alone(studio, params())
    (encoded_empty,) = studio.plain(
        "a cat", negative_prompt="", guidance_scale=5.0, num_inference_steps=4, width=64, height=64,
        generator=torch.Generator().manual_seed(1),
    ).images  # fmt: skip
    assert (studio.off_by(params(), encoded_empty) > 1) == force_zeros


class BlindDenoiser:
    """A real denoiser that is not told all of what there is."""

    def __init__(self, inner: Denoiser, hidden: str) -> None:
        self._inner, self._hidden = inner, hidden

    name, relative_error = "blind", None

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """As the real one, with zeros for what is hidden."""
        zeros = torch.zeros_like(conditioning.extra_kwargs[self._hidden])
        told = replace(conditioning, extra_kwargs={**conditioning.extra_kwargs, self._hidden: zeros})
        return self._inner.denoise(latents, timesteps, told)


@pytest.mark.parametrize("hidden", ["text_embeds", "time_ids"])
def test_what_the_unet_is_told_shows(tiny_sdxl: Studio, hidden: str) -> None:
    engine = tiny_sdxl.engine(BlindDenoiser(tiny_sdxl.checkpoint.denoiser, hidden))
    add_row(engine, "row", params(), tiny_sdxl.spec)
    assert tiny_sdxl.off_by(params(), images(run(engine))["row"]) > 8


def test_the_unet_is_told_the_size_that_is_drawn(tiny_sdxl: Studio) -> None:
    spec = replace(tiny_sdxl.spec, native_px=96)
    row = prepare(tiny_sdxl, params(width=192, height=96), spec)
    assert spec.drawn_size(192, 96) == (128, 64)
    assert row.conditioning.extra_kwargs["time_ids"].tolist() == [[64, 128, 0, 0, 64, 128]] * 2
    assert row.conditioning.extra_kwargs["text_embeds"].shape == (2, POOLED_WIDTH)


@pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")
@pytest.mark.parametrize("force_upcast", [True, False])
def test_a_vae_that_overflows_in_float16_decodes_in_float32(tmp_path: Path, force_upcast: bool) -> None:
    studio = Studio.open(build_tiny_sdxl(tmp_path, force_upcast=force_upcast), SDXL, "float16")
    pipeline = studio.checkpoint.pipeline
    assert (pipeline.vae.dtype == torch.float32) == force_upcast
    assert {pipeline.unet.dtype, pipeline.text_encoder.dtype, pipeline.text_encoder_2.dtype} == {torch.float16}
    check_alone(studio, params(num_inference_steps=2))


def test_latents_with_a_mean_and_a_deviation(tmp_path: Path) -> None:
    statistics = {"latents_mean": [0.5, -1.0, 0.2, 0.0], "latents_std": [2.0, 0.5, 1.0, 3.0]}
    check_alone(Studio.open(build_tiny_sdxl(tmp_path, **statistics), SDXL), params())


def test_previews(tiny_sdxl: Studio) -> None:
    engine = tiny_sdxl.engine(preview_every=2)
    add_row(engine, "row", params(num_inference_steps=6, height=96), tiny_sdxl.spec)
    shown = {event.step: event.preview for event in progress(run(engine), "row") if event.preview}
    assert {step: preview.size for step, preview in shown.items()} == {2: (32, 48), 4: (32, 48)}


def reason(folder: Path | None, family: str) -> str:
    """Why the model is unavailable."""
    with pytest.raises(ModelUnavailable) as caught:
        load_checkpoint(spec_of(folder, family=family), CPU)
    return str(caught.value)


def test_sdxl_taken_for_stable_diffusion(tiny_sdxl: Studio) -> None:
    assert 'this is an SDXL pipeline; set family = "sdxl"' in reason(tiny_sdxl.spec.folder, STABLE_DIFFUSION)


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_house"])
def test_stable_diffusion_taken_for_sdxl(request: pytest.FixtureRequest, model: str) -> None:
    studio: Studio = request.getfixturevalue(model)
    assert 'this is a Stable Diffusion pipeline; set family = "stable-diffusion"' in reason(studio.spec.folder, SDXL)


def test_a_refiner(tmp_path: Path) -> None:
    folder = build_tiny_sdxl(tmp_path, size_numbers=5)
    assert "is it a refiner?" in reason(folder, SDXL)
