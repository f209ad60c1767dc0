"""What is kept of the images of a job, so that they can be found by what they show."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from PIL.Image import Image

log = logging.getLogger(__name__)

Fingerprints = Callable[[Sequence[Image]], Sequence[str]]
"""A text for each of the images, or none at all; may be called from any thread."""


def none_of(images: Sequence[Image]) -> Sequence[str]:
    """No texts: the images cannot be found."""
    return ()


def by_eyes(images: Sequence[Image]) -> Sequence[str]:
    """The fingerprints of the built-in vision model, which the first call loads. No job fails for want of them."""
    from models.eyes.fingerprints import Fingerprint  # memory that a worker without search saves

    try:
        return [Fingerprint.of(image).to_text() for image in images]
    except Exception:
        log.exception("the images of a job cannot be found by what they show, because no fingerprints could be made")
        return ()
