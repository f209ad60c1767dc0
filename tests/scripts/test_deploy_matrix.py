"""The matrix of deployments: its cells, its table, and its place in the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import scripts.deploy_matrix_results
from models.catalog.vision import VisionSpec
from models.deploy.backends import BACKENDS, REFUSED
from models.deploy.exporting import Unexportable
from models.deploy.making import Recorded
from models.deploy.packaging import Target
from models.deploy.vision import record_vision
from models.vision.model import load_vision_model
from scripts.deploy_matrix import BEGIN, END, PAGE, Row, all_rows, all_targets, cell, fill, replaced, table, told
from scripts.deploy_matrix_results import Results
from tests.models.vision.rig import save

F32 = Target("onnxruntime", "f32")
TINY = "tiny"


def manifest(**checks: Any) -> dict[str, Any]:
    usual = {"passed": True, "failures": [], "lowest_psnr_db": 87.04}
    profile = {"torch": {"images_per_s": {"4": 1.0}}, "deployed": {"images_per_s": {"4": 2.6}}}
    return {
        "checks": usual | checks,
        "profile": profile,
        "files": {"a": {"bytes": 150_000_000}, "b": {"bytes": 5_000_000}},
    }


def refusing(text: str) -> Row:
    def recorded(folder: Path, target: Target) -> Recorded:
        raise Unexportable(text)

    return Row(TINY, recorded)


def seeing(folder: Path, target: Target) -> Recorded:
    spec = VisionSpec(name="tiny", folder=save("test_resnet", folder / "model"))
    return record_vision(load_vision_model(spec, torch.device("cpu")), lambda progress: None)


def test_cells_say_what_came_of_it() -> None:
    assert cell(manifest(), False) == "passed, 87 dB, 2.6x, 155 MB"
    assert cell(manifest(), True) == "passed, 87 dB, 155 MB", "the speed of a tiny copy says nothing"
    assert cell(manifest(lowest_psnr_db=None), False) == "passed, equal, 2.6x, 155 MB"
    assert cell(manifest(agreement={"cosine": 0.999994}), False) == "passed, cosine 0.99999, 2.6x, 155 MB"
    assert cell(manifest(ran=False, passed=False), False) == "recipe only (not run here)"
    failed = manifest(passed=False, failures=["unet: its outputs differ | much"])
    assert cell(failed, False) == "did not pass: unet: its outputs differ \\| much"
    assert cell(failed, True) == "did not pass: unet: its outputs differ \\| much (its weights are random)"


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    results = Results(tmp_path / "matrix.json")
    fill(refusing("unet: no\noperator"), [F32, Target("onnxruntime", "fp16")], results)
    assert results.text(TINY, F32.name) == "refused: unet: no operator"
    assert results.text(TINY, "onnxruntime-fp16").startswith("refused: onnxruntime cannot have fp16")
    assert len(told(refusing(""), Unexportable("long " * 99))) < 140


def test_cells_are_on_the_disk_when_a_run_breaks_off(tmp_path: Path) -> None:
    file = tmp_path / "matrix.json"
    fill(Row(TINY, seeing, is_random=True), [F32, Target("openvino", "w9")], Results(file))
    found = Results(file)
    assert found.text(TINY, F32.name).startswith("passed, cosine 1.0") and "x," not in found.text(TINY, F32.name)
    assert found.text(TINY, "openvino-w9") == (
        f"refused: openvino has no precision 'w9'; it has {', '.join(BACKENDS['openvino'].precisions)}"
    )
    assert any(each.startswith("onnxruntime ") for each in found.versions())


def test_cells_are_current_for_the_code_and_the_versions_that_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = ["abc1234"]
    monkeypatch.setattr(scripts.deploy_matrix_results, "commit", lambda: commits[-1])
    Results(tmp_path / "matrix.json").put(TINY, F32.name, "passed")

    def is_current(target: str = F32.name) -> bool:
        return Results(tmp_path / "matrix.json").is_current(TINY, target)

    assert is_current() and not is_current("openvino-f32")
    monkeypatch.setattr(scripts.deploy_matrix_results, "VERSIONS", ("torch",))
    assert not is_current()
    monkeypatch.undo()
    monkeypatch.setattr(scripts.deploy_matrix_results, "commit", lambda: "abc1234+")
    Results(tmp_path / "matrix.json").put(TINY, F32.name, "passed")
    assert not is_current(), "what is not committed may have changed since"


def test_every_precision_of_every_backend_is_a_line_of_the_table(tmp_path: Path) -> None:
    names = [target.name for target in all_targets()]
    assert {name.split("-")[0] for name in names} == {*BACKENDS, *REFUSED} and "onnxruntime-bf16" in names
    results = Results(tmp_path / "matrix.json")
    results.put(all_rows()[0].title, names[0], "passed")
    head, rule, *lines = table(results).splitlines()
    assert head.startswith("| Target | stable-diffusion (tiny) |") and rule.count("|") == head.count("|")
    assert lines[0].startswith(f"| `{names[0]}` | passed | not run |") and len(lines) == len(names) + 2
    assert lines[-1].startswith("Made with diffusers ")


@pytest.mark.parametrize("before", ["", "| an old table |\n"])
def test_the_table_is_between_its_markers(before: str) -> None:
    page = f"# Heading\n\n{BEGIN}\n{before}{END}\n\nText\n"
    assert replaced(page, "| T |") == f"# Heading\n\n{BEGIN}\n\n| T |\n\n{END}\n\nText\n"
    assert all(PAGE.read_text(encoding="utf-8").count(each) == 1 for each in (BEGIN, END))
