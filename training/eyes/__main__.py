"""Make the built-in vision model: ``python -m training.eyes --icons ICONS --work build/eyes``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from models.catalog.concepts import load_concepts
from models.catalog.vision import PROJECTION, VisionSpec
from models.vision.model import load_vision_model
from models.vision.texts import load_text_reader
from training.eyes import captions, renderings
from training.eyes.export import export
from training.eyes.graphs import write_graphs
from training.eyes.learning import Learning
from training.eyes.measuring import measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.eyes", description=__doc__)
    parser.add_argument("--icons", type=Path, required=True, help="folder with the emoji sets, as npm installs them")
    parser.add_argument("--work", type=Path, default=Path("build/eyes"), help="folder for the results of the stages")
    parser.add_argument("--samples", type=int, default=400_000, help="scenes that are learnt from, in total")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    concepts = load_concepts()
    rendered = renderings.prepare(options.icons, concepts, options.work)
    written = captions.prepare(concepts, options.work)
    learning = Learning(rendered.of_sets(renderings.TRAINED), written, len(concepts), options.work)
    learning.run(options.samples)
    place = options.work / "checkpoint"
    export(learning.averaged(), concepts, place)
    spec = VisionSpec(name="eyes", folder=place)
    model = load_vision_model(spec, torch.device("cpu"))
    reader = load_text_reader(spec, place / PROJECTION)
    write_graphs(model, reader, place)
    for each in measure(model, reader, rendered, concepts):
        print(f"{each.shown:48} {each.images:6} named {each.named:6.1%}  among five {each.among_five:6.1%}  "
              f"matched {each.matched:6.1%}")  # fmt: skip


if __name__ == "__main__":
    main()
