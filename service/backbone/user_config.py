"""The user's configuration file, in which ``photogram up`` notes its server, so that other commands find it.

The file is ``photogram/config.toml`` in the user's configuration folder (XDG Base Directory Specification). Its keys
are ``data``, the data folder, and ``url``, the address of the server, which the client's command line reads.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomlkit

from models.errors import StorageUnavailable
from service.backbone.files import replace_file
from service.backbone.settings import SettingsError

_KEYS = ("data", "url")


def user_config_path(environment: Mapping[str, str]) -> Path:
    """Where the file is; it need not exist. The path is relative if the user has no home folder."""
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(os.path.expanduser(base)) / "photogram" / "config.toml"


def read_user_config(environment: Mapping[str, str]) -> dict[str, str]:
    """What the file says; nothing if it does not exist, or is in the home folder of another user.

    Raises:
        SettingsError: the file cannot be read, or has a key or a value that is not valid.
    """
    path = user_config_path(environment)
    if not path.is_absolute():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    for key, value in document.items():
        if key not in _KEYS or not isinstance(value, str) or not value:
            raise SettingsError(f"{path}: {key!r} is no key with a text; the keys are {' and '.join(_KEYS)}")
    return document


def remember_server(environment: Mapping[str, str], data: Path, url: str) -> None:
    """Note the server for later commands; raises :class:`~models.errors.StorageUnavailable` if that is not possible."""
    noted = {"data": str(data), "url": url}
    found, path = read_user_config(environment), user_config_path(environment)
    if found == noted:
        return
    if not path.is_absolute():
        raise StorageUnavailable("the user has no home folder")
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if found else tomlkit.document()
    document.update(noted)
    replace_file(path, tomlkit.dumps(document).encode())
