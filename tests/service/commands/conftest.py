"""What several commands are tested with."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def offline(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands act on the folder ``data``, and no server runs."""
    monkeypatch.setenv("PHOTOGRAM_DATA", str(data))
    monkeypatch.delenv("REDIS_URL", raising=False)
