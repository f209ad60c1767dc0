"""The user's configuration file, in which `photogram up` notes the address of its server for the command line."""

import os
import tomllib
from pathlib import Path


def user_config_path() -> Path:
    """`photogram/config.toml` in the user's configuration folder (XDG Base Directory Specification)."""
    base = os.path.expanduser(os.environ.get("XDG_CONFIG_HOME") or "~/.config")  # relative without a home folder
    return Path(base) / "photogram" / "config.toml"


def noted_url() -> str | None:
    """The key `url` of the file; None if there is none. Raises ValueError if the file is not valid."""
    path = user_config_path()
    if not path.is_absolute():
        return None
    try:
        url = tomllib.loads(path.read_text(encoding="utf-8")).get("url")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(url, str | None):
        raise ValueError(f"{path}: url must be text")
    return url
