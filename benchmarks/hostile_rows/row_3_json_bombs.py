"""JSON that becomes far more memory than it has bytes: 63 MiB of brackets, and params with 4 million unknown fields."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from benchmarks.hostile_rig import Target, outcomes

_TOGETHER = 4


def attack(target: Target) -> str:
    """Send each bomb several times at once, to routes that take images and to one that does not."""
    fields = b",".join(b'"f%d":1' % number for number in range(4_000_000))
    bombs = {
        "brackets": b'{"kind":"txt2img","params":[' + b"[]," * (21 << 20) + b"[]]}",
        "fields": b'{"kind":"txt2img","params":{' + fields + b"}}",
        "escapes": b'{"kind":"txt2img","params":{"prompt":"' + b"\\/" * (31 << 20) + b'"}}',
    }
    came = []
    for name, bomb in bombs.items():
        for path in ("/v1/jobs", "/sdapi/v1/img2img", "/sdapi/v1/options"):
            with ThreadPoolExecutor(_TOGETHER) as pool:
                found = list(pool.map(lambda _, path=path, bomb=bomb: _send(target, path, bomb), range(_TOGETHER)))
            came.append(f"{name} to {path}: {outcomes(found)}")
    return "; ".join(came)


def _send(target: Target, path: str, bomb: bytes) -> int | str:
    try:
        return target.post(path, media_type="application/json", content=bomb).status_code
    except httpx.HTTPError as error:
        return type(error).__name__
