"""Deployed models in the client."""

import importlib
import sys
import tomllib
from pathlib import Path

import photogram_runtime
import pytest

ROOT = Path(__file__).parents[2]


def test_the_names_are_those_of_the_runtime():
    deployed = importlib.import_module("photogram.deployed")
    assert set(deployed.__all__) == set(photogram_runtime.__all__) - {"SAMPLERS"}
    assert all(getattr(deployed, name) is getattr(photogram_runtime, name) for name in deployed.__all__)


def test_without_the_runtime_the_error_tells_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "photogram_runtime", None)
    monkeypatch.delitem(sys.modules, "photogram.deployed", raising=False)
    with pytest.raises(ImportError, match=r'pip install "photogram\[deployed\]"'):
        importlib.import_module("photogram.deployed")


def test_the_extra_is_the_version_that_is_here():
    client, runtime = (
        tomllib.loads((ROOT / f"clients/{name}/pyproject.toml").read_text())["project"]
        for name in ("python", "runtime")
    )
    assert client["optional-dependencies"]["deployed"] == [f"photogram-runtime[onnxruntime]=={runtime['version']}"]
