"""The log of requests: the logger `photogram`, which the variable `PHOTOGRAM_LOG` sends to standard error."""

import logging
import os

logger = logging.getLogger("photogram")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}


def configure_log() -> None:
    """Write the log to standard error if `PHOTOGRAM_LOG` is `info` (retries) or `debug` (every request).

    Raises ValueError for another value.
    """
    wanted = os.environ.get("PHOTOGRAM_LOG", "").lower()
    if not wanted:
        return
    if wanted not in _LEVELS:
        raise ValueError(f"PHOTOGRAM_LOG must be info or debug, got {wanted!r}")
    logger.setLevel(_LEVELS[wanted])
    if not any(isinstance(each, _StandardError) for each in logger.handlers):
        handler = _StandardError()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]  # generic for type checkers alone
    """The handler that this module adds, once."""
