"""What a process that draws does not import until it needs it."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_scipys_statistics_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, models; from diffusers import EulerDiscreteScheduler\n"
        "print('scipy.stats._stats_py' in sys.modules)\n"
        "scheduler = EulerDiscreteScheduler(use_beta_sigmas=True); scheduler.set_timesteps(4)\n"
        "import scipy.stats; from scipy import stats; from scipy.stats import beta\n"
        "print('scipy.stats._stats_py' in sys.modules, len(scheduler.sigmas), scipy.stats is stats, stats.beta is beta)"
    )
    assert run(code).splitlines() == ["False", "True 5 True True"]


def test_what_has_imported_them_before_keeps_them() -> None:
    assert run("import scipy.stats as before, models, scipy.stats; print(scipy.stats is before)") == "True"


def test_torchvision_is_as_if_it_were_not_installed() -> None:
    code = "import models\ntry: import torchvision\nexcept ImportError: print('not there')"
    assert run(code) == "not there"
