"""An imperceptible watermark: a 32-bit id in the pixels of an image, which survives ordinary changes of the file.

The method is spread spectrum (Cox et al., 1997) with informed embedding (Miller, Doerr and Cox, 2004). The image is
reduced to an area of 256 x 256 pixels, whatever its size, so that enlarging and reducing do not matter. A pattern of
64 x 64 pixels is repeated there: the sum of one carrier for each sign of the coded message, and of one carrier that
shows where the pattern begins. Carriers are noise of wavelengths that JPEG keeps. The message is the id with a
checksum, in an error-correcting code. Embedding measures what a reader will find, and adds what is missing.

The carriers are public, so that every Photogram reads the marks of all others; who knows them can also remove a mark.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.provenance import convolution

ID_BITS = 32
CONFIDENCE_MIN = 0.72
"""Pixels without a mark agree with the best of all messages about as well as 0.68 (a bound for random signs)."""

_CHECK_BITS = 16
_MESSAGE_BITS = ID_BITS + _CHECK_BITS
_SEED = b"photogram watermark 1"
_SIDE_PX = 256
"""The side of a square with the area of the reduced image; all lengths below are in pixels of that image."""
_TILE_PX = 64
_WAVELENGTHS_PX = (5.0, 14.0)
_SYNC_WEIGHT = 5.0
"""How much stronger the carrier that shows the place is than one of the message."""
_TARGET = 1.2
"""What a reader is to measure for each carrier of the message; larger is more robust and more visible."""
_ROUNDS = 4
_RMS_MAX = 3.5
"""The largest root mean square of the change, in levels of 255."""
_BLUR_PX = 5.0
"""The standard deviation of the blur whose difference from the image holds all carriers."""
_WINDOW_PX = 13
_FLOOR = 2.0
"""What is added to the local contrast before the image is divided by it, in levels, so that noise stays small."""
_RATIOS = np.arange(1.0, 0.55, -0.004)
"""The sizes of a cropped image, relative to the whole one, that are tried."""
_PLACES = 4
"""How many of these sizes, the most likely ones, are decoded."""
_STRIP_PX = 1 << 20

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Watermark:
    """A watermark that was read."""

    mark: int
    """The id, 32 bits."""
    confidence: float
    """How well the pixels agree with the id, at least :data:`CONFIDENCE_MIN` and at most 1."""


def embed(image: Image.Image, mark: int) -> Image.Image:
    """A copy of the RGB image ``image`` that carries ``mark``, a number of 32 bits; its size in memory is that of one
    image."""
    change = _change(_reduced(image), mark)
    marked, rows = image.copy(), max(1, _STRIP_PX // image.width)
    for top in range(0, image.height, rows):
        box = 0, top, image.width, min(top + rows, image.height)
        levels = np.asarray(image.crop(box), np.int16) + _enlarged(change, image.size, box)[..., None]
        marked.paste(Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)), box)
    return marked


def read(image: Image.Image) -> Watermark | None:
    """The watermark of ``image``, also if the image was enlarged, reduced or cropped; ``None`` if none is found."""
    return next((found for tile in _tiles(_reduced(image)) if (found := _decoded(tile))), None)


def _reduced(image: Image.Image) -> _Floats:
    """The grey levels of the reduced image."""
    factor = _SIDE_PX / (image.width * image.height) ** 0.5
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    small = image.resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC)
    return np.asarray(small.convert("L"), np.float32)


def _change(reduced: _Floats, mark: int) -> _Floats:
    """What is added to the reduced image; more where its local contrast hides it."""
    signs = convolution.encode(mark << _CHECK_BITS | _checksum(mark), _MESSAGE_BITS)
    wanted = _TARGET * np.concatenate([[_SYNC_WEIGHT], signs]).astype(np.float32)
    amplitude = np.clip(0.7 + 0.16 * cv2.blur(_contrast(_detail(reduced)), (9, 9)), 1.0, 5.0)
    weights, change = wanted.copy(), np.zeros_like(reduced)
    for _ in range(_ROUNDS):
        change = amplitude * _repeated(np.tensordot(weights, _carriers(), 1).astype(np.float32), reduced.shape)
        change *= min(1.0, _RMS_MAX / max(1e-6, float(np.sqrt(np.mean(change**2)))))
        marked = np.clip(np.rint(reduced + change), 0, 255)
        missing = np.maximum(0, np.abs(wanted) - _measured(_tile(marked)) * np.sign(wanted))
        weights += np.sign(wanted) * missing
    return change


def _enlarged(change: _Floats, size: tuple[int, int], box: tuple[int, int, int, int]) -> NDArray[np.int16]:
    """The part ``box`` of ``change`` when that is enlarged to ``size``, rounded."""
    across, down = change.shape[1] / size[0], change.shape[0] / size[1]
    left, top = 0.5 * across - 0.5, (box[1] + 0.5) * down - 0.5
    place = np.array([[across, 0, left], [0, down, top]], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    part = cv2.warpAffine(change, place, (size[0], box[3] - box[1]), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    levels: NDArray[np.int16] = np.rint(part).astype(np.int16)
    return levels


def _tiles(reduced: _Floats) -> Iterator[_Floats]:
    """The tiles that may hold a message, the most likely ones first: as it is, and as if it were cropped."""
    yield _tile(reduced)
    height, width = reduced.shape
    found = []
    for ratio in _RATIOS:
        size = max(1, round(width * ratio)), max(1, round(height * ratio))
        tile = _tile(cv2.resize(reduced, size, interpolation=cv2.INTER_AREA))
        matches = np.fft.irfft2(np.fft.rfft2(tile) * _sync_spectrum(), tile.shape)
        down, across = divmod(int(matches.argmax()), _TILE_PX)
        found.append((float(matches.max() / (matches.std() + 1e-9)), np.roll(tile, (-down, -across), (0, 1))))
    found.sort(key=lambda each: -each[0])
    yield from (tile for _, tile in found[:_PLACES])


def _tile(reduced: _Floats) -> _Floats:
    """The mean of all repetitions of the pattern, each pixel relative to the contrast around it."""
    detail = _detail(reduced)
    even = detail / (_contrast(detail) + _FLOOR)
    height, width = reduced.shape
    rows, columns = -(-height // _TILE_PX), -(-width // _TILE_PX)
    padded = np.zeros((rows * _TILE_PX, columns * _TILE_PX), np.float32)
    padded[:height, :width] = even
    total: _Floats = padded.reshape(rows, _TILE_PX, columns, _TILE_PX).sum((0, 2))
    return total / np.float32(height * width / _TILE_PX**2)


def _detail(reduced: _Floats) -> _Floats:
    detail: _Floats = reduced - cv2.GaussianBlur(reduced, (0, 0), _BLUR_PX)
    return detail


def _contrast(detail: _Floats) -> _Floats:
    """The local standard deviation."""
    contrast: _Floats = np.sqrt(np.maximum(0, cv2.blur(detail * detail, (_WINDOW_PX, _WINDOW_PX))))
    return contrast


def _measured(tile: _Floats) -> _Floats:
    """How strong each carrier is in ``tile``."""
    return np.tensordot(_carriers(), tile, 2)


def _decoded(tile: _Floats) -> Watermark | None:
    soft = _measured(tile)[1:]
    message = convolution.decode(soft)
    mark, check = message >> _CHECK_BITS, message & ((1 << _CHECK_BITS) - 1)
    length = float(np.linalg.norm(soft)) * len(soft) ** 0.5
    confidence = float(convolution.encode(message, _MESSAGE_BITS) @ soft) / (length or 1.0)
    return Watermark(mark, confidence) if check == _checksum(mark) and confidence >= CONFIDENCE_MIN else None


def _checksum(mark: int) -> int:
    return binascii.crc_hqx(mark.to_bytes(ID_BITS // 8, "big"), 0xFFFF)


def _repeated(tile: _Floats, shape: tuple[int, ...]) -> _Floats:
    height, width = shape
    return np.tile(tile, (-(-height // _TILE_PX), -(-width // _TILE_PX)))[:height, :width]


@cache
def _carriers() -> _Floats:
    """The carriers, shape (1 + signs, 64, 64): orthonormal, each of noise within the wavelengths.

    Noise from a hash function and a symmetric orthogonalisation give the same carriers on every machine.
    """
    count = 1 + convolution.coded_length(_MESSAGE_BITS)
    noise = np.frombuffer(hashlib.shake_256(_SEED).digest(count * _TILE_PX**2 // 8), np.uint8)
    white = 1.0 - 2.0 * np.unpackbits(noise).reshape(count, _TILE_PX, _TILE_PX)
    frequency = np.fft.fftfreq(_TILE_PX)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    shortest, longest = _WAVELENGTHS_PX
    band = (radius >= 1 / longest) & (radius <= 1 / shortest)
    flat = np.fft.ifft2(np.fft.fft2(white) * band).real.reshape(count, -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    carriers: _Floats = ((vectors / np.sqrt(values)) @ vectors.T @ flat).reshape(white.shape).astype(np.float32)
    return carriers


@cache
def _sync_spectrum() -> NDArray[np.complex64]:
    spectrum: NDArray[np.complex64] = np.conj(np.fft.rfft2(_carriers()[0]))
    return spectrum
