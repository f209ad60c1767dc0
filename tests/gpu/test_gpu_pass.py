"""The GPU pass, rehearsed on the CPU through its script: all checks run, and none fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu_pass.report import SAME, CannotReport, Entry, Outcome, Report
from benchmarks.gpu_pass.running import Check, run_all

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "gpu_pass.sh"
DTYPES = ("float32", "float16", "bfloat16")
COMPILED = ("opens", "agrees", "pads", "together")
NEW = {
    *(f"new/upscaling in tiles, {name}" for name in ("ESRGAN", "Compact", "SwinIR", "SCUNet")),
    "new/float32/upscaling beside rows", "new/float32/seeing beside rows",
    *(
        f"new/float32/{model}, offload {offload}{weights}"
        for model, weights in (
            ("tiny", ""), ("tiny-sdxl", ""), ("tiny-flux", ""), ("tiny", ", weights fp8"), ("tiny", ", weights int8"),
        )
        for offload in ("model", "sequential")
    ),
    *(f"new/float32/tiny, weights {weights}" for weights in ("fp8", "int8", "int4")),
    *(
        f"new/{dtype}/{model}, {title}"
        for dtype in DTYPES for model in ("tiny-sd3", "tiny-flux", "tiny-pixart") for title in ("alone", "together")
    ),
}  # fmt: skip
LAW = {
    *NEW,
    *(
        f"{model}/{dtype}/{check}"
        for model, dtypes in (("tiny", DTYPES), ("sd15", ("float32", "bfloat16")))
        for dtype in dtypes
        for check in (
            "comparisons are sensitive", "alone, guided", "alone, unguided", "alone, img2img", "together, guided",
            "together, mixed guidance", "together, img2img", "added late", "beside canceled rows",
            "same size and place: bitwise", "across batch sizes",
        )
    ),
    *(
        f"device/{dtype}/{check}"
        for dtype in ("float32", "float16")
        for check in (
            "side thread is used", "side thread under load", "previews", "a row that is NaN",
            "canceled on the device", "memory returns", "inpaint", "reused features", "tiny-house", "tiny-sdxl",
        )
    ),
    "memory/float16/a row that cannot fit", "memory/float16/a batch that cannot fit",
    *(f"compiled/{dtype}/{check}" for dtype in ("float32", "float16") for check in COMPILED),
    *(f"tiny/{dtype}/channels last: {check}" for dtype in DTYPES for check in ("layout", "agrees")),
}  # fmt: skip
BOTH = (
    "build", "forwards", "engine, 16 rows", "engine, 8 rows", "engine, 4 rows", "engine, 1 row", "plain, one by one",
    "plain, static batches of 8", "one job alone", "first step beside 15", "profile of steps, 16 rows",
    "engine, 16 rows, 70 % load",
)  # fmt: skip
SD15 = (
    "engine, calibrated", "engine, 16 rows, previews", "plain, batches of 8 equal jobs", "compiled forward of 8 images",
    "engine, 8 rows, compiled", "engine, 16 rows, compiled", "one job alone, compiled",
)  # fmt: skip
SPEED = {
    *(f"{model}/{check}" for model in ("sd15", "sdxl") for check in BOTH), *(f"sd15/{check}" for check in SD15),
    "sd15 float16/forwards", "sdxl/engine, 4 rows, compiled",
}  # fmt: skip
Rehearsals = dict[str, tuple[subprocess.Popen[bytes], Path]]
WAYS = ("engine, ", "plain, one", "plain, static")


def start(output: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the script with this Python in a new process group; its output goes to ``output``."""
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PHOTOGRAM_COMMIT": "abc1234"}
    with output.open("wb") as file:
        return subprocess.Popen(
            [SCRIPT, *arguments], env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


@pytest.fixture(scope="module")
def rehearsals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsals]:
    """Both rehearsals, running at the same time in separate folders."""
    folders = {stage: tmp_path_factory.mktemp(stage) for stage in ("law", "speed")}
    started = {
        stage: (start(folder / "output.txt", stage, "--rehearse", "--out", str(folder)), folder)
        for stage, folder in folders.items()
    }
    yield started
    for process, _ in started.values():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def report_of(rehearsals: Rehearsals, stage: str) -> dict[str, Any]:
    """Wait for a rehearsal to succeed and return its JSON report."""
    process, folder = rehearsals[stage]
    assert process.wait(timeout=280) == 0, (folder / "output.txt").read_text(encoding="utf-8")[-5000:]
    report: dict[str, Any] = json.loads((folder / f"{stage}.json").read_text(encoding="utf-8"))
    assert report["environment"].items() >= {"device": "CPU", "rehearsal": True, "commit": "abc1234"}.items()
    table = (folder / f"{stage}.md").read_text(encoding="utf-8")
    assert all(f"| {entry['name']} |" in table for entry in report["entries"])
    return report


def unexpected(entries: list[dict[str, Any]], *statuses: str) -> list[tuple[str, str, str]]:
    """The entries whose status is none of ``statuses``."""
    return [(each["name"], each["status"], each["detail"]) for each in entries if each["status"] not in statuses]


def texts(value: Any) -> Iterator[str]:
    """All strings in ``value``; the report writes numbers that are not finite as strings."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def test_the_law_holds_on_the_cpu(rehearsals: Rehearsals) -> None:
    entries = report_of(rehearsals, "law")["entries"]
    assert {each["name"] for each in entries} == LAW
    assert unexpected(entries, "pass", "figure") == []
    assert {each["name"] for each in entries if "/float32/" in each["name"] and each["status"] == "figure"} == set()
    assert all(each["figures"].get("goal_reached", True) for each in entries)
    assert not {"nan", "inf", "-inf"} & set(texts([each["figures"] for each in entries]))


def test_the_speed_is_measured(rehearsals: Rehearsals) -> None:
    entries = report_of(rehearsals, "speed")["entries"]
    assert {each["name"] for each in entries} == SPEED
    assert unexpected(entries, "figure") == []
    assert not list(texts([each["figures"] for each in entries]))
    ways = {each["name"]: each["figures"] for each in entries if each["name"].partition("/")[2].startswith(WAYS)}
    assert all(figures["images_per_s"] > 0 and 0 < figures["busy_share"] <= 1 for figures in ways.values()), ways
    between = [figures["between_forwards_ms"] for name, figures in ways.items() if "engine" in name]
    assert min(between) >= 0 and max(between) > 0, (
        "a slow machine has one forward in the time of some, and no time between"
    )


def one_check(run: Callable[[], Outcome], report: Report, budget_s: float = 60.0, cap_s: float = 60.0) -> Entry:
    """The entry of one check that is run here."""
    run_all([Check("one", run, cap_s)], report, budget_s, torch.device("cpu"))
    return report.entries[-1]


def test_a_resumed_stage_marks_the_crash_and_runs_the_next_check(tmp_path: Path) -> None:
    before = Report.open("law", tmp_path, {}, resume=False)
    before.spent_s = 12.0
    before.begin("the one that crashes")
    before.close()
    report = Report.open("law", tmp_path, {}, resume=True)
    assert one_check(lambda: Outcome(True), report).status == "pass"
    assert [(each.name, each.status) for each in report.entries] == [("the one that crashes", "crash"), ("one", "pass")]
    assert report.age_s > 12


def test_a_resumed_stage_runs_the_checks_that_were_skipped(tmp_path: Path) -> None:
    before = Report.open("law", tmp_path, {}, resume=False)
    assert one_check(lambda: Outcome(True), before, budget_s=0.5).status == "skipped"
    before.close()
    report = Report.open("law", tmp_path, {}, resume=True)
    assert [one_check(lambda: Outcome(True), report).status] == [each.status for each in report.entries] == ["pass"]


@pytest.mark.parametrize("fact", SAME)
def test_results_of_another_run_are_not_continued(tmp_path: Path, fact: str) -> None:
    before = Report.open("law", tmp_path, {fact: "one"}, resume=False)
    before.write()
    before.close()
    with pytest.raises(CannotReport, match=f"of another run \\({fact} one, now other\\)"):
        Report.open("law", tmp_path, {fact: "other"}, resume=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seconds": 1, "environment": {}, "entries": [{"x": 1}]}'])
def test_damaged_results_are_not_continued(tmp_path: Path, text: str) -> None:
    (tmp_path / "law.json").write_text(text)
    with pytest.raises(CannotReport, match="is damaged"):
        Report.open("law", tmp_path, {}, resume=True)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    first = Report.open("law", tmp_path, {}, resume=False)
    with pytest.raises(CannotReport, match="another process"):
        Report.open("law", tmp_path, {}, resume=True)
    first.close()
    Report.open("law", tmp_path, {}, resume=False).close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--budget", "0"), "0 is no number of seconds above 0"),
        (("--budget", "-5"), "-5 is no number of seconds above 0"),
        (("--only", "nothing like it"), "no check of law has 'nothing like it' in its name"),
        (("--out", __file__), "the results cannot be kept in"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: Sequence[str], said: str) -> None:
    output = tmp_path / "output.txt"
    process = start(output, "law", "--rehearse", "--out", str(tmp_path / "results"), *arguments)
    assert process.wait(timeout=120) == 2
    assert said in output.read_text(encoding="utf-8") and "Traceback" not in output.read_text(encoding="utf-8")


def test_failures_timeouts_and_skipped_checks_are_reported(tmp_path: Path) -> None:
    def fails() -> Outcome:
        raise ValueError("broken")

    def hangs() -> Outcome:
        with suppress(Exception):
            time.sleep(60)
        return Outcome(True)

    reports = [Report.open(name, tmp_path, {}, resume=False) for name in ("a", "b", "c")]
    assert "ValueError: broken" in one_check(fails, reports[0]).detail
    assert one_check(hangs, reports[1], cap_s=0.2).status == "timeout"
    assert one_check(hangs, reports[2], budget_s=0.5).status == "skipped"


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="there is a GPU here")
def test_without_a_gpu_the_script_says_so(tmp_path: Path) -> None:
    process = start(tmp_path / "output.txt", "law", "--out", str(tmp_path))
    assert process.wait(timeout=60) == 2
    assert "there is no CUDA device here" in (tmp_path / "output.txt").read_text(encoding="utf-8")
