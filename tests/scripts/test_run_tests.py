"""The script that runs the tests in parts: no test is left out, and a failure is one of the whole run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import run_tests


def test_each_test_file_belongs_to_one_part() -> None:
    paths = {Path(each) for part in run_tests.parts() for each in part}
    for file in run_tests.TESTS.rglob("test_*.py"):
        assert len({file, *file.parents} & paths) == 1, file


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("bad", 1)])
def test_a_failure_in_either_part_fails_the_run(name: str, code: int, tmp_path: Path) -> None:
    run = (
        "import sys; from pathlib import Path; from scripts import run_tests;"
        f"folder = Path({str(tmp_path)!r}); run_tests.parts = lambda: [[str(folder / 'test_fine.py')],"
        f" [str(folder / 'test_{name}.py')]];"
        "sys.exit(run_tests.main(['-p', 'no:cacheprovider', '-c', str(folder / 'empty.ini')]))"
    )
    (tmp_path / "empty.ini").write_text("[pytest]\n")
    (tmp_path / "test_fine.py").write_text("def test_fine(): pass\n")
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_bad(): assert False\n")
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", run], cwd=root, capture_output=True, text=True, timeout=120)
    assert ended.returncode == code, ended.stdout
    assert ended.stdout.count("1 passed") == 2 - code and ended.stdout.count("1 failed") == code


def test_the_failures_of_all_parts_are_said_last(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    parts = []
    for name in ("first", "second", "fine"):
        (tmp_path / f"test_{name}.py").write_text(f"def test_{name}(): assert {name == 'fine'}, 'ERROR is no test'\n")
        parts.append([str(tmp_path / f"test_{name}.py")])
    (tmp_path / "empty.ini").write_text("[pytest]\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_tests, "parts", lambda: parts)
        assert run_tests.main(["-p", "no:cacheprovider", "-c", str(tmp_path / "empty.ini")]) == 1
    last = capfdbinary.readouterr().out.decode().partition("Failed tests of all parts:\n")[2].splitlines()
    assert len(last) == 2 and all(line.startswith("FAILED ") for line in last)
    assert "test_first" in last[0] and "test_second" in last[1]
