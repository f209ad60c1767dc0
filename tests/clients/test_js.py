"""The JavaScript client: its types are those of the API, it builds, and it works against the real service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.js_types import CLIENT, TYPES, types
from tests.e2e.conftest import CATALOG, KEY, Stack
from tests.node_packages import installed
from tests.tiny import build_tiny_sd


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's folder, built."""
    modules = installed(CLIENT)
    folder = tmp_path_factory.mktemp("js") / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (folder / "node_modules").symlink_to(modules)
    done = subprocess.run([modules / ".bin" / "tsc"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return folder


def node_tests(package: Path, name: str, **variables: str) -> None:
    command, environment = ["node", "--test", f"test/{name}.test.js"], os.environ | variables
    done = subprocess.run(
        command, cwd=package, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "# pass 0" not in done.stdout, done.stdout


def test_the_types_are_those_of_the_api(package: Path) -> None:
    assert TYPES.read_text() == types(package), "run: python scripts/js_types.py"


def test_it_copes_with_answers_of_every_sort(package: Path) -> None:
    node_tests(package, "wire")


def test_it_works_against_the_real_service(package: Path, tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "tiny")
    (tmp_path / "catalog.toml").write_text(CATALOG.format(folder=folder))
    stack = Stack(tmp_path)
    try:
        assert stack.ready, stack.errors
        variables = {"PHOTOGRAM_URL": stack.url, "PHOTOGRAM_API_KEY": KEY}
        node_tests(package, "server", **variables)
        assert "lighthouse.png" in readme_snippets(package, variables)
    finally:
        stack.close()


def readme_snippets(package: Path, variables: dict[str, str]) -> set[str]:
    """Run the JavaScript of the README; returns the names of the files that are there afterwards."""
    for number, snippet in enumerate(re.findall(r"```js\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)):
        script = package / f"snippet{number}.mjs"
        script.write_text(snippet)
        subprocess.run(["node", script], cwd=package, env=os.environ | variables, check=True, timeout=60)
    return {path.name for path in package.iterdir()}


def test_it_has_no_dependencies(package: Path) -> None:
    imported = {
        line.split('"')[1] for built in (package / "dist").glob("*.js")
        for line in built.read_text().splitlines() if line.startswith(("import ", "export ")) and ' from "' in line
    }  # fmt: skip
    assert imported
    assert all(name.startswith("./") for name in imported), imported
