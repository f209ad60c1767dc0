"""Runs the checks of a stage one after the other and continues after one that fails, hangs or breaks the device."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch

from benchmarks.gpu_pass.report import ERROR, FAIL, FIGURE, PASS, SKIPPED, TIMEOUT, Entry, Outcome, Report

HUNG_S = 20.0
"""How long after its cap a check ends the process if it cannot be interrupted because it waits for the device."""
RESTART = 75
"""The exit code after which scripts/gpu_pass.sh starts a new process, because the device no longer responds."""


@dataclass(frozen=True)
class Check:
    """One check of a stage."""

    name: str
    run: Callable[[], Outcome]
    cap_s: float = 60.0
    """The time after which it is interrupted."""


class OverTime(BaseException):
    """A check took too long. A ``BaseException``, so that no ``except Exception`` in the check catches it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise :class:`OverTime` in the main thread after ``seconds``.

    It is raised again every few seconds, because Python drops exceptions in destructors and weak-reference callbacks.
    """
    is_over = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not is_over:
            raise OverTime(f"over {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, seconds), 3.0)
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_all(checks: Sequence[Check], report: Report, budget_s: float, device: torch.device) -> None:
    """Run all checks that have no entry yet, until the stage has taken ``budget_s``."""
    for check in checks:
        if report.has(check.name):
            continue
        left_s = budget_s - report.age_s
        entry = report.begin(check.name)
        if left_s <= 1:
            entry.status, entry.detail = SKIPPED, "no time was left"
            continue
        _run(check, entry, min(left_s, check.cap_s))
        report.write()
        print(f"{report.age_s:6.1f} s  {entry.status:8} {entry.name} {entry.detail[:200]}", flush=True)
        if entry.status not in (PASS, FIGURE):
            _clean_up(report, entry, device)
    report.write()


def _run(check: Check, entry: Entry, cap_s: float) -> None:
    began_at = time.perf_counter()
    faulthandler.dump_traceback_later(cap_s + HUNG_S, exit=True)
    try:
        with limited(cap_s):
            outcome = check.run()
        entry.status = FIGURE if outcome.passed is None else PASS if outcome.passed else FAIL
        entry.figures, entry.detail = outcome.figures, outcome.detail
    except OverTime as error:
        entry.status, entry.detail = TIMEOUT, str(error)
    except Exception as error:
        entry.status, entry.detail = ERROR, describe_error(error)
    faulthandler.cancel_dump_traceback_later()
    entry.seconds = time.perf_counter() - began_at


def describe_error(error: BaseException) -> str:
    """The exception and the places in the code where it was raised, innermost first."""
    places = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{place.filename.rpartition('/')[2]}:{place.lineno}" for place in reversed(places))
    return f"{type(error).__name__}: {str(error)[:600]} [{where}]"


def _clean_up(report: Report, entry: Entry, device: torch.device) -> None:
    """Free the memory of a failed check. If the device no longer responds, end the process."""
    gc.collect()
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        assert float((torch.ones(8, device=device) + 1).sum()) == 16
    except Exception as error:
        entry.detail += f"; the device no longer responds: {describe_error(error)}"
        report.write()
        sys.stdout.flush()
        os._exit(RESTART)  # does not wait for threads that wait for the device
