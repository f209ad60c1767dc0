"""Random captions for the concepts that the built-in checkpoint is trained on."""

from __future__ import annotations

import random

from models.catalog.concepts import Concept, with_article

_TEMPLATES = ("{x}", "{x}", "{x}", "{a}", "{a}", "{a}", "an image of {a}", "a drawing of {a}", "a photo of {a}",
              "an emoji of {a}", "{a} icon", "a cute {x}", "one {x}")  # fmt: skip
_WHITE = ("", "", "", "", "", " on a white background")


def caption(concept: Concept, rng: random.Random, colour: str | None = None, ground: str | None = None) -> str:
    """One caption for an image of ``concept``, in ``colour`` and on ``ground`` where they are given."""
    word = concept.words[0] if rng.random() < 0.7 else rng.choice(concept.words)
    if colour is not None:
        word = f"{colour} {word}"
    text = rng.choice(_TEMPLATES).format(x=word, a=with_article(word))
    return text + (f" on {with_article(ground)} background" if ground is not None else rng.choice(_WHITE))
