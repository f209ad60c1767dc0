"""Commands of other distributions: found by entry point, imported only when chosen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from photogram_cli import installed
from photogram_cli.command import main

ENTRY_POINTS = """[photogram.commands]
paint = extra_commands:paint
generate = extra_commands:paint
broken = extra_commands_missing:main
"""
MODULE = """print("imported")
def paint(argv):
    print("paint with", argv)
    return 7
"""


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    """A place on the path where a distribution with commands is installed."""
    info = tmp_path / "extra-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "extra_commands.py").write_text(MODULE)
    return tmp_path


def run(place: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    script = "import sys; from photogram_cli.command import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *sys.path])}
    return subprocess.run([sys.executable, "-c", script, *argv], env=environment, capture_output=True, text=True)


def test_a_found_command_gets_the_rest_of_the_arguments(extra: Path):
    done = run(extra, "paint", "--port", "1", "--help")
    assert (done.returncode, done.stdout) == (7, "imported\npaint with ['--port', '1', '--help']\n")


def test_help_lists_own_and_found_commands_and_imports_none(extra: Path):
    done = run(extra, "--help")
    assert done.returncode == 0 and "imported" not in done.stdout
    for line in ("generate generate an image", "samplers list", "paint from extra"):
        assert line in " ".join(done.stdout.split())


def test_own_commands_come_first(extra: Path):
    done = run(extra, "generate")
    assert done.returncode == 2 and "PROMPT" in done.stderr


def test_a_command_that_cannot_be_loaded(extra: Path):
    done = run(extra, "broken")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "No module named 'extra_commands_missing'" in done.stderr


@pytest.mark.parametrize("name", ["up", "worker", "gateway", "llm"])
def test_without_the_server(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(installed, "entry_points", lambda group: ())
    assert main([name, "list"]) == 2
    assert "photogram-server" in capsys.readouterr().err


def test_help_without_the_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(installed, "entry_points", lambda group: ())
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "photogram-server adds the commands: up, gateway, worker, llm, storage, deploy, vision." in " ".join(
        capsys.readouterr().out.split()
    )
