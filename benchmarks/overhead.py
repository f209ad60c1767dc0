"""What the service adds to a pipeline: one job on an idle system, seen by its client, against a direct call.

``python -m benchmarks.overhead`` starts the whole service and takes turns: one image through it, one by calling the
same pipeline in this process, both until the PNG's bytes are at hand.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import tempfile
import time
from io import BytesIO

import torch
from diffusers import DiffusionPipeline
from photogram import Photogram

from models.catalog.catalog import HOUSE_FOLDER, house_spec
from models.diffusion.sampling import build_scheduler
from service.short_lived import running_service

PROMPT = "a red apple"


def load_pipeline() -> DiffusionPipeline:
    """The built-in checkpoint as a script would load it, with the sampler that requests get by default."""
    pipeline = DiffusionPipeline.from_pretrained(HOUSE_FOLDER, dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = build_scheduler(house_spec().defaults.sampler, pipeline.scheduler.config, seed=0)
    return pipeline


def draw_directly(pipeline: DiffusionPipeline, seed: int) -> bytes:
    """One image as PNG bytes."""
    chosen = house_spec().defaults
    image = pipeline(
        PROMPT, num_inference_steps=chosen.num_inference_steps, guidance_scale=chosen.guidance_scale,
        width=chosen.width, height=chosen.height, generator=torch.Generator().manual_seed(seed),
    ).images[0]  # fmt: skip
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def measure(client: Photogram, repeats: int) -> dict[str, list[float]]:
    """Seconds of each image, the two ways by turns."""
    pipeline = load_pipeline()
    draw_directly(pipeline, 0)
    client.generate(PROMPT)
    seconds: dict[str, list[float]] = {"direct": [], "service": []}
    for seed in range(repeats):
        began_at = time.perf_counter()
        draw_directly(pipeline, seed)
        between = time.perf_counter()
        client.generate(PROMPT, seed=seed)
        seconds["direct"].append(between - began_at)
        seconds["service"].append(time.perf_counter() - between)
    return seconds


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    key = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as data, running_service(data, key) as url, Photogram(url, key) as client:
        seconds = measure(client, options.repeats)
    direct, service = (statistics.median(seconds[way]) for way in ("direct", "service"))
    print(json.dumps({"repeats": options.repeats, "direct_p50_s": round(direct, 4),
                      "service_p50_s": round(service, 4), "ratio": round(service / direct, 3)}))  # fmt: skip


if __name__ == "__main__":
    main()
