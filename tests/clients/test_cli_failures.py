"""Failures of the machine and odd arguments: a line in plain words each, and an output that nobody reads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from photogram_cli.command import main
from photogram_cli.failures import told

from .wire_server import PNG, WireServer

SCRIPT = "import sys; from photogram_cli.command import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my pics ü").mkdir()
    (tmp_path / "empty.png").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "code", "line"),
    [
        (["edit", "oil", "missing.png"], 1, "missing.png: No such file or directory"),
        (["edit", "oil", "my pics ü"], 1, "my pics ü: Is a directory"),
        (["edit", "oil", "empty.png"], 2, "empty.png is empty, and no image"),
        (["edit", "oil", "/dev/zero"], 2, "/dev/zero is a device, and no file"),
        (["agent", "a brief", "--file", "/dev/zero"], 2, "/dev/zero is a device, and no file"),
        (["inpaint", "oil", "image:" + "0" * 36, "empty.png"], 2, "empty.png is empty, and no image"),
        (["assist", "oil", "--image", "missing.png"], 1, "missing.png: No such file or directory"),
        (["provenance", "verify", "my pics ü"], 1, "my pics ü: Is a directory"),
        (["embed", "image:1", "--save-to", "nodir"], 1, "nodir is no folder"),
        (["finetune", "--model", "m", "--save-to", "empty.png"], 1, "empty.png is no folder"),
        (["search", "oil", "--save-to", "nodir"], 1, "nodir is no folder"),
        (["batch", "missing.csv"], 1, "missing.csv: No such file or directory"),
        (["batch", "my pics ü"], 1, "my pics ü: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    server: WireServer, argv: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]
):
    assert main(argv) == code
    assert capsys.readouterr().err == f"photogram: {line}\n" and not server.requests


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (["generate", "\udcff"], "PROMPT"),
        (["generate", "a", "--negative-prompt", "b\udcff"], "--negative-prompt"),
        (["generate", "a", "--tag", "b", "--tag", "\udcff"], "--tag"),
        (["generate", "a", "--file-metadata", "a=\udcff"], "--file-metadata"),
        (["generate", "a", "--lora", "film,name=\udcff"], "--lora: name"),
        (["generate", "a", "-p", 'prompt="\\ud800"'], "-p/--param"),
        (["generate", "a", "-p", "mask.\udcff=1"], "-p/--param"),
        (["edit", "oil", "https://example.org/\udcff.png"], "IMAGE"),
        (["search", "--image", "image:\udcff"], "--image"),
        (["jobs", "delete", "\udcff"], "ID"),
        (["jobs", "list", "--url", "\udcff"], "--url"),
        (["keys", "create", "--model", "\udcff", "a"], "--model"),
        (["models", "add", "https://example.org/\udcff.safetensors"], "source"),
        (["up", "--host", "\udcff"], "--host"),
        (["worker", "--name", "\udcff"], "--name"),
    ],
)
def test_a_text_that_is_no_utf_8_is_refused_by_its_flag(
    server: WireServer, argv: list[str], flag: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    error = capsys.readouterr().err
    assert caught.value.code == 2 and not server.requests
    assert f"argument {flag}: must be text in UTF-8, and is " in error


def test_the_name_of_a_file_need_not_be_utf_8(server: WireServer, somewhere: Path, monkeypatch: pytest.MonkeyPatch):
    (somewhere / "in\udcff.png").write_bytes(PNG)
    (somewhere / "rows\udcff.csv").write_text("prompt\na cat\n")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as in the locale of most people
    for argv in (
        ["edit", "oil", "in\udcff.png", "-o", "out\udcff.png"],
        [
            "inpaint",
            "oil",
            "in\udcff.png",
            "in\udcff.png",
            "-p",
            "mask.blur_px=2",
            "-o",
            "out\udcff.png",
            "--overwrite",
            "--json",
        ],
        ["batch", "rows\udcff.csv", "--out", "batch\udcff"],
    ):
        done = subprocess.run([sys.executable, "-c", SCRIPT, *argv], capture_output=True)
        assert done.returncode == 0, done.stderr
    assert (somewhere / "out\udcff.png").read_bytes() == (somewhere / "batch\udcff/00001.png").read_bytes() == PNG


@pytest.mark.parametrize("argv", [["jobs", "list"], ["images"]])
@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5"])
def test_a_limit_is_a_whole_number_from_one(argv: list[str], limit: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main([*argv, f"--limit={limit}"])
    assert caught.value.code == 2 and "argument --limit" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["samplers"], ["samplers", "--json"], ["generate", "a cat", "-o", "-"]])
def test_an_output_that_nobody_reads_is_no_error_message(server: WireServer, argv: list[str]):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as output:
        done = subprocess.run([sys.executable, "-c", SCRIPT, *argv], stdout=output, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "Broken pipe" not in done.stderr and "photogram:" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(28, "No space left on device", "a.png"), "a.png: No space left on device"),
        (IsADirectoryError("x is a directory,\nnot a file"), "x is a directory, not a file"),
        (ValueError("no"), "no"),
    ],
)
def test_failures_are_told_without_numbers(error: Exception, text: str):
    assert told(error) == text
