"""Where settings come from, which place wins, and the errors that name the place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.backbone.configuration import configure
from service.backbone.settings import Settings, SettingsError


@pytest.fixture
def environment(data: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a user without a configuration of their own."""
    return {"PHOTOGRAM_DATA": str(data), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def write(data: Path, text: str) -> Path:
    path = data / "photogram.toml"
    path.write_text(text)
    return path


def test_every_setting_can_be_in_the_file(data: Path, environment: dict[str, str]) -> None:
    text = """
        rows = 4
        fetch_private = true
        hosts = ["example.org", "*.lan"]
        fetch_ports = [443, 8443]
        llm_deadline_s = 1.5
        log_level = "debug"
        """
    write(data, text)
    settings = configure(environment).settings
    assert (settings.rows, settings.fetch_private, settings.hosts) == (4, True, ("example.org", "*.lan"))
    assert (settings.fetch_ports, settings.llm_deadline_s, settings.log_level) == (frozenset({443, 8443}), 1.5, "DEBUG")


def test_variables_win_over_the_file_and_flags_over_both(
    data: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    path = write(data, "rows = 4\nmax_queued = 7\n")
    found = configure(environment | {"PHOTOGRAM_ROWS": "2"})
    assert (found.settings.rows, found.settings.max_queued) == (2, 7)
    assert found.given["rows"].place == "PHOTOGRAM_ROWS" and found.given["max_queued"].place == f"{path}, line 2"
    other = tmp_path / "other"
    found = configure(environment, flags={"data": str(other)})
    assert found.settings == Settings(data=other, cache=found.settings.cache)
    assert found.given["data"].place == "--data"


def test_the_folder_of_the_last_server_is_used_where_none_is_named(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert configure(environment).settings.data == Path("~/.local/share/photogram").expanduser()
    (tmp_path / "photogram").mkdir()
    (tmp_path / "photogram" / "config.toml").write_text(f'data = "{tmp_path}/mine"\n')
    assert configure(environment).settings.data == tmp_path / "mine"
    assert configure(environment | {"PHOTOGRAM_DATA": "/other"}).settings.data == Path("/other")


def test_another_file_can_be_named(data: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    write(data, "rows = 4\n")
    (tmp_path / "mine.toml").write_text("rows = 5\n")
    assert configure(environment | {"PHOTOGRAM_CONFIG": str(tmp_path / "mine.toml")}).settings.rows == 5
    with pytest.raises(SettingsError, match=r"PHOTOGRAM_CONFIG: there is no file .*no\.toml"):
        configure(environment | {"PHOTOGRAM_CONFIG": str(tmp_path / "no.toml")})


def test_child_processes_have_the_same_settings_after_the_file_changed(data: Path, environment: dict[str, str]) -> None:
    path = write(data, 'rows = 4\nllm = "off"\nfetch_private = true\n')
    found = configure(environment | {"PHOTOGRAM_LLM": "auto"})
    path.write_text("nonsense")
    again = configure(found.environment)
    assert again.settings == found.settings and again.settings.llm == "auto"
    assert found.environment["PHOTOGRAM_CONFIG"] == os.devnull


WRONG = {
    "unknown key": ("rows = 4\nrow = 5", "line 2: there is no setting 'row' (did you mean 'rows'"),
    "number": ("\n\nrows = -1", "line 3: rows must be a whole number of at least 0, not '-1'"),
    "truth for a number": ('max_queued = "many"', "line 1: max_queued must be a whole number"),
    "choice": ('backend = "openvinoo"', "backend must be one of auto, "),
    "near choice": ('backend = "openvinoo"', "not 'openvinoo' (did you mean 'openvino'"),
    "table": ("[rows]\nmany = 1", "line 1: rows must be text, a number, true, false or a list"),
    "time": ("rows = 2026-01-01", "line 1: rows must be text, a number"),
    "empty": ('device = ""', "line 1: device must be text, a number, true, false or a list of these, and not empty"),
    "list": ('hosts = ["a,b"]', "line 1: hosts must be"),
    "weak key": ('bootstrap_key = "aaaa"', "line 1: bootstrap_key must have at least 12 characters"),
    "data": ('data = "/x"', "line 1: data is given by --data or PHOTOGRAM_DATA"),
    "no TOML": ("rows 4", "at line 1"),
    "no text": ("\xff", "photogram.toml"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_the_file_is_named(data: Path, environment: dict[str, str], case: str) -> None:
    text, reason = WRONG[case]
    path = data / "photogram.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError) as refused:
        configure(environment)
    assert str(refused.value).startswith(str(path)) and reason in str(refused.value)
    assert "aaaa" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(data: Path, environment: dict[str, str]) -> None:
    (data / "photogram.toml").mkdir()
    with pytest.raises(SettingsError, match=r"photogram\.toml: .*Is a directory"):
        configure(environment)


def test_secrets_are_masked(environment: dict[str, str]) -> None:
    given = {"PHOTOGRAM_BOOTSTRAP_KEY": "test-key-123456", "REDIS_URL": "redis://me:s3cret@host/0"}
    found = configure(environment | given | {"PHOTOGRAM_HOSTS": "a.example,b.example"})
    assert found.shown("bootstrap_key") == "********"
    assert found.shown("redis_url") == "redis://********@host/0"
    assert (found.shown("hosts"), found.shown("llm_key"), found.shown("fetch_private")) == (
        "a.example,b.example", "-", "0",
    )  # fmt: skip


def test_what_is_given_and_no_default_has_changed(environment: dict[str, str]) -> None:
    found = configure(environment | {"PHOTOGRAM_LLM": "auto", "PHOTOGRAM_ROWS": "2"})
    assert set(found.changed) == {"data", "rows"}
