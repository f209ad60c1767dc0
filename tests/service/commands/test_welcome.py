"""What ``photogram up`` tells at its start."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.backbone.configuration import configure
from service.commands.welcome import second_terminal, settings_lines

URL = "http://127.0.0.1:8000"


def test_only_settings_that_are_no_defaults_are_told(data: Path) -> None:
    environment = {"PHOTOGRAM_DATA": str(data), "PHOTOGRAM_LLM": "auto", "PHOTOGRAM_LLM_KEY": "s3cret"}
    assert list(settings_lines(configure(environment))) == [
        "settings that are no defaults:",
        f"    data = {data}  (PHOTOGRAM_DATA)",
        "    llm_key = ********  (PHOTOGRAM_LLM_KEY)",
    ]


@pytest.mark.parametrize(
    ("key", "is_created", "is_terminal", "shown"),
    [("abc", True, False, "abc"), ("abc", False, True, "abc"), ("abc", False, False, "YOUR-KEY"),
     (None, False, True, "YOUR-KEY")],
)  # fmt: skip
def test_the_second_terminal_gets_the_address_and_the_key(
    monkeypatch: pytest.MonkeyPatch, key: str | None, is_created: bool, is_terminal: bool, shown: str
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    lines = second_terminal(URL, key, is_created=is_created).splitlines()
    assert f"    export PHOTOGRAM_URL={URL}" in lines and f"    export PHOTOGRAM_API_KEY={shown}" in lines
