"""What diffusers itself draws with the families beside Stable Diffusion, one call for one image, to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image

from models.catalog.families import FLUX, IMG2IMG, INPAINT, PIXART_SIGMA, SD3, SDXL_REFINER, STABLE_DIFFUSION, TXT2IMG
from models.catalog.samplers import FLOW_MATCHING, SAMPLERS
from models.diffusion.checkpoint_loading import load_checkpoint
from models.jobs.params import DrawParams
from tests.models.diffusion.rig import CPU, Studio, add_row, images, pixel_difference, run, spec_of
from tests.models.diffusion.test_law_images import IMAGES, mask, photo

PIPELINES: dict[tuple[str, str], Any] = {
    (FLUX, TXT2IMG): diffusers.FluxPipeline,
    (FLUX, IMG2IMG): diffusers.FluxImg2ImgPipeline,
    (FLUX, INPAINT): diffusers.FluxInpaintPipeline,
    (SD3, TXT2IMG): diffusers.StableDiffusion3Pipeline,
    (SD3, IMG2IMG): diffusers.StableDiffusion3Img2ImgPipeline,
    (SD3, INPAINT): diffusers.StableDiffusion3InpaintPipeline,
    (PIXART_SIGMA, TXT2IMG): diffusers.PixArtSigmaPipeline,
    (SDXL_REFINER, IMG2IMG): diffusers.StableDiffusionXLImg2ImgPipeline,
    (SDXL_REFINER, INPAINT): diffusers.StableDiffusionXLInpaintPipeline,
    (STABLE_DIFFUSION, INPAINT): diffusers.StableDiffusionInpaintPipeline,
}
SETTINGS = ("requires_aesthetics_score", "force_zeros_for_empty_prompt")
"""What a pipeline is told beside its parts."""
Rows = dict[str, tuple[str, DrawParams]]
"""Kind and parameters by the row's name."""


def open_studio(folder: Path, family: str, **absent: None) -> Studio:
    """The tiny model, for engines and for the plain pipelines, whose parts are not shared, without ``absent`` ones."""
    spec = spec_of(folder, family=family)
    plain = diffusers.DiffusionPipeline.from_pretrained(folder, **absent, **_absent(family))
    return Studio(spec, load_checkpoint(spec, CPU), plain)


def _absent(family: str) -> dict[str, Any]:
    return {"safety_checker": None, "requires_safety_checker": False} if family == STABLE_DIFFUSION else {}


def scheduler(studio: Studio, wanted: DrawParams) -> Any:
    """A fresh one for the sampler."""
    own, sampler = studio.checkpoint.pipeline.scheduler.config, SAMPLERS[wanted.sampler]
    if SAMPLERS[wanted.sampler].serves(FLOW_MATCHING) and "beta_schedule" not in own:
        return getattr(diffusers, str(sampler.flow_scheduler)).from_config(own)
    return studio.scheduler(wanted)


def pipeline(studio: Studio, kind: str, wanted: DrawParams) -> Any:
    """The pipeline for ``kind``, on the plain one's weights."""
    plain: Any = studio.plain
    own = {name: plain.config[name] for name in SETTINGS if name in plain.config}
    made = PIPELINES[studio.spec.family, kind](
        **{**plain.components, **_absent(studio.spec.family), **own, "scheduler": scheduler(studio, wanted)}
    )
    made.set_progress_bar_config(disable=True)
    return made


def call(studio: Studio, kind: str, wanted: DrawParams, **further: Any) -> Any:
    """What the plain pipeline for ``kind`` gives, images or latents."""
    options: dict[str, Any] = {
        "prompt": wanted.prompt, "guidance_scale": wanted.guidance_scale,
        "num_inference_steps": wanted.num_inference_steps, "generator": torch.Generator().manual_seed(wanted.seed),
    }  # fmt: skip
    if studio.spec.family == FLUX:
        is_dev = studio.checkpoint.pipeline.transformer.config.guidance_embeds
        options["max_sequence_length"] = 512 if is_dev else 256
    else:
        options["negative_prompt"] = wanted.negative_prompt or None
    if studio.spec.family == PIXART_SIGMA:
        options |= {"negative_prompt": wanted.negative_prompt, "clean_caption": False, "use_resolution_binning": False}
    if kind != TXT2IMG:
        options |= {"image": photo(), "strength": wanted.strength}
    if kind == INPAINT:
        options["mask_image"] = mask()
    if (studio.spec.family, kind) != (SDXL_REFINER, IMG2IMG):
        options |= {"width": wanted.width, "height": wanted.height}
    return pipeline(studio, kind, wanted)(**options | further).images


def draw(studio: Studio, kind: str, wanted: DrawParams) -> Image.Image:
    """The plain pipeline's image, and, for inpaint, with the rest of the photo as it was."""
    if kind != INPAINT:
        image: Image.Image = call(studio, kind, wanted)[0]
        return image
    if studio.spec.family == SD3:  # diffusers 0.42 forgets the VAE's shift when it decodes
        image = decoded(studio, call(studio, kind, wanted, output_type="latent"))
    else:
        image = call(studio, kind, wanted)[0]
    return Image.composite(image, photo(), mask())


@torch.inference_mode()
def decoded(studio: Studio, latents: torch.Tensor) -> Image.Image:
    """The image that ``latents`` are, as Stable Diffusion 3's other pipelines decode it."""
    plain: Any = studio.plain
    config = plain.vae.config
    pixels = plain.vae.decode(latents / config.scaling_factor + config.shift_factor, return_dict=False)[0]
    image: Image.Image = plain.image_processor.postprocess(pixels)[0]
    return image


def check(studio: Studio, rows: Rows, late: int = 0) -> None:
    """Draw all rows together, those after the first ``late`` steps later; hold each against its plain pipeline."""
    engine = studio.engine(rows=16)
    events = []
    for row_id, (kind, wanted) in rows.items():
        add_row(engine, row_id, wanted, studio.spec, kind, IMAGES)
        events += [event for _ in range(late) for event in engine.step()]
    events += run(engine)
    drawn = images(events)
    assert drawn.keys() == rows.keys(), events
    worst = {
        row_id: pixel_difference(draw(studio, kind, wanted), drawn[row_id]) for row_id, (kind, wanted) in rows.items()
    }
    assert {row_id: difference for row_id, difference in worst.items() if difference > 1} == {}
