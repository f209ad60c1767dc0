"""What the client may import, and what it offers."""

import subprocess
import sys
import tomllib
from pathlib import Path

import photogram
import photogram_cli

ROOT = Path(__file__).parents[2]

FOREIGN = {
    "fastapi",
    "starlette",
    "uvicorn",
    "redis",
    "rq",
    "torch",
    "diffusers",
    "PIL",
    "service",
    "workers",
    "models",
}


def modules_after(statement: str) -> set[str]:
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_nothing_of_the_server_is_imported():
    commands = ", ".join(f"photogram_cli.{path.stem}" for path in Path(photogram_cli.__file__).parent.glob("*.py"))
    assert not modules_after(f"import photogram, photogram.progress, {commands}") & FOREIGN


def test_the_distribution_needs_httpx2_and_rich_alone():
    needed = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]["dependencies"]
    assert {requirement.partition(">")[0] for requirement in needed} == {"httpx2", "rich"}


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    assert photogram.__version__ == project["version"]


def test_every_public_name_is_exported():
    public = {name for name, value in vars(photogram).items() if name[0] != "_" and not hasattr(value, "__path__")}
    modules = {name for name in public if type(getattr(photogram, name)) is type(sys)}
    internal = {"TYPE_CHECKING", "SHARED", "default_client"}
    assert (public - modules - internal) | {"__version__", *photogram.SHARED} == set(photogram.__all__)
    assert photogram.__all__ == sorted(photogram.__all__)


def test_help_imports_neither_the_client_nor_rich():
    assert not modules_after("import photogram_cli.command, photogram_cli.parser") & {"photogram", "httpx2", "rich"}
