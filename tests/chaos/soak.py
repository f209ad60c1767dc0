"""The long form of the chaos test, for ``make soak``, which takes half an hour with its defaults.

``python -m tests.chaos.soak --rounds 30`` kills parts of the service under load, and prints how soon the next job ended
and what became of all jobs. ``--minutes 20`` then keeps the service under load and prints the memory of the gateway and
the worker.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import linear_regression, mean, median

from tests.chaos.load import Clients
from tests.chaos.rounds import VICTIMS, Report, Service, problems, run_rounds, running_service
from tests.e2e.conftest import KEY
from tests.tiny import build_tiny_sd

SAMPLE_S = 10.0
WARM_S = 120.0
"""Memory is compared from then on: caches and pools of threads have filled."""


def main() -> int:
    """Run both parts; 1 if a rule of the first does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "s3").mkdir()
        model = build_tiny_sd(folder / "model")
        with running_service(folder, model, workers=options.workers) as service:
            report = run_rounds(service, options.rounds, options.seed) if options.rounds else None
            if options.minutes:
                print(json.dumps(list(memory(service, options.minutes * 60)), indent=1), flush=True)
    return 0 if report is None else tell(report)


def tell(report: Report) -> int:
    """Print the report; 1 if a rule does not hold."""
    print(json.dumps(asdict(report) | {"rounds": len(report.rounds)}, indent=1))
    for victim in VICTIMS:
        seconds = [each.next_job_s for each in report.rounds if each.victim == victim]
        if seconds:
            print(
                f"{victim}: {len(seconds)} kills, next job after {median(seconds)} s (median), {max(seconds)} s (most)"
            )
    broken = problems(report)
    print("\n".join(f"BROKEN: {rule}" for rule in broken) or "all rules hold")
    return int(bool(broken))


def memory(service: Service, seconds: float) -> Iterator[dict[str, float | str]]:
    """The resident memory of gateway and worker over a time under load, in MiB."""
    load, processes = (
        Clients(service.stack.url, KEY, 6),
        {name: service.process(name) for name in ("gateway", "worker")},
    )
    load.start()
    began_at, samples = time.monotonic(), {name: list[tuple[float, float]]() for name in processes}
    while (now := time.monotonic() - began_at) < seconds:
        time.sleep(SAMPLE_S)
        for name, process in processes.items():
            samples[name].append((now, process.memory_info().rss / 2**20))
    load.stop()
    for name, found in samples.items():
        warm = [(at, size) for at, size in found if at >= min(WARM_S, seconds / 2)]
        slope, _ = linear_regression(*zip(*warm, strict=True))
        sizes = [size for _, size in warm]
        yield {
            "process": name, "jobs": len(load.done), "first_mib": round(sizes[0], 1), "mean_mib": round(mean(sizes), 1),
            "last_mib": round(sizes[-1], 1), "mib_per_hour": round(slope * 3600, 1),
        }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
