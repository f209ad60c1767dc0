"""How long one API key waits while another has filled the queue.

``python -m benchmarks.fairness`` starts ``photogram up`` on the built-in model. Key B draws some images one after the
other, alone. Then key A queues many jobs of 40 steps, and key B draws the same images again. ``--eta`` measures how far
the estimated ends of the jobs of one key are from their ends instead. What a job costs in a long queue,
``python -m benchmarks.gateway --depths`` measures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from benchmarks.hostile_rig import Rig, Target, running_rig

STEPS = 40
SUBMITTERS = 8
SETTLE_S = 5.0
"""How long the jobs of key A run before key B comes."""


def image(size: int, number: int) -> dict[str, Any]:
    """The body of a job."""
    params = {"prompt": "a red apple", "width": size, "height": size, "num_inference_steps": STEPS, "seed": number}
    return {"kind": "txt2img", "params": params}


def submit(target: Target, size: int, number: int) -> str:
    """Queue one job; returns its id."""
    return str(target.post("/v1/jobs", json=image(size, number)).raise_for_status().json()["id"])


def fill(target: Target, size: int, jobs: int) -> list[str]:
    """Queue ``jobs`` jobs quickly; returns their ids."""
    with (
        httpx.Client(base_url=target.url, headers=target.headers, timeout=90) as client,
        ThreadPoolExecutor(SUBMITTERS) as pool,
    ):
        answers = pool.map(lambda number: client.post("/v1/jobs", json=image(size, number)), range(jobs))
        return [str(answer.raise_for_status().json()["id"]) for answer in answers]


def read(target: Target, job_id: str, wait_s: int = 0) -> dict[str, Any]:
    """The job, once it has ended or after ``wait_s``."""
    answer = httpx.get(f"{target.url}/v1/jobs/{job_id}?wait={wait_s}", headers=target.headers, timeout=90)
    job: dict[str, Any] = answer.raise_for_status().json()
    return job


def latencies(target: Target, size: int, count: int) -> list[float]:
    """Seconds from the request to the end of each of ``count`` images, one after the other."""
    found = []
    for number in range(count):
        began_at = time.monotonic()
        job = read(target, submit(target, size, number), 60)
        assert job["status"] == "succeeded", job
        found.append(time.monotonic() - began_at)
    return found


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(seconds, n=20, method="inclusive")[-1]


def run_s(job: dict[str, Any]) -> float:
    """Seconds from the start to the end of a job."""
    started, finished = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return (finished - started).total_seconds()


def between_keys(rig: Rig, jobs: int, images: int, size: int) -> dict[str, float]:
    """The latencies of key B alone and beside the jobs of key A, in seconds."""
    latencies(rig.bystander, size, 2)  # warm up
    alone = latencies(rig.bystander, size, images)
    queued = fill(rig.attacker, size, jobs)
    time.sleep(SETTLE_S)
    beside = latencies(rig.bystander, size, images)
    ended = [job for job in (read(rig.attacker, job_id) for job_id in queued) if job["status"] == "succeeded"]
    return {
        "queued_by_a": jobs,
        "ended_of_a": len(ended),
        "a_job_s": round(median(map(run_s, ended)), 2),
        "b_alone_p50_s": round(median(alone), 2),
        "b_alone_p95_s": round(p95(alone), 2),
        "b_first_s": round(beside[0], 2),
        "b_first_bound_s": round(median(alone) + median(map(run_s, ended)), 2),  # its own time and one batch
        "b_beside_p50_s": round(median(beside), 2),
        "b_beside_p95_s": round(p95(beside), 2),
        "p95_ratio": round(p95(beside) / p95(alone), 2),
    }


def estimates(rig: Rig, jobs: int, size: int) -> dict[str, float]:
    """How far the estimated ends of waiting jobs were from their ends, relative to the time that was left."""
    latencies(rig.attacker, size, 6)  # which also tells how long jobs take
    queued = [submit(rig.attacker, size, number) for number in range(jobs)]
    time.sleep(SETTLE_S)
    told = [(time.time(), read(rig.attacker, job_id)) for job_id in queued]
    errors = []
    for at, job in told:
        while (end := read(rig.attacker, job["id"], 60))["finished_at"] is None:
            pass
        if job["status"] == "queued":
            left_s = datetime.fromisoformat(end["finished_at"]).timestamp() - at
            errors.append(abs(job["queue"]["eta_s"] - left_s) / left_s)
    return {"waiting": len(errors), "error_p50": round(median(errors), 3), "error_max": round(max(errors), 3)}


def main() -> None:
    """Print the results as JSON objects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eta", action="store_true", help="compare estimated ends with ends")
    parser.add_argument("--jobs", type=int, default=1000, help="how many jobs key A queues")
    parser.add_argument("--images", type=int, default=30, help="how many images key B draws")
    parser.add_argument("--size", type=int, default=128, help="width and height in pixels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PHOTOGRAM_DATA": str(Path(folder) / "data"), "PHOTOGRAM_MAX_QUEUED": str(options.jobs + 100)}
        with running_rig(environment) as rig:
            if options.eta:
                print(json.dumps(estimates(rig, options.jobs, options.size)))
            else:
                print(json.dumps(between_keys(rig, options.jobs, options.images, options.size)))


if __name__ == "__main__":
    main()
