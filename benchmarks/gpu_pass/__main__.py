"""``python -m benchmarks.gpu_pass STAGE [--rehearse] [--out FOLDER] [--budget SECONDS]``; see docs/gpu.md."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from types import ModuleType

CANNOT_RUN = 2
"""The exit code after which scripts/gpu_pass.sh does not try again."""


def main() -> int:
    """Run one stage. The exit code is 0 even if checks fail, and ``CANNOT_RUN`` if there is no device."""
    parser = argparse.ArgumentParser(prog="scripts/gpu_pass.sh", description=__doc__)
    parser.add_argument("stage", choices=("law", "speed"))
    parser.add_argument("--rehearse", action="store_true", help="run tiny models on the CPU, to test the code")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-pass"), help="the folder of the results")
    parser.add_argument("--budget", type=_seconds, help="seconds after which no check is started")
    parser.add_argument("--only", default="", help="run only the checks with this text in their names")
    parser.add_argument("--resume", action="store_true", help="continue the results in the folder")
    options = parser.parse_args()
    if options.rehearse:
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")  # compiling takes minutes; torch reads this at import
    os.environ |= {"HF_HUB_OFFLINE": "1", "DIFFUSERS_VERBOSITY": "error", "TRANSFORMERS_VERBOSITY": "error"}
    _use_own_tests()
    try:
        return run(options)
    except Exception:
        traceback.print_exc()
        return CANNOT_RUN


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds


def _use_own_tests() -> None:
    """Import ``tests`` from this repository; it has no ``__init__.py``, so an installed package would come first."""
    own = ModuleType("tests")
    own.__path__ = [str(Path(__file__).parents[2] / "tests")]
    sys.modules["tests"] = own


def run(options: argparse.Namespace) -> int:
    """Import what the stage needs, run it, and print the table."""
    import torch

    stage, rehearse = options.stage, options.rehearse
    if not rehearse and not torch.cuda.is_available():
        print("there is no CUDA device here; --rehearse runs the stage on the CPU", file=sys.stderr)
        return CANNOT_RUN
    import diffusers
    import transformers

    from benchmarks.gpu_pass import law, speed
    from benchmarks.gpu_pass.report import CannotReport, Report, environment

    device = torch.device("cpu" if rehearse else "cuda")
    if rehearse:
        torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    logging.getLogger("models").setLevel(logging.CRITICAL)  # deliberate failures would fill the output
    try:
        report = Report.open(stage, options.out, environment(device, rehearse=rehearse), resume=options.resume)
    except CannotReport as error:
        print(error, file=sys.stderr)
        return CANNOT_RUN
    module = law if stage == "law" else speed
    module.run(report, device, options.budget or module.BUDGET_S, options.only, rehearse=rehearse)
    if not report.entries:
        print(f"no check of {stage} has {options.only!r} in its name", file=sys.stderr)
        return CANNOT_RUN
    print(report.markdown())
    print(f"{stage}: {report.counts()} in {report.age_s:.0f} s; {report.json_path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
