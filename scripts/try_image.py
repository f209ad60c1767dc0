"""Runs what docker/Dockerfile does for one target, without Docker: ``python scripts/try_image.py TARGET FOLDER``.

The files that the target copies go into FOLDER, its pip commands run in a fresh virtual environment there, and, with
``--start``, its command runs until its health check passes. It prints the time and the size of each part.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
START_S = 180.0


@dataclass
class Stage:
    """What one target does, and what the targets do that it begins from."""

    copies: list[tuple[str, str]] = field(default_factory=list)
    """Source, relative to the root of the repository, and place, relative to the working folder."""
    runs: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    @property
    def pip_commands(self) -> list[str]:
        """The commands of all RUN instructions that install packages."""
        return [each.strip() for run in self.runs for each in run.split("&&") if each.strip().startswith("pip ")]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile, with its lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


def read_stages(path: Path = DOCKERFILE) -> Mapping[str, Stage]:
    """The targets of a Dockerfile by name."""
    stages: dict[str, Stage] = {}
    stage = Stage()
    for name, rest in instructions(path.read_text()):
        if name == "FROM":
            base, _, target = rest.partition(" AS ")
            stage = stages[target] = _copy_of(stages.get(base, Stage()))
        elif name == "COPY":
            *sources, place = rest.split()
            stage.copies += [(source, place) for source in sources]
        elif name == "RUN":
            stage.runs.append(rest)
        elif name == "ENV":
            stage.variables |= dict(pair.split("=", 1) for pair in rest.split())
        elif name == "CMD":
            stage.command = json.loads(rest)
        elif name == "HEALTHCHECK":
            stage.health = json.loads(rest.partition("CMD ")[2])
    return stages


def _copy_of(stage: Stage) -> Stage:
    return Stage([*stage.copies], [*stage.runs], dict(stage.variables), stage.command, stage.health)


def install(stage: Stage, folder: Path) -> Path:
    """Copy the files and run the pip commands; returns the folder of the environment's programs."""
    for source, place in stage.copies:
        target = folder / place / Path(source).name if place.endswith("/") else folder / place
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / source, target)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs = folder / "venv" / "bin"
    for command in stage.pip_commands:
        began_at = time.monotonic()
        subprocess.run(
            command, shell=True, check=True, cwd=folder, env=_environment(programs), stdout=subprocess.DEVNULL
        )
        print(f"{time.monotonic() - began_at:.0f} s: {command}", flush=True)
    print(f"{_bytes(folder / 'venv') / 1e6:.0f} MB of packages, {_bytes(folder) / 1e6:.0f} MB in all", flush=True)
    return programs


def start(stage: Stage, programs: Path, data: Path) -> None:
    """Run the command until the health check passes, and stop it."""
    variables = _environment(programs) | stage.variables | {"PHOTOGRAM_DATA": str(data)}
    began_at = time.monotonic()
    with subprocess.Popen(stage.command, env=variables, cwd=data.parent) as process:
        try:
            while subprocess.run(stage.health, env=variables, capture_output=True, check=False).returncode:
                if process.poll() is not None or time.monotonic() - began_at > START_S:
                    raise SystemExit("its health check never passed")
                time.sleep(0.2)
            print(f"healthy after {time.monotonic() - began_at:.1f} s: {' '.join(stage.command)}", flush=True)
        finally:
            process.terminate()


def _environment(programs: Path) -> dict[str, str]:
    return os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def main() -> None:
    """Install one target, and start it if asked to."""
    stages = read_stages()
    parser = argparse.ArgumentParser(description="Run what docker/Dockerfile does for one target, without Docker.")
    parser.add_argument("target", choices=sorted(stages))
    parser.add_argument("folder", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--start", action="store_true", help="run its command until its health check passes")
    options = parser.parse_args()
    stage = stages[options.target]
    if options.start and not stage.health:
        parser.error(f"{options.target} has no health check that could tell whether it runs: leave --start out")
    options.folder.mkdir(parents=True)
    programs = install(stage, options.folder)
    if options.start:
        start(stage, programs, options.folder / "data")


if __name__ == "__main__":
    main()
