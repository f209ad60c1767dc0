"""A row whose model is not on the machine: it is told how far the download is, and then drawn."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.catalog.catalog import Catalog, ModelSpec
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.events import Failed, Finished, Loading
from models.diffusion.work import Task
from tests.loopback_hub import LoopbackHub
from tests.models.diffusion.rig import CPU, params, run
from tests.models.downloads.conftest import hub, tiny_folder

__all__ = ["hub", "tiny_folder"]


def drawn(spec: ModelSpec) -> list[object]:
    engine = Engine(partial(load_checkpoint, device=CPU))
    try:
        task = Task(kind="txt2img", params=params(model="tiny"), catalog=Catalog({"tiny": spec}), images={})
        engine.add_row("a", task)
        return list(run(engine))
    finally:
        engine.close()


def test_a_row_is_told_the_bytes_and_then_drawn(hub: LoopbackHub, tiny_folder: Path) -> None:
    added = hub.add("someone/tiny", tiny_folder)
    hub.faults.pause_s = 0.001
    events = drawn(ModelSpec(name="tiny", family="stable-diffusion", repository="someone/tiny", revision=added.commit))
    loading = [event for event in events if isinstance(event, Loading)]
    assert loading[0] == Loading("a", "model tiny", 0, None)
    assert any(isinstance(event, Finished) for event in events)


def test_a_row_fails_with_what_to_do(hub: LoopbackHub, tiny_folder: Path) -> None:
    hub.add("someone/tiny", tiny_folder, is_gated=True)
    events = drawn(ModelSpec(name="tiny", family="stable-diffusion", repository="someone/tiny"))
    failed = [event for event in events if isinstance(event, Failed)]
    assert len(failed) == 1 and "is gated: ask for access" in str(failed[0].failure)
