"""Bounds that hold for every model, whatever its own limits say."""

GUIDANCE_MAX = 50.0
CLIP_SKIP_MAX = 12
SIZE_MULTIPLE_PX = 8
"""Width and height of a drawn image are multiples of this: a latent pixel of the common VAEs is 8 x 8 px."""
