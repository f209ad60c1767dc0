"""The matrix of deployments: its cells, its table, and its place in the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.deploy.backends import BACKENDS
from models.deploy.exporting import Unexportable
from models.deploy.packaging import Target
from models.deploy.store import PackageStore
from scripts.deploy_matrix import BEGIN, END, PAGE, Row, all_targets, cell, replaced, table, told

F32 = Target("onnxruntime", "f32")


def manifest(**checks: Any) -> dict[str, Any]:
    usual = {"passed": True, "failures": [], "lowest_psnr_db": 87.04}
    profile = {"torch": {"images_per_s": {"4": 1.0}}, "deployed": {"images_per_s": {"4": 2.6}}}
    return {
        "checks": usual | checks,
        "profile": profile,
        "files": {"a": {"bytes": 150_000_000}, "b": {"bytes": 5_000_000}},
    }


def refusing(text: str) -> Any:
    def made(target: Target, store: PackageStore) -> Any:
        raise Unexportable(text)

    return made


def test_cells_say_what_came_of_it() -> None:
    assert told(manifest()) == "passed, 87 dB, 2.6x, 155 MB"
    assert told(manifest(lowest_psnr_db=None)) == "passed, equal, 2.6x, 155 MB"
    assert told(manifest(agreement={"cosine": 0.999994})) == "passed, cosine 0.99999, 2.6x, 155 MB"
    assert told(manifest(passed=False, failures=["unet: its outputs differ | much"])) == (
        "did not pass: unet: its outputs differ \\| much"
    )


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    store = PackageStore(tmp_path)
    assert cell(refusing("unet: no\noperator"), F32, store) == "refused: unet: no operator"
    assert cell(refusing(""), Target("onnxruntime", "fp16"), store).startswith("refused: onnxruntime cannot have fp16")
    assert len(cell(refusing("long " * 99), F32, store)) < 140


def test_every_precision_of_every_backend_is_a_row(tmp_path: Path) -> None:
    names = [target.name for target in all_targets()]
    assert {name.split("-")[0] for name in names} == set(BACKENDS) and "onnxruntime-bf16" in names
    written = table([Row("tiny", lambda folder: refusing("no operator"))], [F32]).splitlines()
    assert written == ["| Target | tiny |", "|---|---|", "| `onnxruntime-f32` | refused: no operator |"]


@pytest.mark.parametrize("before", ["", "| an old table |\n"])
def test_the_table_is_between_its_markers(before: str) -> None:
    page = f"# Heading\n\n{BEGIN}\n{before}{END}\n\nText\n"
    assert replaced(page, "| T |") == f"# Heading\n\n{BEGIN}\n\n| T |\n\n{END}\n\nText\n"
    assert all(PAGE.read_text(encoding="utf-8").count(each) == 1 for each in (BEGIN, END))
