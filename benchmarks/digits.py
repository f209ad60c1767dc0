"""How well a model that is trained from nothing knows scikit-learn's handwritten digits.

``python -m benchmarks.digits scikit_learn.whl`` takes the 1,797 images of 8 x 8 pixels from a wheel of scikit-learn
(``pip download --no-deps scikit-learn==1.7.2``), which need not be installed, finetunes all weights of a small model of
timm whose weights are random, as ``photogram vision finetune --full`` does, and prints the accuracy on the held-out
fifth of the images. The digits are those of the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin
and C. Kaynak, 1998, UCI Machine Learning Repository, CC BY 4.0).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from models.catalog.vision import CONFIG, WEIGHTS, VisionSpec
from models.vision.finetuning.finetune import Finetuned, finetune
from models.vision.finetuning.options import Options
from models.vision.finetuning.training import Epoch
from models.vision.timm_import import import_timm

MEMBER = "sklearn/datasets/data/digits.csv.gz"
ARCHITECTURE = "test_efficientnet"
SIDE_PX = 32
_BRIGHTEST = 16


def write_images(wheel: Path, folder: Path) -> int:
    """Write each digit of the wheel, enlarged four times, into the folder of its label; returns how many there are."""
    rows = list(csv.reader(io.StringIO(gzip.decompress(zipfile.ZipFile(wheel).read(MEMBER)).decode())))
    for number, row in enumerate(rows):
        *pixels, label = (int(float(value)) for value in row)
        place = folder / str(label) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        bright = np.array(pixels).reshape(8, 8) * 255 // _BRIGHTEST
        image = Image.fromarray(bright.astype(np.uint8)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
        image.save(place)
    return len(rows)


def write_model(folder: Path) -> VisionSpec:
    """Write a model with random weights for images of :data:`SIDE_PX`."""
    torch.manual_seed(0)
    model = import_timm().create_model(ARCHITECTURE)
    folder.mkdir()
    save_file(model.state_dict(), folder / WEIGHTS)
    preprocessing = {
        **{key: value for key, value in model.pretrained_cfg.items() if value is not None},
        "input_size": [3, SIDE_PX, SIDE_PX],
        "crop_pct": 1.0,
    }
    described = {"architecture": ARCHITECTURE, "num_classes": model.num_classes, "pretrained_cfg": preprocessing}
    (folder / CONFIG).write_text(json.dumps(described))
    return VisionSpec(name="random", folder=folder, licence="none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="a wheel of scikit-learn")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        count = write_images(options.wheel, root / "digits")
        chosen = Options(
            is_full=True, epochs=options.epochs, patience=options.epochs, learning_rate=1e-2, flip=False, min_scale=0.8
        )
        began_at = time.monotonic()
        for event in finetune(root / "digits", write_model(root / "random"), root / "trained", chosen):
            if isinstance(event, Epoch):
                print(f"epoch {event.number}: {event.scores['accuracy']:.4f}", flush=True)
            elif isinstance(event, Finetuned):
                took_s = time.monotonic() - began_at
                print(f"{count} images, held-out accuracy {event.epoch.scores['accuracy']:.4f}, {took_s:.0f} s")


if __name__ == "__main__":
    main()
