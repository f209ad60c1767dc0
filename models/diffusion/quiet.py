"""Silence for the libraries of the engine, whose notices are about their own parts, not about what a user asked for."""

from __future__ import annotations

import os
import warnings
from logging import CRITICAL


def silence_libraries() -> None:
    """Disable the log, progress bars and warnings of diffusers, transformers, torch and the hub's client.

    What they log as errors they also raise, and a line of ours says what came of it. Call it before these libraries are
    imported, since some notices are written by the import. Variables that the user set, such as
    ``DIFFUSERS_VERBOSITY``, and ``python -W`` stay in force.
    """
    quiet = {
        "TRANSFORMERS_VERBOSITY": "critical", "DIFFUSERS_VERBOSITY": "critical", "HF_HUB_VERBOSITY": "critical",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    for category in (FutureWarning, DeprecationWarning, UserWarning):
        warnings.simplefilter("ignore", category, append=True)
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    by_variable = {"DIFFUSERS_VERBOSITY": diffusers_logging, "TRANSFORMERS_VERBOSITY": transformers_logging}
    for variable, library in by_variable.items():
        if os.environ[variable] == quiet[variable]:
            library.set_verbosity(CRITICAL)  # the variable is read once, perhaps by an earlier import
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def let_waiting_threads_sleep() -> None:
    """Have OpenMP's threads wait without using a core; torch reads the variable when it is imported.

    GNU's library lets them spin as long as no second thread of the process computes. Plain diffusers computes in one
    thread and the engine in several, so that other programs on the same cores would slow down plain diffusers alone.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
