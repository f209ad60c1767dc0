"""Enlarging: how a brief asks for it, and the subtask that does it."""

from __future__ import annotations

import re

from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.plan import Subtask
from models.agent.refusals import BriefRefused
from models.agent.said import Said

SCALE_MIN, SCALE_MAX, SCALE = 2, 4, 2
ENLARGE = (
    r"enlarge\w*|upscal\w*|upsampl\w*|bigger|larger|hi-?res|higher\s+resolution|super[\s-]?resolution|[248]x|doubl\w*"
    r"|quadrupl\w*"
)
SHARPEN = r"sharpen\w*|sharper|sharp|deblur\w*|crisp\w*"
_ASKED = (
    r"(?:(?:enlarge|up-?scale|up-?sample|double|quadruple)[sd]?\s+(?:it|this|that|the\s+(?:image|picture|result|sheet))"
    r"|make\s+it\s+(?:\S+\s+){0,2}?(?:bigger|larger)|[248]\s?x\s+(?:bigger|larger|upscal\w*|enlarge\w*)"
    r"|(?:in|at|to)\s+(?:a\s+)?higher\s+resolution)\b"
)
_TO_ENLARGE = re.compile(
    rf"[\s,;]*\b(?:(?:and|then|please|finally)\s+)*{_ASKED}[^,.;\n]*?(?=\s*(?:$|[,.;\n]|\band\b|\bthen\b))",
    re.IGNORECASE,
)
_TIMES = re.compile(
    r"\b([0-9]{1,2})\s*(?:x|times|-fold)(?!\w)|\b(?:x|by (?:a factor of )?)([0-9]{1,2})\b"
    r"|\b(doubl\w*|twice|quadrupl\w*|four times)\b",
    re.IGNORECASE,
)


def asked_scale(said: Said) -> int | None:
    """How many times larger the drawn image is to be; ``None`` if that is not asked for, or only of something on it.

    Raises:
        BriefRefused: see :func:`scale_of`.
    """
    asked = _TO_ENLARGE.search(said.rest)
    return None if asked is None else scale_of(asked[0])


def without_enlarging(text: str) -> str:
    """``text`` without what asks for the drawn image to be enlarged."""
    return _TO_ENLARGE.sub(" ", text).strip()


def enlarge(image: str, save_as: str, scale: int) -> Subtask:
    """A subtask that enlarges a file of the workspace."""
    return Subtask(
        name=f"Enlarge {scale} times",
        goal=f"{save_as} is {scale} times as wide and high as {image}",
        criticism="The upscaler interpolates: it adds no detail that a blurred image lacks.",
        milestones=(Check.of("exists", files=[save_as]), Check.of("scaled", file=save_as, of=image, factor=scale)),
        calls=(Call(tool="upscale", arguments={"image": image, "scale": scale, "save_as": save_as}),),
    )


def scale_of(text: str) -> int:
    """How many times larger a text asks for.

    Raises:
        BriefRefused: it is not from :data:`SCALE_MIN` to :data:`SCALE_MAX`.
    """
    found = _TIMES.search(text)
    if found is None:
        return SCALE
    number = found[1] or found[2]
    if number is None:
        return 4 if found[3].lower().startswith(("q", "four")) else 2
    if not SCALE_MIN <= int(number) <= SCALE_MAX:
        raise BriefRefused(f"an image is enlarged {SCALE_MIN} to {SCALE_MAX} times, not {number} times")
    return int(number)
