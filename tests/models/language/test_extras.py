"""Optional packages: without them everything can be imported, and the feature that needs one names its extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models.language import smollm2
from models.language.extras import ExtraMissing, require_extra
from models.language.rwkv.vocabulary import Vocabulary

ENTRY_POINTS = (
    "service.commands.config", "service.commands.gateway", "service.commands.llm", "service.commands.models",
    "service.commands.serving", "service.commands.up", "service.rwkv_server.__main__",
    "models.language.smollm2", "workers.__main__", "workers.process",
)  # fmt: skip


def test_every_program_can_be_imported_without_the_optional_packages() -> None:
    code = "import sys, importlib; sys.modules.update(rwkv=None, gguf=None)\n"
    code += f"for name in {ENTRY_POINTS!r}: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_rwkv_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rwkv", None)
    with pytest.raises(ExtraMissing, match=r"RWKV.* needs the package rwkv: pip install 'photogram-server\[rwkv\]'"):
        Vocabulary.world()


def test_a_conversion_without_its_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert smollm2.main([str(tmp_path / "small.gguf"), str(tmp_path / "models" / "small")]) == 1
    assert "pip install 'photogram-server[gguf]'" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_an_installed_package_is_accepted() -> None:
    require_extra("json", "this test")
