"""The phrases that a small language model chooses from, by subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.language.profiles import subjects

_FAULTS = (", blurry", ", low quality", ", watermark", ", text")


@dataclass(frozen=True, kw_only=True)
class SubjectPhrases:
    """The phrases for one subject."""

    settings: tuple[str, ...]
    lights: tuple[str, ...]
    colours: tuple[str, ...]
    views: tuple[str, ...]
    styles: tuple[str, ...]
    negatives: tuple[str, ...]
    """See ``models.language.profiles.shape.Subject``."""


SUBJECTS: Mapping[str, SubjectPhrases] = MappingProxyType({
    subjects.PERSON: SubjectPhrases(
        settings=("in a quiet garden", "in a narrow old street", "by the sea", "in a grand hall", "in a simple room"),
        lights=("soft morning light", "golden evening light", "dramatic side light", "cool moonlight"),
        colours=("warm browns and gold", "muted earth tones", "deep blue and silver", "soft cream and rose"),
        views=("waist-up view", "full body view", "close-up", "low angle view"),
        styles=("portrait photograph", "oil painting", "cinematic film still", "detailed digital painting"),
        negatives=("bad anatomy", ", extra fingers", ", deformed hands", ", cropped head", *_FAULTS),
    ),
    subjects.ANIMAL: SubjectPhrases(
        settings=("in its natural habitat", "out in the wild", "in a peaceful place"),
        lights=("soft morning light", "golden evening light", "hazy backlight", "bright overcast light"),
        colours=("natural colours", "warm orange and gold", "cool blue and white", "muted greens and brown"),
        views=("close-up", "shallow depth of field", "full body view", "eye-level view"),
        styles=("wildlife photograph", "watercolour painting", "detailed illustration", "oil painting"),
        negatives=("extra legs", ", deformed paws", ", bad anatomy", *_FAULTS),
    ),
    subjects.SEA: SubjectPhrases(
        settings=("in deep clear water", "above a coral reef", "among drifting kelp", "near the sandy seabed"),
        lights=("rays of light from above", "soft blue light", "glowing light from within"),
        colours=("teal and deep blue", "violet and turquoise", "coral and gold"),
        views=("close-up", "wide angle view", "view from below"),
        styles=("underwater photograph", "detailed illustration", "watercolour painting"),
        negatives=("deformed", ", murky water", *_FAULTS),
    ),
    subjects.FOOD: SubjectPhrases(
        settings=("on a rustic wooden table", "on a linen tablecloth", "on a marble counter", "in a cosy kitchen"),
        lights=("soft window light", "warm morning light", "bright studio light"),
        colours=("warm golden colours", "fresh vivid colours", "rich dark colours", "pastel colours"),
        views=("close-up", "view from above", "shallow depth of field"),
        styles=("food photograph", "still life painting", "cookbook illustration"),
        negatives=("unappetising", ", messy", ", cutlery in front", *_FAULTS),
    ),
    subjects.PLANT: SubjectPhrases(
        settings=("in a cottage garden", "on a sunny windowsill", "in a wild meadow", "in a glass greenhouse"),
        lights=("soft morning light", "golden backlight", "gentle overcast light"),
        colours=("fresh green and cream", "soft pink and white", "rich jewel tones", "natural colours"),
        views=("macro view", "shallow depth of field", "centred composition"),
        styles=("nature photograph", "botanical illustration", "watercolour painting", "oil painting"),
        negatives=("wilted", ", plastic look", *_FAULTS),
    ),
    subjects.VEHICLE: SubjectPhrases(
        settings=("under wide clouds", "in front of distant mountains", "in morning haze", "against a wide open sky"),
        lights=("golden evening light", "dramatic storm light", "clear midday light", "soft dawn light"),
        colours=("teal and amber", "deep blue and silver", "warm sunset colours", "bold contrasting colours"),
        views=("low angle view", "wide angle view", "three-quarter view", "panning shot"),
        styles=("cinematic photograph", "vintage poster", "detailed digital painting"),
        negatives=("deformed", ", crooked lines", ", missing parts", *_FAULTS),
    ),
    subjects.BUILDING: SubjectPhrases(
        settings=("on a quiet hillside", "among autumn trees", "under wide clouds", "in morning mist"),
        lights=("golden evening light", "soft dawn light", "clear midday light", "cool moonlight"),
        colours=("warm stone colours", "cool blue and amber", "muted autumn colours", "soft pastel colours"),
        views=("wide angle view", "symmetrical composition", "low angle view", "view from a distance"),
        styles=("architectural photograph", "watercolour painting", "detailed concept art", "ink drawing"),
        negatives=("crooked lines", ", distorted perspective", *_FAULTS),
    ),
    subjects.LANDSCAPE: SubjectPhrases(
        settings=("under towering clouds", "beneath a vast clear sky", "above drifting mist", "beyond dark pine trees"),
        lights=("golden evening light", "soft dawn light", "dramatic storm light", "cool moonlight"),
        colours=("deep blue and orange", "muted greens and grey", "violet and gold", "soft pastel colours"),
        views=("wide angle view", "panoramic view", "view from above", "layered composition"),
        styles=("landscape photograph", "oil painting", "watercolour painting", "detailed matte painting"),
        negatives=("crooked horizon", ", oversaturated", *_FAULTS),
    ),
    subjects.ITEM: SubjectPhrases(
        settings=("on a plain backdrop", "in a quiet room", "on a stone floor", "against dark velvet"),
        lights=("soft window light", "bright studio light", "warm lamp light", "dramatic side light"),
        colours=("warm browns and gold", "clean neutral colours", "deep green and brass", "soft pastel colours"),
        views=("close-up", "centred composition", "shallow depth of field", "three-quarter view"),
        styles=("product photograph", "still life painting", "detailed illustration", "pencil drawing"),
        negatives=("deformed", ", cluttered", *_FAULTS),
    ),
    subjects.FANTASY: SubjectPhrases(
        settings=("in an ancient ruined city", "in a moonlit forest", "on a stormy mountain peak", "in a crystal cave"),
        lights=("glowing magical light", "firelight and deep shadows", "cool moonlight", "dramatic backlight"),
        colours=("violet and gold", "crimson and black", "emerald and silver", "teal and amber"),
        views=("low angle view", "wide angle view", "dynamic composition", "full body view"),
        styles=("fantasy illustration", "detailed concept art", "oil painting", "storybook illustration"),
        negatives=("deformed", ", bad anatomy", *_FAULTS),
    ),
})  # fmt: skip

PLACED = r"\b(?:in|on|at|under|over|near|inside|beside|among|above|below|behind|by)\b"
LIT = r"\b(?:\w*light\w*|lit|sun\w*|dawn|dusk|night\w*|moon\w*|candle\w*|neon|dark\w*|morning|evening|noon|glow\w*)\b"
COLOURED = (
    r"\b(?:red|orange|yellow|green|teal|blue|purple|violet|pink|brown|gr[ae]y|black|white|gold\w*|silver|colou?r\w*|"
    r"monochrome|sepia|pastel)\b"
)
SEEN = r"\b(?:close-?up|portrait|views?|angle|shot|macro|panoram\w*|wide|composition)\b"
STYLED = (
    r"\b(?:\w*photo\w*|painting|painted|draw\w*|illustrat\w*|sketch\w*|style|art|anime|manga|cartoon|comic|render\w*|"
    r"watercolou?r|pixel|3d|logo|poster|print|engraving|icon|sticker|oil|ink)\b"
)
"""Patterns of words by which a prompt already gives the place, light, colours, view or style."""
