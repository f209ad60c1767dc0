"""The README's Python runs."""

import re
import shutil
from pathlib import Path

import pytest
from photogram_runtime import Deployed
from photogram_runtime.package import read_manifest, write_manifest

README = Path(__file__).parents[3] / "clients/runtime/README.md"


def test_the_snippet_runs(
    folders: dict[str, Path],
    seeing: Deployed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folders["house"], "house")
    manifest = read_manifest(Path("house"))
    write_manifest(Path("house"), manifest | {"drawing": manifest["drawing"] | {"width": 64, "height": 64}})
    shutil.copytree(seeing.package.folder, "eyes")
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(snippet, str(README), "exec"), {"__name__": "snippet"})
    told = capsys.readouterr().out
    assert "12 of 12\nwidth must be a multiple of 8 px, not 100; 96 is one\n" in told
    assert Path("apple.png").stat().st_size > 1000
