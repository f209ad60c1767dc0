"""Style presets, which add words around a prompt; their names are those of Prodia v1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Style:
    """What a preset adds to the two prompts; an empty text adds nothing."""

    name: str
    prefix: str
    suffix: str
    negative: str


_PRESETS = (
    Style(
        "3d-model", "a 3D model of", "physically based materials, soft studio light, clean topology, octane render",
        "flat drawing, sketch, grain, photograph",
    ),
    Style(
        "analog-film", "35mm film photo of", "visible grain, slight light leak, faded colours, halation, shallow focus",
        "digital sharpness, render, drawing, oversaturated",
    ),
    Style(
        "anime", "anime key visual of", "clean cel shading, expressive line work, bright colours, detailed background",
        "photograph, 3D render, muddy colours, rough sketch",
    ),
    Style(
        "cinematic", "film still of", "anamorphic lens, dramatic key light, colour graded, shallow depth of field",
        "cartoon, drawing, flat light, snapshot",
    ),
    Style(
        "comic-book", "comic book panel of", "bold ink outlines, halftone dots, flat strong colours, dynamic angle",
        "photograph, 3D render, soft gradients, blur",
    ),
    Style(
        "digital-art", "digital painting of", "crisp details, rich colours, polished brushwork, concept art",
        "photograph, pencil sketch, noise, low detail",
    ),
    Style(
        "enhance", "", "fine detail, balanced exposure, sharp focus, harmonious composition, high quality",
        "blurry, noisy, badly cropped, compression artefacts, distorted",
    ),
    Style(
        "fantasy-art", "fantasy illustration of", "glowing magical light, ornate details, epic scenery, painterly",
        "modern city, photograph, plain background, dull colours",
    ),
    Style(
        "isometric", "isometric view of", "miniature diorama, parallel edges, tidy shapes, soft shadows",
        "vanishing point, fisheye, photograph, clutter",
    ),
    Style(
        "line-art", "line drawing of", "clean black contours on white paper, even strokes, no fill, minimal",
        "colour, shading, photograph, texture, blur",
    ),
    Style(
        "low-poly", "low poly scene of", "large flat-shaded facets, few triangles, simple palette, ambient occlusion",
        "smooth surfaces, fine texture, photograph, noise",
    ),
    Style(
        "neon-punk", "cyberpunk scene of", "neon magenta and cyan glow, wet reflections, night, high contrast, haze",
        "daylight, pastel, rustic, black and white",
    ),
    Style(
        "origami", "folded paper sculpture of", "crisp creases, layered paper, visible fibres, plain backdrop",
        "plastic, metal, drawing, torn paper",
    ),
    Style(
        "photographic", "photograph of", "natural light, true colours, 50mm lens, fine texture, realistic detail",
        "drawing, painting, render, cartoon, plastic skin",
    ),
    Style(
        "pixel-art", "pixel art of", "coarse square pixels, limited palette, hard edges, 16-bit game sprite",
        "anti-aliasing, gradients, photograph, blur",
    ),
    Style(
        "texture", "seamless texture of", "flat top-down view, even light, evenly spread detail, tileable surface",
        "perspective, horizon, strong shadows, single object",
    ),
    Style(
        "craft-clay", "clay model of", "hand-shaped plasticine, fingerprints, rounded forms, stop-motion set",
        "photograph of a person, drawing, sharp metal edges, glass",
    ),
)  # fmt: skip

STYLES: Mapping[str, Style] = MappingProxyType({style.name: style for style in _PRESETS})
"""All presets by name."""
ALIASES: Mapping[str, str] = MappingProxyType({"fantasty-art": "fantasy-art"})
"""Misspelt names from Prodia's documentation that clients send, and the preset for each."""


def find_style(name: str) -> Style | None:
    """The preset with this name or alias, whose case is ignored; ``None`` if there is none."""
    plain = name.strip().casefold()
    return STYLES.get(ALIASES.get(plain, plain))


def apply_style(style: Style, prompt: str, negative_prompt: str) -> tuple[str, str]:
    """Prompt and negative prompt with the words of ``style``; the style's negative words follow the user's."""
    started = " ".join(filter(None, (style.prefix, prompt)))
    return ", ".join(filter(None, (started, style.suffix))), ", ".join(filter(None, (negative_prompt, style.negative)))
