"""Logging, as every process sets it up: lines on standard error, from the level that PHOTOGRAM_LOG_LEVEL names."""

from __future__ import annotations

import logging
import os

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def configure_logging(process: str) -> None:
    """Log as ``process``; an unknown level means INFO."""
    wanted = os.environ.get("PHOTOGRAM_LOG_LEVEL", "").upper()
    level = wanted if wanted in _LEVELS else "INFO"
    logging.basicConfig(level=level, format=f"%(asctime)s {process} %(levelname)s %(message)s")
    if level == "INFO":
        logging.getLogger("httpx").setLevel("WARNING")  # or every question to the language engine is a line
