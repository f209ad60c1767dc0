"""Unbounded output: images of 7000 x 7000 px in files of about 62 KB, to be enlarged four times."""

from __future__ import annotations

from benchmarks.hostile_rig import Target, flat_png, outcomes

_JOBS = 3


def attack(target: Target) -> str:
    """Upload the image, ask for it four times as wide and high, and wait for whatever was accepted."""
    source = target.upload(flat_png("RGB", (7000, 7000)))
    upscale = {"kind": "upscale", "params": {"image": source, "scale": 4, "upscaler": "Lanczos"}}
    answers = [target.post("/v1/jobs", json=upscale) for _ in range(_JOBS)]
    ended = target.wait_for([answer.json()["id"] for answer in answers if answer.is_success])
    return f"answers {outcomes(answer.status_code for answer in answers)}, jobs {outcomes(ended)}"
