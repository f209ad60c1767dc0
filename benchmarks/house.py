"""How much of what it was taught the built-in checkpoint draws so that the built-in vision model recognises it.

``python -m benchmarks.house`` prints the share of the concepts that are named rightly, for each seed, and the concepts
that no seed got right. 304 images take several minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL.Image import Image
from torch.nn.functional import normalize

from models.catalog.catalog import HOUSE_FOLDER, house_spec
from models.catalog.concepts import load_concepts, with_article
from models.catalog.vision import eyes_spec
from models.vision.model import EMBEDDING, LOGITS, VisionModel, load_vision_model
from models.vision.texts import TextReader, load_text_reader

BATCH = 8
FIVE = 5


@dataclass(frozen=True)
class Seen:
    """What the vision model made of one drawing."""

    label: str
    is_named: bool
    is_among_five: bool
    is_matched: bool
    """Whether the prompt is the most similar one of all prompts."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.house", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--concepts", type=int, help="only so many concepts, evenly chosen (default: all)")
    parser.add_argument("--save-to", type=Path, help="a folder for the drawings")
    options = parser.parse_args()
    words = [concept.words[0] for concept in load_concepts()]
    chosen = words[:: max(1, len(words) // options.concepts)] if options.concepts else words
    pipeline, model = load_house(), load_vision_model(eyes_spec(), torch.device("cpu"))
    projection = model.spec.projection
    assert projection is not None
    reader = load_text_reader(model.spec, projection)
    drawn: list[list[Seen]] = []
    for seed in options.seeds:
        began = time.monotonic()
        images = draw(pipeline, chosen, seed)
        if options.save_to is not None:
            save(images, chosen, options.save_to / str(seed))
        drawn.append(look(model, reader, images, chosen))
        print(f"seed {seed}: {summary(drawn[-1])}; {time.monotonic() - began:.0f} s", flush=True)
    never = [word for word, *seen in zip(chosen, *drawn, strict=True) if not any(each.is_named for each in seen)]
    print(f"named with no seed ({len(never)}): {', '.join(never)}")


def load_house() -> StableDiffusionPipeline:
    """The built-in checkpoint as diffusers' own pipeline, with its default sampler."""
    pipeline = StableDiffusionPipeline.from_pretrained(HOUSE_FOLDER, dtype=torch.float32)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: StableDiffusionPipeline, words: Sequence[str], seed: int) -> list[Image]:
    """One image of each of ``words``, with the defaults of the checkpoint."""
    defaults, images = house_spec().defaults, []
    for start in range(0, len(words), BATCH):
        prompts = [with_article(word) for word in words[start : start + BATCH]]
        images += pipeline(
            prompts, width=defaults.width, height=defaults.height, guidance_scale=defaults.guidance_scale,
            num_inference_steps=defaults.num_inference_steps,
            generator=[torch.Generator().manual_seed(seed) for _ in prompts],
        ).images  # fmt: skip
    return images


def save(images: Sequence[Image], words: Sequence[str], folder: Path) -> None:
    """Write each drawing as a file with the name of its concept."""
    folder.mkdir(parents=True, exist_ok=True)
    for image, word in zip(images, words, strict=True):
        image.save(folder / f"{word}.png")


def look(model: VisionModel, reader: TextReader, images: Sequence[Image], words: Sequence[str]) -> list[Seen]:
    """What ``model`` makes of each of ``images``, which shall show ``words``."""
    texts, found = reader.read([with_article(word) for word in words]), []
    for place, (image, word) in enumerate(zip(images, words, strict=True)):
        inputs = model.prepare([image])
        labels = [model.labels[index].text for index in model.see(inputs, LOGITS)[0].topk(FIVE)[1].tolist()]
        likeness = texts @ normalize(model.see(inputs, EMBEDDING), dim=-1)[0]
        found.append(Seen(labels[0], labels[0] == word, word in labels, int(likeness.argmax()) == place))
    return found


def summary(seen: Sequence[Seen]) -> str:
    """The shares of ``seen``, in words."""
    shares = {name: sum(getattr(each, f"is_{name}") for each in seen) / len(seen)
              for name in ("named", "among_five", "matched")}  # fmt: skip
    return ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in shares.items())


if __name__ == "__main__":
    main()
