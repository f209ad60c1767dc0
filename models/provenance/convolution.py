"""The error-correcting code of the watermark: a convolutional code of rate 1/2 and its soft-decision decoder.

The code has constraint length 7 and the generators 133 and 171 (octal), as in CCSDS 131.0-B; six zeros end each
message. The decoder is Viterbi's (1967), with all 64 states at once.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_MEMORY = 6
_STATES = 1 << _MEMORY
_GENERATORS = (0o133, 0o171)


def coded_length(bits: int) -> int:
    """How many signs a message of ``bits`` bits has in the code."""
    return len(_GENERATORS) * (bits + _MEMORY)


def encode(message: int, bits: int) -> NDArray[np.float32]:
    """``message``, a number of ``bits`` bits, as signs +1 and -1."""
    signs, state = [], 0
    for bit in [(message >> index) & 1 for index in reversed(range(bits))] + [0] * _MEMORY:
        register = bit << _MEMORY | state
        signs += [1 - 2 * ((register & generator).bit_count() & 1) for generator in _GENERATORS]
        state = register >> 1
    return np.array(signs, np.float32)


def decode(soft: NDArray[np.float32]) -> int:
    """The most likely message; ``soft`` has a value for each sign, near zero where it is uncertain."""
    previous, outputs = _trellis()
    scores = np.full(_STATES, -np.inf)
    scores[0] = 0.0
    choices = []
    for pair in soft.reshape(-1, len(_GENERATORS)):
        reached = scores[previous] + outputs @ pair
        choices.append(reached.argmax(axis=1))
        scores = reached.max(axis=1)
    message, state = 0, 0
    for index, choice in enumerate(reversed(choices)):
        if index >= _MEMORY:
            message |= (state >> (_MEMORY - 1)) << (index - _MEMORY)
        state = previous[state, choice[state]]
    return int(message)


@cache
def _trellis() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The two states before each state, shape (64, 2), and the signs of each step, shape (64, 2, 2)."""
    states = np.arange(_STATES)
    previous = np.stack([states << 1 & (_STATES - 1), (states << 1 | 1) & (_STATES - 1)], axis=1)
    registers = (states[:, None] >> (_MEMORY - 1)) << _MEMORY | previous
    parities = [[[(int(register) & g).bit_count() & 1 for g in _GENERATORS] for register in row] for row in registers]
    return previous, 1.0 - 2.0 * np.array(parities)
