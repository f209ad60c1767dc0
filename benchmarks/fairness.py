"""How long one API key waits while another has filled the queue.

``python -m benchmarks.fairness`` starts ``photogram up`` on the built-in model. Key B draws some images one after the
other, alone. Then key A queues many jobs of 40 steps, and key B draws the same images again. ``--eta`` measures how far
the estimated ends of jobs of several sizes are from their ends instead. What a job costs in a long queue,
``python -m benchmarks.gateway --depths`` measures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
MIX = ((1.0, 40), (0.5, 60), (1.0, 10), (1.5, 20))
"""Of the mixed jobs, the size relative to that of the others, and the steps."""
POLL_S, LEFT_MIN_S = 1.0, 2.0
"""How often estimates are read, and how much time must be left for one to count."""


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


def mixed(size: int, number: int) -> dict[str, Any]:
    """The body of a job of one of several sizes and numbers of steps."""
    side, steps = (round(size * MIX[number % len(MIX)][0]), MIX[number % len(MIX)][1])
    body = image(side, number)
    return body | {"params": body["params"] | {"num_inference_steps": steps}}


@dataclass
class Told:
    """What one job was told of its end, by the time."""

    job_id: str
    estimates: list[tuple[float, str, float]] = field(default_factory=list)
    """When, the status of the job, and the seconds until its end."""
    ended_at: float | None = None

    def look(self, target: Target) -> None:
        """Read the job."""
        at, job = time.time(), read(target, self.job_id)
        if job["finished_at"] is not None:
            self.ended_at = datetime.fromisoformat(job["finished_at"]).timestamp()
        elif job["queue"]["eta_s"] is not None:
            self.estimates.append((at, job["status"], job["queue"]["eta_s"]))

    def errors(self) -> Iterator[tuple[str, float]]:
        """For each estimate when it was told, and its error relative to the time that was left."""
        for number, (at, status, eta_s) in enumerate(self.estimates):
            left_s = (self.ended_at or at) - at
            if left_s >= LEFT_MIN_S:
                yield ("submitted" if not number else status), abs(eta_s - left_s) / left_s


def estimates(rig: Rig, jobs: int, size: int) -> dict[str, float]:
    """How far the estimated ends of mixed jobs were from their ends, relative to the time that was left."""

    def submitted(number: int) -> str:
        return str(rig.attacker.post("/v1/jobs", json=mixed(size, number)).raise_for_status().json()["id"])

    for number in range(len(MIX)):  # which tells how long jobs take, first alone and then together
        rig.attacker.wait_for([submitted(number)])
    rig.attacker.wait_for([submitted(number) for number in range(3 * len(MIX))])
    told = []
    for number in range(jobs):
        told.append(Told(submitted(number)))
        told[-1].look(rig.attacker)
    while left := [each for each in told if each.ended_at is None]:
        for each in left:
            each.look(rig.attacker)
        time.sleep(POLL_S)
    found: dict[str, list[float]] = {"submitted": [], "queued": [], "running": []}
    for moment, error in (pair for each in told for pair in each.errors()):
        found[moment].append(error)
    return {
        f"{moment}_{name}": value
        for moment, errors in found.items() if errors
        for name, value in (("estimates", len(errors)), ("error_p50", round(median(errors), 3)))
    }  # fmt: skip


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
