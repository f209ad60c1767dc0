"""Where settings come from: defaults, then ``photogram.toml`` in the data folder, then variables, then flags."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.catalog.names import did_you_mean
from service.backbone.logs import configure_logging
from service.backbone.settings import Given, Settings, SettingsError, from_variables
from service.backbone.user_config import read_user_config, user_config_path

FILE_NAME = "photogram.toml"
FILE_VARIABLE = "PHOTOGRAM_CONFIG"
"""Names another file than ``photogram.toml`` in the data folder."""
_MASK = "********"
_PASSWORD = re.compile(r"(?<=://)[^/@]*(?=@)")


@dataclass(frozen=True)
class Configuration:
    """The settings of this process, and where each one that is not a default was given."""

    settings: Settings
    given: Mapping[str, Given]
    """By the names of the settings."""
    file: Path
    """The file that was read, if it exists."""
    exported: Mapping[str, str]
    """What the file says, as variables."""
    environment: Mapping[str, str]
    """The environment for child processes, which read no file: a child that is started again has the same settings."""

    @property
    def changed(self) -> dict[str, Given]:
        """What was given and is no default."""
        default = Settings()
        return {
            name: each for name, each in self.given.items() if getattr(self.settings, name) != getattr(default, name)
        }

    def error(self, name: str, reason: str) -> SettingsError:
        """The error that a setting cannot be used here; it names the place where the setting was given."""
        given = self.given.get(name)
        return SettingsError(f"{name} {reason}") if given is None else given.error(reason)

    def shown(self, name: str) -> str:
        """The value of a setting for people; secrets are masked."""
        value = getattr(self.settings, name)
        if value is None or value == () or value == frozenset():
            return "-"
        is_secret = next(each.is_secret for each in Settings.declared() if each.name == name)
        return _MASK if is_secret else _PASSWORD.sub(_MASK, _text(value))


def configure(
    environment: Mapping[str, str] = os.environ, flags: Mapping[str, str | None] = MappingProxyType({})
) -> Configuration:
    """The settings of this process.

    Args:
        flags: the text of each setting that a flag of the same name may have given.

    Raises:
        SettingsError: a value is not valid, or a file cannot be read or has a key that is no setting.
    """
    above = from_variables(environment)
    above |= {name: Given(text, f"--{name}", f"--{name}") for name, text in flags.items() if text}
    remembered = read_user_config(environment).get("data")
    if "data" not in above and remembered is not None:
        above["data"] = Given(remembered, str(user_config_path(environment)), "data")
    data = Settings.read({name: each for name, each in above.items() if name == "data"}).data
    file = Path(environment.get(FILE_VARIABLE) or data / FILE_NAME).expanduser().absolute()
    if environment.get(FILE_VARIABLE) and not file.exists():
        raise SettingsError(f"{FILE_VARIABLE}: there is no file {file}")
    in_file = read_settings_file(file) if file.exists() else {}
    given = {**in_file, **above}
    variables = {each.name: each.variables[0] for each in Settings.declared()}
    exported = {variables[name]: each.text for name, each in in_file.items() if name not in above}
    ours = {"PHOTOGRAM_DATA": str(data), FILE_VARIABLE: os.devnull}
    return Configuration(Settings.read(given), given, file, exported, {**environment, **exported, **ours})


def configure_process(name: str, data: str | None) -> Settings:
    """The settings of a gateway or worker process, whose log is then set up; raises as :func:`configure`.

    Args:
        data: what its flag ``--data`` says.
    """
    configuration = configure(flags={"data": data})
    os.environ.update(configuration.exported)  # for the log, which is set up by variables
    configure_logging(name)
    return configuration.settings


def read_settings_file(path: Path) -> dict[str, Given]:
    """What a ``photogram.toml`` says, by the names of the settings.

    Raises:
        SettingsError: the file cannot be read, or a key is no setting or has a value of the wrong type; the message has
            the file, the line, the key and the reason.
    """
    try:
        source = path.read_text(encoding="utf-8")
        document = tomllib.loads(source)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    known = {each.name for each in Settings.declared()} - {"data"}
    found = {}
    for key, value in document.items():
        place = f"{path}, line {_line_of(source, key)}"
        if key == "data":
            raise SettingsError(f"{place}: data is given by --data or PHOTOGRAM_DATA, because this file is in it")
        if key not in known:
            raise SettingsError(f"{place}: there is no setting {key!r}{did_you_mean(key, sorted(known))}")
        found[key] = Given(_text_of(value, Given("", place, key)), place, key)
    return found


def _line_of(source: str, key: str) -> int:
    """The number of the line that gives ``key`` a value; 1 if it cannot be told."""
    pattern = re.compile(rf"\s*(\[\s*)?[\"']?{re.escape(key)}[\"']?\s*[.=\]]")
    return next((number for number, line in enumerate(source.splitlines(), 1) if pattern.match(line)), 1)


def _text_of(value: Any, given: Given) -> str:
    """A value of TOML as the text that a variable would have."""
    if isinstance(value, list) and value and all(_is_word(each) for each in value):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float) or (isinstance(value, str) and value):
        return str(value)
    raise given.error("must be text, a number, true, false or a list of these, and not empty")


def _is_word(value: Any) -> bool:
    return (isinstance(value, str) and "," not in value) or (isinstance(value, int) and not isinstance(value, bool))


def _text(value: Any) -> str:
    if isinstance(value, tuple | frozenset):
        return ",".join(map(str, sorted(value) if isinstance(value, frozenset) else value))
    return str(int(value)) if isinstance(value, bool) else str(value)
