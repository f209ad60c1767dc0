"""The version of the server's distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def server_version() -> str:
    """The version; ``0`` where the code runs without being installed."""
    try:
        return version("photogram-server")
    except PackageNotFoundError:
        return "0"
