"""What the fields of ``deploy.json`` must be, so that whoever reads a package can rely on their types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

_MOST = 1e18
"""The largest number; JSON may have integers that no float can be."""
Holds = Callable[[Any], bool]
"""Whether a value is as it must be."""


def wrong_field(manifest: Mapping[str, Any]) -> str | None:
    """The first field of ``manifest`` that is missing or not what it must be, such as ``profile``."""
    return next((name for name, holds in _MANIFEST.items() if not holds(manifest.get(name))), None)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not _flag(value) and -_MOST < value < _MOST and isfinite(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and _number(value) and value >= 0


def _digits(value: Any) -> bool:
    return _text(value) and value.isascii() and value.isdecimal() and len(value) < 10


def _or_none(holds: Holds) -> Holds:
    return lambda value: value is None or holds(value)


def _list(holds: Holds) -> Holds:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _table(holds: Holds, key: Holds = _text) -> Holds:
    return lambda value: isinstance(value, dict) and all(key(name) and holds(each) for name, each in value.items())


def _record(required: Mapping[str, Holds], optional: Mapping[str, Holds] | None = None) -> Holds:
    """An object with the fields ``required``, perhaps some ``optional`` ones, and any others."""

    def holds(value: Any) -> bool:
        if not isinstance(value, dict) or not all(
            name in value and each(value[name]) for name, each in required.items()
        ):
            return False
        return all(each(value[name]) for name, each in (optional or {}).items() if name in value)

    return holds


_PART = _record({"relative": _or_none(_number), "max_abs": _or_none(_number), "calls": _count})
_IMAGE = _record({
    "title": _text, "psnr_db": _or_none(_number), "ssim": _number, "score": _or_none(_number),
    "score_of_torch": _or_none(_number),
})  # fmt: skip
_AGREEMENT = _record(
    {"top_1": _or_none(_number), "cosine": _number, "images": _count}, {"score_error": _or_none(_number)}
)
_CHECKS = _record({}, {
    "ran": _flag, "passed": _flag, "forced": _flag, "failures": _list(_text), "why": _text, "parts": _table(_PART),
    "images": _list(_IMAGE), "lowest_psnr_db": _or_none(_number), "agreement": _AGREEMENT,
})  # fmt: skip
_SPEED = _record({}, {
    "images_per_s": _table(_number, _digits), "p50_s": _number, "p99_s": _number, "inputs_at_once": _count,
})  # fmt: skip
_PROFILE = _record({}, {
    "image": _text, "rounds": _count, "load_s": _number, "peak_bytes": _count,
    **{name: _SPEED for name in ("torch", "built-in", "deployed")},
})  # fmt: skip
_FILE = _record({"sha256": _text, "bytes": _count})
_LORA = _record({"name": _text, "weight": _number}, {"text_encoder_weight": _number})


def _shapes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list) and [*map(_count, each)] == [True] * 2 for each in value
    )


_MANIFEST: Mapping[str, Holds] = {
    **{name: _text for name in ("model", "backend", "precision", "kind", "family")},
    "files": _table(_FILE),
    "parts": _table(_record({})),
    "source": _record({}, {"sha256": _text}),
    "versions": _table(_text),
    "requires": _table(_text),
    "device": _record({}, {"machine": _text, "processor": _text, "instructions": _list(_text)}),
    "checks": _CHECKS,
    "profile": _PROFILE,
    "steps": _or_none(_count),
    "shapes": _or_none(_shapes),
    "base": _or_none(_text),
    "loras": _or_none(_list(_LORA)),
}
