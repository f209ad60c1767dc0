"""Parameters of OpenAI's API that Photogram does not support, and why."""

from __future__ import annotations

from collections.abc import Mapping

_NO_MOTION = "is not available: it is for GIF output, and images are png, jpeg or webp"
UNSUPPORTED: Mapping[str, str] = {
    "complexity": "is not available: diffusion models have no planning phase; quality sets the number of steps",
    "svg": "is not available: images are png, jpeg or webp",
    "frame_count": _NO_MOTION,
    "frame_duration_ms": _NO_MOTION,
    "markup": "is not available: send a mask that is transparent where the image is to change",
}
"""The reason by parameter."""
