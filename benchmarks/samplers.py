"""Holds every sampler, drawn in mixed company, against diffusers alone: ``python -m benchmarks.samplers --write``.

Each sampler draws with the built-in checkpoint, with several seeds and guidance scales. The images of all samplers
are in the batch together, eight at a time: as one is done, the next begins, whatever steps the others are at. Each is
then compared with the image that the plain pipeline draws alone; both are decoded alike and not rounded to bytes.
``--write`` puts the tables into docs/samplers.md.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch

from models.catalog.catalog import Catalog, house_spec
from models.catalog.families import TXT2IMG
from models.catalog.samplers import LISTED, REFUSED, Sampler
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.denoising_work import DenoisingToImage
from models.diffusion.plans import Tools, plan
from models.diffusion.sampling import build_scheduler
from models.diffusion.work import LoadRequest, Task
from models.errors import JobFailure
from models.jobs.params import DrawParams

PAGE = Path(__file__).parent.parent / "docs" / "samplers.md"
BEGIN, END = "<!-- benchmarks.samplers -->\n", "<!-- end -->\n"
CPU = torch.device("cpu")
ROWS = 8
COUNTED_STEPS = 20
PROMPTS = ("a red apple", "a cat", "a sailing boat", "a house", "a blue car")
GUIDANCE = (3.0, 1.0, 7.5)
LEVELS_PER_UNIT = 127.5
"""Decoded pixels are -1..1, bytes 0..255."""


def all_params(samplers: Sequence[str], steps: int, seeds: int) -> list[DrawParams]:
    """All images; those that are neighbours differ in sampler, prompt, guidance, seed and the number of steps."""
    spec = house_spec()
    side_px = spec.defaults.width
    return [
        DrawParams(
            prompt=PROMPTS[(number + seed) % len(PROMPTS)],
            negative_prompt="",
            model=spec.name,
            sampler=sampler,
            num_inference_steps=steps + number % 3,
            guidance_scale=GUIDANCE[(number + seed) % len(GUIDANCE)],
            seed=1000 * seed + number,
            width=side_px,
            height=side_px,
        )
        for seed in range(seeds)
        for number, sampler in enumerate(samplers)
    ]


def prepare(checkpoint: Checkpoint, params: DrawParams) -> DenoisingToImage:
    """Prepare an image up to its first step, as the engine does."""
    task = Task(kind=TXT2IMG, params=params, catalog=Catalog({}), images={})
    generator = plan(task, Tools(lambda spec: checkpoint, CPU))
    request = next(generator)
    while isinstance(request, LoadRequest):
        request = generator.send(request.load())
    assert isinstance(request, DenoisingToImage)
    return request


@torch.inference_mode()
def draw_together(checkpoint: Checkpoint, wanted: Sequence[DrawParams]) -> Iterator[tuple[DrawParams, torch.Tensor]]:
    """Each image's last latents, as they get done in company."""
    waiting, drawn = list(wanted), list[tuple[DrawParams, DenoisingToImage]]()
    while waiting or drawn:
        while waiting and len(drawn) < ROWS:
            drawn.append((waiting[0], prepare(checkpoint, waiting.pop(0))))
        batch = [each for _, each in drawn]
        outputs = [_result(each) for each in batch[0].forward(batch)]
        for failure in batch[0].advance(batch, outputs):
            if failure is not None:
                raise failure
        yield from ((params, each.latents) for params, each in drawn if each.step == each.steps)
        drawn = [(params, each) for params, each in drawn if each.step < each.steps]


def _result(output: torch.Tensor | JobFailure) -> torch.Tensor:
    if isinstance(output, JobFailure):
        raise output
    return output


def draw_alone(plain: Any, params: DrawParams, config: Any) -> torch.Tensor:
    """The last latents of the plain pipeline, called for this image only."""
    plain.scheduler = build_scheduler(params.sampler, config, params.seed)
    latents: torch.Tensor = plain(
        params.prompt,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
        width=params.width,
        height=params.height,
        generator=torch.Generator().manual_seed(params.seed),
        output_type="latent",
    ).images
    return latents


def measure(samplers: Sequence[str], steps: int, seeds: int) -> dict[str, float]:
    """By sampler: the worst difference of any channel of any pixel, of 255."""
    checkpoint = load_checkpoint(house_spec(), CPU)
    folder = house_spec().folder
    plain = diffusers.StableDiffusionPipeline.from_pretrained(folder, dtype=checkpoint.dtype, safety_checker=None)
    plain.set_progress_bar_config(disable=True)
    worst = dict.fromkeys(samplers, 0.0)

    @torch.inference_mode()
    def decode(params: DrawParams, latents: torch.Tensor) -> torch.Tensor:
        return checkpoint.family.decode(checkpoint.pipeline.vae, latents)

    for params, latents in draw_together(checkpoint, all_params(samplers, steps, seeds)):
        alone = draw_alone(plain, params, checkpoint.pipeline.scheduler.config)
        off_by = float((decode(params, latents) - decode(params, alone)).abs().max()) * LEVELS_PER_UNIT
        worst[params.sampler] = max(worst[params.sampler], off_by)
        print(f"{params.sampler}: {off_by:.5f}", flush=True)
    return worst


def row(sampler: Sampler, off_by: float) -> str:
    """One sampler in the table."""
    scheduler = build_scheduler(sampler.name, load_config(), seed=0)
    scheduler.set_timesteps(COUNTED_STEPS)
    starts = "yes" if sampler.img2img_problem is None else "no"
    origin = "" if hasattr(diffusers, sampler.scheduler) else " (own)"
    return f"| {sampler.name} | `{sampler.scheduler}`{origin} | {len(scheduler.timesteps)} | {starts} | {off_by:.4f} |"


def load_config() -> Any:
    """The built-in checkpoint's scheduler configuration."""
    return diffusers.DDIMScheduler.from_pretrained(house_spec().folder, subfolder="scheduler").config


def recorded(page: str) -> dict[str, float]:
    """By sampler: the worst difference that the ``page`` has."""
    rows = re.findall(r"^\| ([^|]+) \| `\w+`[^|]* \|[^|]+\|[^|]+\| ([\d.]+) \|$", page, re.MULTILINE)
    return {name: float(off_by) for name, off_by in rows}


def reasons(problems: Mapping[str, str]) -> Iterator[str]:
    """One row for each reason, with all the names it holds for."""
    for reason in dict.fromkeys(problems.values()):
        names = ", ".join(name for name, problem in problems.items() if problem == reason)
        yield f"| {names} | {reason} |"


def tables(worst: dict[str, float]) -> str:
    """All samplers, those that cannot start from an image, and those that are refused."""
    starting = {sampler.name: sampler.img2img_problem for sampler in LISTED.values() if sampler.img2img_problem}
    return "\n".join([
        f"| sampler | noise scheduler | model calls for {COUNTED_STEPS} steps | img2img | worst difference |",
        "| --- | --- | --- | --- | --- |",
        *(row(sampler, worst[sampler.name]) for sampler in LISTED.values()),
        "",
        "| without img2img | because |",
        "| --- | --- |",
        *reasons(starting),
        "",
        "| refused | because |",
        "| --- | --- |",
        *reasons(REFUSED),
        "",
    ])  # fmt: skip


def main() -> None:
    """Measure, print, and perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("samplers", nargs="*", help="by default all that are listed; the page keeps what others had")
    parser.add_argument("--steps", type=int, default=10, help="of most images; some take one or two more")
    parser.add_argument("--seeds", type=int, default=12, help="images with each sampler")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/samplers.md")
    options = parser.parse_args()
    measured = measure(options.samplers or list(LISTED), options.steps, options.seeds)
    found = tables(recorded(PAGE.read_text(encoding="utf-8")) | measured)
    print(found)
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
        PAGE.write_text(f"{head}\n{found}\n{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
