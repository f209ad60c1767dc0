"""The user's configuration file, in which `photogram up` notes the address of its server for the command line."""

import os
import tomllib
from pathlib import Path


def user_config_path() -> Path:
    """`photogram/config.toml` in the user's configuration folder (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "photogram" / "config.toml"


def noted_url() -> str | None:
    """The key `url` of the file; None if there is none. Raises ValueError if the file cannot be read."""
    path = user_config_path()
    try:
        url = tomllib.loads(path.read_text(encoding="utf-8")).get("url")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(url, str | None):
        raise ValueError(f"{path}: url must be text")
    return url
