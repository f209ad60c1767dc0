"""What is kept of each finished image so that it can be found: its vector, and a hash that survives small changes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL.Image import Image, Resampling

from models.eyes.encoders import WIDTH, Vectors, image_encoder

HASH_BITS = 64
_SIDE = 32
_LOW = 8
"""The hash compares this many of the lowest frequencies in each direction."""
_WRITTEN = np.dtype([("vector", "<f2", WIDTH), ("hash", ">u8")])


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Of one image."""

    vector: Vectors
    """float32 [WIDTH], of length 1, in half precision once it was written."""
    hash: int
    """As :func:`perceptual_hash`."""

    @classmethod
    def of(cls, image: Image) -> Self:
        """The fingerprint of ``image``, RGB."""
        return cls(image_encoder().encode(image), perceptual_hash(image))

    def to_text(self) -> str:
        """264 bytes as Base64."""
        return base64.b64encode(self.vector.astype("<f2").tobytes() + self.hash.to_bytes(8, "big")).decode()


def read_fingerprints(texts: Sequence[str]) -> tuple[Vectors, npt.NDArray[np.uint64]]:
    """The vectors [n, WIDTH] and hashes [n] of what :meth:`Fingerprint.to_text` wrote, all at once.

    Raises:
        ValueError: one of ``texts`` is nothing of that kind, for example of another version.
    """
    data = [base64.b64decode(text, validate=True) for text in texts]
    if any(len(each) != _WRITTEN.itemsize for each in data):
        raise ValueError(f"a fingerprint has {_WRITTEN.itemsize} bytes")
    read = np.frombuffer(b"".join(data), _WRITTEN)
    vectors = read["vector"].astype(np.float32)
    if not np.isfinite(vectors).all():
        raise ValueError("a fingerprint has numbers that are not finite")
    return vectors, read["hash"].astype(np.uint64)


def perceptual_hash(image: Image) -> int:
    """64 bits that change little when an image is scaled, compressed or a little brighter (pHash, Zauner 2010).

    The image is reduced to 32 x 32 grey levels. A bit says whether the cosine transform has more of one of the 64
    lowest frequencies than of the median one. Frequencies that an image has nothing of, such as all but one of a plain
    image, give 0.
    """
    grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Resampling.BOX), np.float64)
    transform = _cosines()[:_LOW]
    low = transform @ grey @ transform.T
    levels = np.where(np.abs(low) < 0.5, 0, low).ravel()
    return int.from_bytes(np.packbits(levels > np.median(levels[1:])).tobytes(), "big")


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """The matrix of the discrete cosine transform (DCT-II) of _SIDE values, orthonormal."""
    frequency, place = np.arange(_SIDE)[:, None], np.arange(_SIDE)[None] + 0.5
    matrix = np.cos(np.pi / _SIDE * frequency * place) * np.sqrt(2 / _SIDE)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix)
