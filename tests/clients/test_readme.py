"""The README's Python runs."""

import re
from pathlib import Path

import pytest

from .wire_server import PNG, WireServer

README = Path(__file__).parents[2] / "clients/python/README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snippet: str):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, str(README), "exec"), {"__name__": "snippet"})
    assert all(path.read_bytes() == PNG for path in tmp_path.iterdir())


def test_there_are_snippets():
    assert len(SNIPPETS) == 3
