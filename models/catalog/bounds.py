"""Bounds of parameters that apply to every model, in addition to its own limits."""

GUIDANCE_MAX = 50.0
CLIP_SKIP_MAX = 12
SIZE_MULTIPLE_PX = 8
"""Width and height of a generated image are multiples of this: one latent pixel of the usual VAEs is 8 x 8 px."""
