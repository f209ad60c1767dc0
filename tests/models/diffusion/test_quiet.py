"""Libraries say nothing in normal output: not when a checkpoint is loaded, and not when one is downloaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.loopback_hub import serving_hub
from tests.tiny import build_tiny_sd

IMPORTED_BEFORE = """
import transformers.utils.logging, diffusers.utils.logging
transformers.utils.logging.get_logger("transformers"), diffusers.utils.logging.get_logger("diffusers")
from models.diffusion.quiet import silence_libraries
silence_libraries()
from transformers import CLIPImageProcessor
CLIPImageProcessor()
diffusers.utils.logging.get_logger("diffusers.x").warning("a notice")
diffusers.utils.logging.get_logger("diffusers.x").error("an error, which is raised too")
transformers.utils.logging.get_logger("transformers.x").error("another one")
"""
DOWNLOAD = """
import sys
from models.catalog.catalog import ModelSpec
from models.downloads.download import download
from models.downloads.hub import index_of, look_up
from models.downloads.progress import Progress
from service.backbone.logs import configure_logging
configure_logging("worker")
found = look_up("a/b")
index_of(found)
download(ModelSpec(name="b", family="stable-diffusion", repository="a/b", revision=found.commit), Progress())
"""


def said(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")} | variables
    done = subprocess.run(
        [sys.executable, "-c", f"import models\n{code}"], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def test_libraries_that_were_imported_before_are_silenced_too() -> None:
    assert said(IMPORTED_BEFORE) == ""


def test_a_download_of_the_hub_writes_no_lines_of_libraries(tmp_path: Path) -> None:
    with serving_hub() as hub:
        hub.add("a/b", build_tiny_sd(tmp_path / "tiny"))
        assert said(DOWNLOAD, **hub.environment(tmp_path / "cache")) == ""
