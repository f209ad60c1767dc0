"""How engines are started: the command lines, what their environment holds, and the program ``photogram llm``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.language.presets import PRESETS, SMOLLM2
from service.llm.command import own_engine_command, own_engine_environment

ROOT = Path(__file__).parents[3]
RECORDER = """#!{python}
import json, os, sys
print(json.dumps([sys.argv[1:], dict(os.environ)]))
"""


def llm(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.commands.llm", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    """A PATH whose ``vllm`` prints how it was called."""
    (program := tmp_path / "bin" / "vllm").parent.mkdir()
    program.write_text(RECORDER.format(python=sys.executable))
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def option(command: list[str], name: str) -> str:
    assert command.count(name) == 1
    return command[command.index(name) + 1]


def test_our_own_engine_listens_to_this_machine_alone() -> None:
    command = own_engine_command(Path("/venv/bin/python"), SMOLLM2, Path("/models/small"), 1234)
    assert command[:4] == ["nice", "-n", "5", "/venv/bin/python"]
    assert option(command, "--host") == "127.0.0.1" and option(command, "--port") == "1234"
    assert option(command, "--model") == "/models/small" and option(command, "--served-model-name") == SMOLLM2.name
    assert option(command, "--max-model-len") == "2048" and "--enforce-eager" in command
    assert option(command, "--distributed-executor-backend") == "uni"  # or two processes spin while they wait


def test_its_key_is_on_no_command_line_and_ours_are_not_told_it() -> None:
    given = {
        "PATH": "/bin",
        "REDIS_URL": "redis://secret",
        "PHOTOGRAM_BOOTSTRAP_KEY": "secret",
        "OMP_NUM_THREADS": "99",
    }
    environment = own_engine_environment(given, "the-key")
    assert environment["VLLM_API_KEY"] == "the-key" and "secret" not in str(environment)
    assert environment["PATH"] == "/bin" and environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert int(environment["OMP_NUM_THREADS"]) == max(1, (os.cpu_count() or 1) // 2)
    assert "the-key" not in str(own_engine_command(Path("python"), SMOLLM2, Path("model"), 1))


def test_the_presets_are_listed_with_licence_memory_and_limits() -> None:
    listed = llm("presets").stdout
    for preset in PRESETS.values():
        assert f"{preset.name}: " in listed and preset.licence in listed and preset.limits in listed
    assert "engine vllm, about 18 GiB, tools constrained, licence MIT" in listed


def test_a_preset_is_served_with_its_template_by_the_vllm_on_the_path(recorded: str) -> None:
    done = llm("serve", "zephyr-7b-beta", "--port", "1234", "--served-model-name", "it", PATH=recorded)
    command, environment = json.loads(done.stdout)
    assert command[:2] == ["serve", "HuggingFaceH4/zephyr-7b-beta"]
    assert option(command, "--port") == "1234" and option(command, "--served-model-name") == "it"
    assert option(command, "--host") == "127.0.0.1" and "--enforce-eager" not in command
    assert Path(option(command, "--chat-template")).read_text(encoding="utf-8")
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment


def test_a_folder_of_ones_own_is_served_instead(recorded: str, tmp_path: Path) -> None:
    command, _ = json.loads(llm("serve", "qwen2.5-7b-instruct", "--model", str(tmp_path), PATH=recorded).stdout)
    assert command[:2] == ["serve", str(tmp_path)] and option(command, "--tool-call-parser") == "hermes"
    assert option(command, "--served-model-name") == "qwen2.5-7b-instruct"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("serve", "rwkv-7-world"), 1, "needs --model, one of the .pth files of BlinkDL/rwkv-7-world"),
        (("serve", "generic"), 2, "invalid choice"),
        (("serve", "smollm2-135m"), 1, "the language model is not installed"),
        (("install",), 1, "prompt rewriting is off: PHOTOGRAM_LLM is off"),
        ((), 2, "COMMAND"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    arguments: tuple[str, ...], code: int, words: str, recorded: str, tmp_path: Path
) -> None:
    done = llm(*arguments, PATH=recorded, PHOTOGRAM_CACHE=str(tmp_path / "cache"), PHOTOGRAM_LLM="off")
    assert done.returncode == code and words in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
