"""Every snippet of README.md and docs/ is executed against one server, or marked with the reason why it is not.

Snippets of one page and one language run in their order in one program. An answer in JSON has the keys that the answer
to the shell snippet before it has; a job in JSON is submitted. Each line of a snippet of the language ``text`` is in
the output of the shell snippet before it.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from models.catalog.catalog import Catalog
from models.catalog.vision import EYES
from service.backbone.configuration import configure
from tests.docs.conftest import Rig, make_images
from tests.docs.fences import Fence, fences
from tests.docs.model_files import make_model_files
from tests.e2e.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXECUTED = ("sh", "python", "json", "toml", "text")
MARKER = "--- the next snippet ---"


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def pages_with(*languages: str) -> list[Path]:
    return [page for page in PAGES if any(to_run(page, *languages))]


def to_run(page: Path, *languages: str) -> list[Fence]:
    return [fence for fence in fences(page) if fence.language in languages and fence.mark != "not executed"]


@pytest.mark.parametrize("page", [page for page in PAGES if "```" in page.read_text(encoding="utf-8")], ids=named)
def test_every_snippet_is_executed_or_marked(page: Path) -> None:
    found = fences(page)
    text = page.read_text(encoding="utf-8")
    assert 2 * len(found) == sum(line.lstrip().startswith("```") for line in text.splitlines())
    assert len([fence for fence in found if fence.mark]) == text.count("<!-- not executed") + text.count("<!-- refused")
    for fence in found:
        assert fence.mark == "not executed" or fence.language in EXECUTED, f"line {fence.line}: mark it with a reason"


@pytest.mark.timeout(900)  # docs/models.md has a dozen commands that import torch, to compare what they add
@pytest.mark.parametrize("page", pages_with("sh"), ids=named)
def test_shell_snippets_run(rig: Rig, tmp_path: Path, page: Path) -> None:
    make_images(tmp_path)
    make_model_files(tmp_path)
    (tmp_path / "data").mkdir()
    snippets = shell_snippets(page)
    done = rig.run(["bash", "-c", rig.translate("\n".join(map(guarded, snippets)))], tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    outputs = done.stdout.split(f"{MARKER}\n")[1:]
    for fence, answer in answers_to(page, dict(zip(snippets, outputs, strict=True))):
        if fence.language == "text":
            assert all(line in answer for line in rig.translate(fence.text).splitlines()), (
                f"line {fence.line}: {answer}"
            )
            continue
        assert json.loads(fence.text).keys() == json.loads(answer).keys(), f"line {fence.line}"


def shell_snippets(page: Path) -> list[Fence]:
    """The page's own, after those of the page that defines the function ``post``."""
    own = to_run(page, "sh")
    if not any(fence.text.startswith("post ") for fence in own) or page.name == "native-api.md":
        return own
    return [to_run(ROOT / "docs/native-api.md", "sh")[0], *own]


def guarded(fence: Fence) -> str:
    """The snippet, which ends the program where it fails, or where it does not fail but should."""
    begin = f"exec 2>&1\necho '{MARKER}'\nset -eo pipefail\n"
    if fence.mark != "refused":
        return begin + fence.text
    return f"{begin}set +e\n{fence.text}\n[ $? -ne 0 ] || {{ echo 'line {fence.line} is not refused'; exit 1; }}"


def answers_to(page: Path, outputs: dict[Fence, str]) -> list[tuple[Fence, str]]:
    """The page's answers in JSON and its outputs, each with the output of the shell snippet before it."""
    found, last = [], None
    for fence in fences(page):
        last = fence if fence in outputs else last
        if fence.mark != "not executed" and is_output(fence):
            assert last is not None, f"line {fence.line} answers no snippet"
            found.append((fence, outputs[last]))
    return found


def is_output(fence: Fence) -> bool:
    return fence.language == "text" or (fence.language == "json" and not is_job(fence))


def is_job(fence: Fence) -> bool:
    return "kind" in json.loads(fence.text)


@pytest.mark.parametrize("page", pages_with("python"), ids=named)
def test_python_snippets_run(rig: Rig, tmp_path: Path, page: Path) -> None:
    make_images(tmp_path)
    (tmp_path / "page.py").write_text(rig.translate("\n".join(fence.text for fence in to_run(page, "python"))))
    done = rig.run([sys.executable, "-c", "import page"], tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


SEEING = ("classify", "embed", "similarity", "describe_model")
JOBS = [(page, fence) for page in PAGES for fence in to_run(page, "json") if is_job(fence)]


@pytest.mark.parametrize(
    "fence", [fence for _, fence in JOBS], ids=[f"{named(page)}:{each.line}" for page, each in JOBS]
)
def test_jobs_in_json_are_generated(rig: Rig, fence: Fence) -> None:
    job = json.loads(rig.translate(fence.text))
    if job["params"].get("model") != EYES:
        job["params"] |= {"model": "tiny" if job["kind"] in SEEING else "sd15"}
    submitted = rig.post("jobs", job)
    with rig.stack.client() as client:
        assert client.jobs.wait(submitted["id"], timeout_s=60).status == "succeeded"


@pytest.mark.parametrize("page", pages_with("toml"), ids=named)
def test_catalogs_and_settings_are_read(tmp_path: Path, page: Path) -> None:
    for fence in to_run(page, "toml"):
        if is_catalog(tomllib.loads(fence.text)):
            Catalog.parse(fence.text, tmp_path / "catalog.toml")
        else:
            (tmp_path / "photogram.toml").write_text(fence.text)
            configure({"PHOTOGRAM_DATA": str(tmp_path)})


def is_catalog(table: dict[str, object]) -> bool:
    return any(isinstance(value, dict) for value in table.values())
