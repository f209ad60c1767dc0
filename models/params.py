"""What one picture is drawn from: the request as it was made, and the parameters with nothing left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

TXT2IMG = "txt2img"
KINDS = (TXT2IMG,)

PROMPT_MAX_CHARS = 10_000
GUIDANCE_MAX = 50.0
SEED_MAX = 2**53 - 1
"""The largest seed: whole numbers beyond this do not survive JSON in every client."""
DRAWN_SEED_MAX = 2**32 - 1
"""The largest seed that Photogram draws itself."""
SIZE_MULTIPLE_PX = 8


@dataclass(frozen=True, kw_only=True)
class Txt2ImgRequest:
    """A request for a picture, as any dialect understood it; ``None`` leaves the choice to the model's defaults."""

    prompt: str
    negative_prompt: str | None = None
    model: str | None = None
    sampler: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, kw_only=True)
class Txt2ImgParams:
    """The effective parameters of a picture; a worker decides nothing any more."""

    prompt: str
    negative_prompt: str
    model: str
    """The catalog's own name, never an alias."""
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    """Classifier-free guidance; 1 or less draws without it."""
    seed: int
    width: int
    """Pixels, a multiple of 8; so is ``height``."""
    height: int

    def to_payload(self) -> dict[str, Any]:
        """As JSON-ready values, the keys named as on the native wire."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_payload` wrote; keys of later versions are ignored."""
        return cls(**{each.name: payload[each.name] for each in fields(cls)})
