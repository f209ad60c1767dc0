"""Bounds of parameters that apply to every model, in addition to its own limits."""

GUIDANCE_MAX = 50.0
CLIP_SKIP_MAX = 12
PROMPT_CHUNKS_MAX = 128
"""The chunks of a prompt (of 75 tokens, for CLIP); 10,000 characters of English need about 32."""
T5_TOKENS_MAX = 512
"""The longest prompt for T5, in tokens; diffusers' pipelines take no more."""
SIZE_MULTIPLE_PX = 8
"""Width and height of a generated image are multiples of this: one latent pixel of the usual VAEs is 8 x 8 px."""
