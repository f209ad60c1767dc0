"""The image of the gateway: what it installs is enough, and none of the large packages of the workers is in it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.try_image import read_stages

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)

sys.meta_path.insert(0, Absent())
import models.provenance.reading, models.provenance.watermark, models.language.budget
from service.api.app import create_app
from service.backbone.settings import Settings
from service.commands import config, keys, models, serving, storage

create_app(Settings(redis_url="redis://localhost"))
"""


def modules_of_workers() -> list[str]:
    """The top-level modules that only the extra ``worker`` installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    worker, base = (
        {canonicalize_name(Requirement(text).name) for text in texts}
        for texts in (project["optional-dependencies"]["worker"], project["dependencies"])
    )
    assert "torch" in worker and not worker & base
    found = packages_distributions().items()
    return sorted(module for module, names in found if {canonicalize_name(name) for name in names} <= worker)


def test_a_gateway_needs_nothing_that_only_workers_install() -> None:
    modules = modules_of_workers()
    assert {"torch", "diffusers", "transformers"} <= set(modules)
    program = PROGRAM.format(modules=modules)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stderr


def test_the_targets_copy_files_that_exist_and_start_commands_that_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = project["entry-points"]["photogram.commands"]
    stages = read_stages()
    assert set(stages) == {"source", "gateway", "agent", "worker", "worker-cuda", "up"}
    for name, stage in stages.items():
        assert all((ROOT / source).exists() for source, _ in stage.copies) and stage.copies
        if name != "source":
            assert stage.command[0] == "photogram" and stage.command[1] in commands


@pytest.mark.parametrize("target", ["gateway", "agent", "worker", "worker-cuda", "up"])
def test_the_targets_install_extras_that_there_are_and_the_torch_of_the_lock(target: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    commands = read_stages()[target].pip_commands
    named = [
        Requirement(part.strip('"').replace(".[", "server[")) for part in " ".join(commands).split() if ".[" in part
    ]
    assert all(set(each.extras) <= set(extras) for each in named)
    is_worker = target not in ("gateway", "agent")
    assert bool(named) == is_worker
    pin = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    assert any(pin in command for command in commands) == is_worker
