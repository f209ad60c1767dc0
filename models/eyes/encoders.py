"""The built-in vision model without torch: images and texts become vectors of one space, by ONNX Runtime on the CPU.

The graphs have no weights of their own: those of the images are in ``checkpoint``, and those of the texts in the text
encoder of ``models/house``, which reads them (decision 0051). The vectors are those of the job kinds ``embed`` and
``similarity`` for ``photogram-eyes`` within 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.Image import Image, Resampling
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from models.catalog.catalog import HOUSE_FOLDER
from models.catalog.vision import EYES_FOLDER, PROJECTION, WEIGHTS
from models.media.pixel_budget import give_memory_back

IMAGE_GRAPH, TEXT_GRAPH = "image.onnx", "text.onnx"
INPUT_PX = 64
WIDTH = 128
"""The numbers of a vector."""
_TOKENS_MAX = 512
_ASPECT_MAX = 64
"""An image that is longer in relation to its width is cut first: in the size that the model sees it takes gigabytes."""
_WORDS = "embeddings.word_embeddings.weight"
_UNUSED = ("model.fc.", "encoder.pooler.")
"""Weights that no graph has: the classifier's, and BERT's for its first token."""

Vectors = npt.NDArray[np.float32]


class ImageEncoder:
    """Turns images into vectors; may be called from any thread."""

    def __init__(self) -> None:
        weights = {f"model.{name}": each for name, each in load_file(EYES_FOLDER / WEIGHTS).items()}
        self._session = _open(EYES_FOLDER / IMAGE_GRAPH, weights | {"image.weight": _projection("image")})

    def encode(self, image: Image) -> Vectors:
        """The vector of ``image``, RGB of any size: float32 [WIDTH], of length 1. It sees the middle square."""
        pixels = np.asarray(_reduced(image), np.float32).transpose(2, 0, 1)[None]
        vector: Vectors = self._session.run(None, {"pixels": pixels})[0][0]
        return vector


class TextEncoder:
    """Turns texts into vectors; may be called from any thread."""

    def __init__(self) -> None:
        weights = load_file(HOUSE_FOLDER / "text_encoder" / "model.safetensors")
        self._words = weights.pop(_WORDS)  # looked up here, in half precision, which saves half of the memory
        named = {f"encoder.{name}": each for name, each in weights.items()}
        self._session = _open(EYES_FOLDER / TEXT_GRAPH, named | {"text.weight": _projection("text")})
        self._tokenizer = Tokenizer.from_file(str(HOUSE_FOLDER / "tokenizer" / "tokenizer.json"))
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(_TOKENS_MAX)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of ``texts``: float32 [n, WIDTH], of length 1. Of each text, 510 tokens are read."""
        read = self._tokenizer.encode_batch(list(texts))
        words = self._words[[each.ids for each in read]].astype(np.float32)
        mask = np.array([each.attention_mask for each in read], np.int64)
        vectors: Vectors = self._session.run(None, {"words": words, "mask": mask})[0]
        return vectors


@cache
def image_encoder() -> ImageEncoder:
    """The encoder of this process, which the first call loads."""
    return ImageEncoder()


@cache
def text_encoder() -> TextEncoder:
    """The encoder of this process; the first call takes half a second, and 70 MB of memory."""
    encoder = TextEncoder()
    give_memory_back()  # what reading and optimising took, which is more than what stays
    return encoder


def _reduced(image: Image) -> Image:
    """The middle square of ``image`` in the size that the model sees, as timm's preprocessing makes it."""
    shorter = min(image.size)
    if max(image.size) > _ASPECT_MAX * shorter:
        image = image.crop(_middle(image.size, _ASPECT_MAX * shorter))
    width, height = (int(INPUT_PX * side / shorter) for side in image.size)
    resized = image.resize((width, height), Resampling.BICUBIC)
    left, top = round((width - INPUT_PX) / 2), round((height - INPUT_PX) / 2)
    return resized.crop((left, top, left + INPUT_PX, top + INPUT_PX))


def _middle(size: tuple[int, int], most: int) -> tuple[int, int, int, int]:
    """The box in the middle of an image of ``size`` whose sides are at most ``most``."""
    width, height = (min(side, most) for side in size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def _projection(name: str) -> npt.NDArray[np.float16]:
    return load_file(EYES_FOLDER / PROJECTION)[name]


def _open(graph: Path, weights: Mapping[str, npt.NDArray[np.generic]]) -> Any:
    """A session of ``graph`` with ``weights``, on one thread."""
    import onnxruntime  # memory that a process without search saves

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    halves = {name: each for name, each in weights.items() if each.dtype == np.float16}
    floats = {name: each for name, each in halves.items() if not name.startswith(_UNUSED)}
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(each.astype(np.float32)) for each in floats.values()]
    options.add_external_initializers([*floats], values)
    return onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])
