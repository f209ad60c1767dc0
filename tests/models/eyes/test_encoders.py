"""The built-in vision model without torch gives the vectors that it gives on torch, and needs no torch."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from models.catalog.vision import EYES_FOLDER, PROJECTION, eyes_spec
from models.eyes.encoders import IMAGE_GRAPH, INPUT_PX, TEXT_GRAPH, WIDTH, image_encoder, text_encoder
from models.vision.model import EMBEDDING, VisionModel, load_vision_model
from models.vision.texts import TextReader, load_text_reader
from training.eyes.graphs import write_graphs

SIZES = [(64, 64), (512, 512), (300, 411), (97, 65), (1000, 30), (3, 2), (1, 1)]
TEXTS = ["a red apple", "", "an UPPERCASE word, and 'quotes'", "żółw 🐢 日本", "\x00\u202e", "many words " * 400]


@pytest.fixture(scope="module")
def model() -> VisionModel:
    return load_vision_model(eyes_spec(), torch.device("cpu"))


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return load_text_reader(eyes_spec(), EYES_FOLDER / PROJECTION)


def noise(size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(size[0]).integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size)


@pytest.mark.parametrize("size", SIZES)
def test_images_have_the_vectors_of_torch(model: VisionModel, size: tuple[int, int]) -> None:
    image = noise(size)
    expected = normalize(model.see(model.prepare([image]), EMBEDDING), dim=-1)[0].numpy()
    found = image_encoder().encode(image)
    assert found.shape == (WIDTH,)
    assert np.abs(found - expected).max() < 1e-5


def test_texts_have_the_vectors_of_torch(reader: TextReader) -> None:
    found = text_encoder().encode(TEXTS)
    assert found.shape == (len(TEXTS), WIDTH)
    short = [text for text in TEXTS if len(text) < 500]
    for text, vector in zip(TEXTS, found, strict=True):
        if text in short:
            assert np.abs(vector - reader.read([text])[0].numpy()).max() < 1e-5, text
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_encoders_may_be_called_from_many_threads() -> None:
    images = [noise(size) for size in SIZES]
    expected = [image_encoder().encode(image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(image_encoder().encode, images * 4))
    assert all(np.array_equal(one, other) for one, other in zip(found, expected * 4, strict=True))


def test_they_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; from PIL import Image; "
        "from models.eyes.encoders import image_encoder, text_encoder; "
        "print(image_encoder().encode(Image.new('RGB', (9, 9))).shape, text_encoder().encode(['a']).shape)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["(128,)", "(1,", "128)"]


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_the_graphs_are_those_that_training_writes(model: VisionModel, reader: TextReader, tmp_path: Path) -> None:
    write_graphs(model, reader, tmp_path)
    for name in (IMAGE_GRAPH, TEXT_GRAPH):
        assert (tmp_path / name).read_bytes() == (EYES_FOLDER / name).read_bytes()
    assert model.config["input_size"] == (3, INPUT_PX, INPUT_PX)


def test_a_very_long_image_is_seen_by_its_middle() -> None:
    image = Image.new("RGB", (40_000_000, 1))
    middle = (20_000_000 - 32, 0, 20_000_000 + 32, 1)
    image.paste(noise((64, 1)), middle)
    seen, expected = (image_encoder().encode(each) for each in (image, image.crop(middle)))
    np.testing.assert_allclose(seen, expected, atol=1e-6)
