"""The lock file: every direct dependency is in it, within its range, and so is everything those install."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OURS = {"photogram", "photogram-discord", "photogram-mcp", "photogram-runtime", "photogram-server"}
TRAINING = "train"
"""The extra that `make` does not install."""
OF_CUDA = ("nvidia-", "cuda-", "triton")
"""Beginnings of the packages that torch requires on machines with a GPU only."""


def locked() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def direct(*, with_training: bool) -> list[Requirement]:
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    clients = [tomllib.loads(path.read_text())["project"] for path in ROOT.glob("clients/*/pyproject.toml")]
    extras = server["optional-dependencies"]
    optional = [text for name, texts in extras.items() for text in texts if with_training or name != TRAINING]
    of_clients = [text for client in clients for text in client["dependencies"]]
    found = map(Requirement, [*server["dependencies"], *of_clients, *optional])
    return [each for each in found if canonicalize_name(each.name) not in OURS]


def required(requirement: Requirement) -> Iterator[Requirement]:
    """What the installed distribution requires on this machine, with the extras that ``requirement`` names."""
    for text in requires(requirement.name) or ():
        each = Requirement(text)
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            yield each


def closure() -> dict[str, Requirement]:
    """All direct and indirect requirements that apply on this machine, by name and extras."""
    found: dict[str, Requirement] = {}
    left = [each for each in direct(with_training=False) if each.marker is None or each.marker.evaluate()]
    while left:
        each = left.pop()
        key = f"{canonicalize_name(each.name)} {sorted(each.extras)}"
        if key not in found:
            found[key] = each
            left.extend(required(each))
    return found


def test_every_direct_dependency_is_locked_to_a_version_of_its_range() -> None:
    pins = locked()
    missing = [each.name for each in direct(with_training=True) if canonicalize_name(each.name) not in pins]
    assert missing == []
    outside = [
        str(each) for each in direct(with_training=True) if pins[canonicalize_name(each.name)] not in each.specifier
    ]
    assert outside == []


def test_everything_installed_for_them_is_locked_to_the_installed_version() -> None:
    pins = locked()
    installed = {canonicalize_name(each.name) for each in closure().values()} | {"spandrel"}
    wrong = {}
    for name in installed:
        found = version(name).partition("+")[0]  # without the build of torch, such as +cpu
        if pins.get(name) != found and not name.startswith(OF_CUDA):
            wrong[name] = (pins.get(name), found)
    assert wrong == {}
