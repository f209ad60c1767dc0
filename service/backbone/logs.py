"""The logging set-up of all processes: lines on standard error, from the level ``PHOTOGRAM_LOG_LEVEL`` on."""

from __future__ import annotations

import logging
import os

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def configure_logging(process: str) -> None:
    """Log under the name ``process``; an unknown level means INFO."""
    level = os.environ.get("PHOTOGRAM_LOG_LEVEL", "").upper()
    level = level if level in _LEVELS else "INFO"
    logging.basicConfig(level=level, format=f"%(asctime)s {process} %(levelname)s %(message)s")
    if level == "INFO":
        logging.getLogger("httpx").setLevel("WARNING")  # otherwise every request to the language engine is logged
