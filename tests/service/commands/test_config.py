"""``photogram config show``: each setting, its value and its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.backbone.settings import Settings
from service.commands.config import main


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    return {line.split()[0]: line.split(maxsplit=2)[1:] for line in capsys.readouterr().out.splitlines()}


def test_each_setting_is_shown_with_its_origin(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "photogram.toml").write_text('\nrows = 3\nbootstrap_key = "test-key-123456"\n')
    monkeypatch.setenv("PHOTOGRAM_MAX_QUEUED", "5")
    assert main(["show", "--data", str(data)]) == 0
    lines = shown(capsys)
    assert {each.name for each in Settings.declared()} <= set(lines)
    assert lines["rows"] == ["3", f"{data}/photogram.toml, line 2"]
    assert lines["max_queued"] == ["5", "PHOTOGRAM_MAX_QUEUED"]
    assert lines["data"] == [str(data), "--data"]
    assert lines["record_ttl_s"] == ["604800", "default"]
    assert lines["bootstrap_key"] == ["********", f"{data}/photogram.toml, line 3"]


def test_an_error_takes_one_line(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "photogram.toml").write_text("rows = 'x'")
    assert main(["show", "--data", str(data)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"photogram config: {data}/photogram.toml, line 1: rows must be")
