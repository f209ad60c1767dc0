"""The user's configuration file: what it may say, and what ``photogram up`` notes there."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import StorageUnavailable
from service.backbone.settings import SettingsError
from service.backbone.user_config import read_user_config, remember_server, user_config_path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_a_server_is_remembered_until_the_next_one(environment: dict[str, str]) -> None:
    assert read_user_config(environment) == {}
    remember_server(environment, Path("/one"), "http://127.0.0.1:8000")
    remember_server(environment, Path("/two"), "http://127.0.0.1:9000")
    assert read_user_config(environment) == {"data": "/two", "url": "http://127.0.0.1:9000"}


def test_comments_stay(environment: dict[str, str]) -> None:
    path = user_config_path(environment)
    path.parent.mkdir(parents=True)
    path.write_text('# mine\ndata = "/one"\n')
    remember_server(environment, Path("/two"), "http://127.0.0.1:9000")
    assert path.read_text().startswith("# mine\n") and read_user_config(environment)["data"] == "/two"


@pytest.mark.parametrize("text", ["data = 3", 'folder = "/x"', "data =", 'url = ""'])
def test_what_it_may_not_say_is_refused(environment: dict[str, str], text: str) -> None:
    path = user_config_path(environment)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"config\.toml"):
        read_user_config(environment)


def test_a_user_without_a_home_folder_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda text: text)
    assert read_user_config({}) == {}
    with pytest.raises(StorageUnavailable, match="no home folder"):
        remember_server({}, Path("/one"), "http://127.0.0.1:8000")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable):
        remember_server({"XDG_CONFIG_HOME": str(tmp_path / "file")}, Path("/one"), "http://127.0.0.1:8000")


def test_without_a_variable_it_is_below_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_config_path({}) == Path("/home/me/.config/photogram/config.toml")
