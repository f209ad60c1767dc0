"""The user's configuration file, in which ``photogram up`` notes its server, so that other commands find it.

The file is ``photogram/config.toml`` in the user's configuration folder (XDG Base Directory Specification). Its keys
are ``data``, the data folder, and ``url``, the address of the server, which the client's command line reads.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomlkit

from service.backbone.files import replace_file
from service.backbone.settings import SettingsError

_KEYS = ("data", "url")


def user_config_path(environment: Mapping[str, str]) -> Path:
    """Where the file is; it need not exist."""
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "photogram" / "config.toml"


def read_user_config(environment: Mapping[str, str]) -> dict[str, str]:
    """What the file says; nothing if it does not exist.

    Raises:
        SettingsError: the file cannot be read, or has a key or a value that is not valid.
    """
    path = user_config_path(environment)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    for key, value in document.items():
        if key not in _KEYS or not isinstance(value, str) or not value:
            raise SettingsError(f"{path}: {key!r} is no key with a text; the keys are {' and '.join(_KEYS)}")
    return document


def remember_server(environment: Mapping[str, str], data: Path, url: str) -> None:
    """Note the server for later commands; raises :class:`OSError` if the file cannot be written."""
    noted = {"data": str(data), "url": url}
    found = read_user_config(environment)
    if found == noted:
        return
    path = user_config_path(environment)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if found else tomlkit.document()
    document.update(noted)
    replace_file(path, tomlkit.dumps(document).encode())
