"""Normal noise, equal to torch's: ``torch.randn(..., generator=torch.Generator("cpu").manual_seed(seed))``.

The uniform numbers are those of MT19937, whose seed is the lowest 32 bits of the image's seed. torch makes normal
numbers of them by Box and Muller's transform: in groups of 16 (``normal_fill`` in ATen), or for fewer than 16 numbers
in pairs (``normal_distribution``).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_GROUP = 16
_HALF = _GROUP // 2


class Noise:
    """A stream of normal noise; the same seed gives the same stream."""

    def __init__(self, seed: int) -> None:
        self._uniform = np.random.RandomState(seed & 0xFFFFFFFF)
        self._left: float | None = None
        """The second number of a pair, of which the first was given."""

    def normal(self, shape: tuple[int, ...]) -> Floats:
        """The next noise of the stream, float32 of ``shape``; within 1e-6 of torch's."""
        size = math.prod(shape)
        filled = self._grouped(size) if size >= _GROUP else np.array([self._single() for _ in range(size)])
        return filled.astype(np.float32).reshape(shape)

    def _grouped(self, size: int) -> Floats:
        """Whole groups; if some numbers are left over, the last 16 are drawn anew."""
        uniform = self._floats(size)
        whole = size - size % _GROUP
        filled = np.concatenate([_transformed(uniform[:whole]), uniform[whole:]])
        if size % _GROUP:
            filled[-_GROUP:] = _transformed(self._floats(_GROUP))
        return filled

    def _single(self) -> float:
        if self._left is not None:
            left, self._left = self._left, None
            return left
        angle, share = 2 * math.pi * self._double(), self._double()
        radius = math.sqrt(-2 * math.log1p(-share))
        self._left = radius * math.sin(angle)
        return radius * math.cos(angle)

    def _floats(self, count: int) -> Floats:
        """Uniform numbers of 24 bits, from 0 to below 1."""
        return (self._words(count) & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24)

    def _double(self) -> float:
        """A uniform number of 53 bits, from 0 to below 1; the first word is the higher one."""
        high, low = (int(word) for word in self._words(2))
        return ((high << 32 | low) & (1 << 53) - 1) * 2.0**-53

    def _words(self, count: int) -> npt.NDArray[np.uint32]:
        return self._uniform.randint(0, 1 << 32, count, np.uint32)


def _transformed(uniform: Floats) -> Floats:
    """Normal numbers of as many uniform ones, a multiple of 16; each group has 8 radii and 8 angles."""
    groups = uniform.reshape(-1, _GROUP)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - groups[:, :_HALF]))
    angle = np.float32(2 * math.pi) * groups[:, _HALF:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
