"""Decode bombs: images/edits with 208 KB RGBA images, and inpaint jobs that name two large uploads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from benchmarks.hostile_rig import Target, flat_png, outcomes

_EDITS, _INPAINTS = 8, 24
_SIZE = (7000, 7000)


def attack(target: Target) -> str:
    """Send all edits at the same time, then queue all inpaint jobs, and wait for them."""
    bomb = flat_png("RGBA", _SIZE)
    with ThreadPoolExecutor(_EDITS) as pool:
        edits = list(pool.map(lambda _: _edit(target, bomb), range(_EDITS)))
    image, mask = target.upload(flat_png("RGB", _SIZE)), target.upload(flat_png("L", _SIZE, 255))
    answers = [target.post("/v1/jobs", json=_inpaint(image, mask, seed)) for seed in range(_INPAINTS)]
    ended = target.wait_for([answer.json()["id"] for answer in answers if answer.is_success])
    return (
        f"edits {outcomes(answer.status_code for answer in edits)}, "
        f"inpaint {outcomes(answer.status_code for answer in answers)}, jobs {outcomes(ended)}"
    )


def _edit(target: Target, image: bytes) -> httpx.Response:
    form = {"prompt": "a hat", "size": "256x256"}
    return target.post("/v1/images/edits", data=form, files={"image": ("bomb.png", image, "image/png")})


def _inpaint(image: str, mask: str, seed: int) -> dict[str, object]:
    params = {"prompt": "a hat", "image": image, "mask": {"image": mask}, "seed": seed, "num_inference_steps": 2}
    return {"kind": "inpaint", "params": params}
