"""``python -m benchmarks.gpu_pass STAGE [--rehearse] [--out FOLDER] [--budget SECONDS]``; see docs/gpu.md."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path


def main() -> int:
    """Run one stage; 0 unless there is no device, whatever the checks found."""
    parser = argparse.ArgumentParser(prog="scripts/gpu_pass.sh", description=__doc__)
    parser.add_argument("stage", choices=("law", "speed"))
    parser.add_argument("--rehearse", action="store_true", help="tiny models on the CPU, to try the code out")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-pass"), help="the folder of the results")
    parser.add_argument("--budget", type=float, help="seconds after which no further check is begun")
    options = parser.parse_args()
    if options.rehearse:
        os.environ["TORCH_COMPILE_DISABLE"] = "1"  # before torch is imported
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return run(options.stage, options.out, options.budget, rehearse=options.rehearse)


def run(stage: str, folder: Path, budget_s: float | None, *, rehearse: bool) -> int:
    """Import what the stage needs, run it, and print the table."""
    import torch

    from benchmarks.gpu_pass import law, speed
    from benchmarks.gpu_pass.report import Report, environment

    if not rehearse and not torch.cuda.is_available():
        print("there is no CUDA device here; --rehearse runs the stage on the CPU", file=sys.stderr)
        return 2
    device = torch.device("cpu" if rehearse else "cuda")
    if rehearse:
        torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("models").setLevel(logging.CRITICAL)  # failures on purpose would fill the output
    report = Report.open(stage, folder, environment(device, rehearse=rehearse))
    module = law if stage == "law" else speed
    module.run(report, device, budget_s or module.BUDGET_S, rehearse=rehearse)
    print(report.markdown())
    print(f"{stage}: {report.counts()} in {report.age_s:.0f} s; {report.json_path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
