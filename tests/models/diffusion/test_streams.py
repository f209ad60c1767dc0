"""Streams on CUDA, recorded without a GPU: who waits for whom, how often, and which tensors are kept for whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from models.catalog.catalog import Catalog
from models.diffusion import decoding
from models.diffusion.capacity import Capacity, Forward
from models.diffusion.denoising_work import DenoisingToImage
from models.diffusion.model_cache import ModelCache
from models.diffusion.prompt_inputs import PromptInputs
from models.diffusion.row import Row
from models.diffusion.side_work import SideWork
from models.diffusion.streams import CudaStreams, OneQueue, copied_to_host, tensors_in
from models.diffusion.timing import ForwardTimes
from models.diffusion.work import HostWork, LoadRequest, PlanEnd, Task
from models.errors import OutOfMemory
from models.jobs.params import Mask
from tests.models.diffusion import fake_cuda
from tests.models.diffusion.fake_cuda import FakeCuda
from tests.models.diffusion.rig import CPU, Studio, add_row, images, params, prepare, progress, run

_aten = torch.ops.aten
READS = {_aten._local_scalar_dense.default, _aten.nonzero.default, _aten.equal.default, _aten.masked_select.default}
"""Operations for which the host waits until the device has computed their input."""


class Reads(TorchDispatchMode):
    """Counts the operations of :data:`READS`."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in READS
        return func(*args, **kwargs or {})


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return fake_cuda.install(monkeypatch)


@pytest.fixture
def side_work() -> Iterator[tuple[SideWork, FakeCuda]]:
    cuda: Any = FakeCuda()
    models = ModelCache(CPU)
    work = SideWork(CudaStreams(cuda), models)
    yield work, cuda
    work.close()
    models.close()


def last_latents(studio: Studio, count: int) -> list[DenoisingToImage]:
    """Images that are to be decoded."""
    found = [prepare(studio, params(seed=seed)) for seed in range(count)]
    return [each for each in found if isinstance(each, DenoisingToImage)]


@pytest.mark.parametrize("together", [1, 3, 8])
@pytest.mark.parametrize("at_a_time", [2, 8])
def test_a_batch_of_images_is_decoded_with_one_copy_and_one_wait(
    tiny_sd: Studio, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, together: int, at_a_time: int
) -> None:
    monkeypatch.setattr(decoding, "DECODED_MAX_BYTES", at_a_time * 3 * 64 * 64 * 4)
    batch = last_latents(tiny_sd, together)
    reads_before_the_copy: list[int] = []

    def to_host(tensor: torch.Tensor) -> torch.Tensor:
        reads_before_the_copy.append(reads.count)
        return copied_to_host(tensor, cuda)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "to_host", to_host)
    with torch.inference_mode(), Reads() as reads:
        drawn = decoding.decode(batch)
    assert [each.size for each in drawn if isinstance(each, Image.Image)] == [(64, 64)] * together
    assert reads_before_the_copy == [0], "the device is waited for by nothing but the copy"
    assert (len(cuda.host_waits()), len(cuda.copies())) == (1, 1)


def test_images_are_those_of_the_pipelines_own_processor(tiny_sd: Studio) -> None:
    batch = last_latents(tiny_sd, 3)
    pipeline = tiny_sd.checkpoint.pipeline
    with torch.inference_mode():
        pixels = tiny_sd.checkpoint.family.decode(pipeline.vae, torch.cat([each.latents for each in batch]))
        expected = pipeline.image_processor.postprocess(pixels)
        assert [each.tobytes() for each in decoding.decode(batch)] == [each.tobytes() for each in expected]  # type: ignore[union-attr]


def test_nothing_waits_for_the_device_while_a_prompt_is_encoded(tiny_sd: Studio) -> None:
    checkpoint = tiny_sd.checkpoint
    inputs = prepare(tiny_sd, params()).conditioning
    with torch.inference_mode(), Reads() as reads:
        weighted = checkpoint.family.encode(
            checkpoint.pipeline, _inputs("a (cat:1.4) " + "of many words " * 80), (64, 64), CPU
        )
    assert reads.count == 0
    assert weighted.hidden_states.shape[1] > 2 * inputs.hidden_states.shape[1], "several chunks"


def _inputs(prompt: str) -> Any:
    return PromptInputs(prompts=(prompt,), negative_prompt="", guidance_scale=5.0, clip_skip=1, embeddings={})


def test_rows_are_drawn_alike_beside_side_work(tiny_sd: Studio, cuda: FakeCuda) -> None:
    engine = tiny_sd.engine(rows=2, preview_every=1)
    wanted = {str(seed): params(seed=seed, num_inference_steps=3) for seed in range(5)}
    for row_id, each in wanted.items():
        add_row(engine, row_id, each, tiny_sd.spec)
    drawn = images(run(engine, 5000))
    engine.close()
    assert max(tiny_sd.off_by(each, drawn[row_id]) for row_id, each in wanted.items()) <= 1


def test_decoding_follows_the_last_step_and_the_row_follows_its_encoding(tiny_sd: Studio, cuda: FakeCuda) -> None:
    engine = tiny_sd.engine(preview_every=0)
    cuda.calls.clear()
    add_row(engine, "row", params(num_inference_steps=1), tiny_sd.spec)
    run(engine, 5000)
    engine.close()
    assert not any(call[:2] == ("steps", "waits for") for call in cuda.calls), "the steps wait for nobody"
    last_step, _ = one(cuda, "side", "waits for")
    keeps = [n for n, call in enumerate(cuda.calls) if call[:2] == ("steps", "keeps")]
    encoded = next(n for n in range(keeps[-1], len(cuda.calls)) if cuda.calls[n][:2] == ("host", "waits for"))
    forward = next(n for n, call in enumerate(cuda.calls) if call[:2] == ("steps", "records"))
    assert keeps[-1] < encoded < forward < cuda.calls.index(("steps", "records", last_step))
    assert cuda.calls[encoded - 1] == ("side", "records", cuda.calls[encoded][2])
    _, place = one(cuda, "host", "pins")
    assert (
        cuda.calls.index(("steps", "records", last_step)) < cuda.calls.index(("side", "waits for", last_step)) < place
    )
    assert [call[:2] for call in cuda.calls[place + 1 : place + 3]] == [("side", "records"), ("host", "waits for")]


def one(cuda: FakeCuda, *call: str) -> tuple[str, int]:
    """The object of the only such call, and its place among all calls."""
    ((place, found),) = [(n, each) for n, each in enumerate(cuda.calls) if each[:2] == call]
    return found[2], place


def test_all_tensors_of_a_prepared_row_are_kept_for_the_steps(tiny_sd: Studio) -> None:
    source, mask = Image.new("RGB", (64, 64), "red"), Image.new("L", (64, 64), 255)
    wanted = params(image="a", mask=Mask(image="b"), strength=0.5)
    denoising = prepare(tiny_sd, wanted, kind="inpaint", images={"a": source, "b": mask})
    cuda: Any = FakeCuda()
    CudaStreams(cuda).hand_over(denoising)
    blend = denoising.blend
    assert blend is not None
    needed = [denoising.latents, denoising.conditioning.hidden_states, blend.mask, blend.original, blend.noise]
    assert {id(each) for each in needed} <= {id(each) for each in cuda.kept}
    assert len(cuda.host_waits()) == 1
    parameters = {id(each) for module in tiny_sd.checkpoint.modules for each in module.parameters()}
    assert not parameters & {id(each) for each in tensors_in(denoising)}, "weights are nobody's to hand over"


def plan_of(*requests: Any, seen: list[object]) -> Iterator[Any]:
    for request in requests:
        seen.append((yield request))
    return "result"


def resumed(side_work: SideWork, plan: Iterator[Any]) -> Row:
    row: Any = Row("row", None, plan)  # type: ignore[arg-type]
    side_work.prepare(row, None)
    found: Row = row
    return found


@pytest.mark.parametrize("is_long", [False, True])
def test_host_work_holds_up_no_encoding(side_work: tuple[SideWork, FakeCuda], is_long: bool) -> None:
    work, _ = side_work
    release, seen = threading.Event(), list[object]()
    slow = resumed(work, plan_of(HostWork(lambda: release.wait(30), is_long), seen=seen))
    asked = slow.pending.result(30)  # type: ignore[union-attr]
    assert isinstance(asked, HostWork)
    work.compute_on_host(slow, asked)
    quick = resumed(work, plan_of(LoadRequest("key", "name", lambda: None), seen=[]))
    assert isinstance(quick.pending.result(30), LoadRequest)  # type: ignore[union-attr]
    assert not slow.is_ready
    release.set()
    work.prepare(slow, slow.pending.result(30))  # type: ignore[union-attr]
    assert slow.pending.result(30) == PlanEnd("result") and seen == [True]  # type: ignore[union-attr]


def test_host_work_that_fails_says_so(side_work: tuple[SideWork, FakeCuda]) -> None:
    def fail() -> None:
        raise MemoryError

    row: Any = Row("row", None, plan_of(seen=[]))  # type: ignore[arg-type]
    side_work[0].compute_on_host(row, HostWork(fail))
    assert isinstance(row.pending.result(30), OutOfMemory)


def forward_of(inputs: int = 4) -> Forward:
    return Forward("key", inputs // 2, inputs)


class Recorded(Capacity):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, int]] = []

    def record(self, forward: Forward, seconds: float, parts: int) -> None:
        self.told.append((seconds, parts))


def test_forwards_are_timed_on_the_device_once_it_has_passed_them(side_work: tuple[SideWork, FakeCuda]) -> None:
    work, cuda = side_work
    capacity, forward = Recorded(), forward_of()
    times = ForwardTimes(work._streams, work, capacity)
    cuda.is_behind = True
    assert times.begin(forward) == 1
    times.end(forward, 1)
    assert capacity.told == [] and cuda.host_waits() == []
    cuda.is_behind = False
    times.begin(forward)
    assert capacity.told == [(0.25, 1)]


def test_a_forward_beside_side_work_is_neither_timed_nor_split(side_work: tuple[SideWork, FakeCuda]) -> None:
    work, _ = side_work
    capacity, forward, release = Recorded(), forward_of(), threading.Event()
    capacity.split_count = lambda forward: 4  # type: ignore[method-assign]
    times = ForwardTimes(work._streams, work, capacity)

    def decode() -> Sequence[object]:
        release.wait(30)
        return [None]

    future: Future[object] = Future()
    work.answer([future], decode)
    assert times.begin(forward) == 1, "it runs already"
    times.end(forward, 1)
    release.set()
    future.result(30)
    while work.is_computing:
        pass
    assert times.begin(forward) == 4
    work.answer([Future()], decode)
    times.end(forward, 4)
    assert capacity.told == [], "it began meanwhile"
    while work.is_computing:
        pass
    times.begin(forward)
    times.end(forward, 4)
    assert capacity.told == [(0.25, 4)]


def test_a_model_is_complete_before_it_is_used() -> None:
    cuda: Any = FakeCuda()
    cache = ModelCache(CPU, settle=CudaStreams(cuda).settle)
    assert cache.request(LoadRequest("model", "model", lambda: "loaded")).result() == "loaded"
    cache.close()
    assert cuda.host_waits() == [("host", "waits for", "event 1")]


def test_a_cpu_has_one_queue_and_measures_with_the_clock() -> None:
    streams = OneQueue()
    begin, end = streams.mark(), streams.mark()
    seconds = streams.elapsed_s(begin, end)
    assert seconds is not None and 0 <= seconds < 10


@pytest.mark.parametrize("is_watched", [True, False])
def test_previews_of_one_step_are_made_together_for_viewers_only(
    tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch, is_watched: bool
) -> None:
    made: list[int] = []
    studio = replace(tiny_sd, checkpoint=replace(tiny_sd.checkpoint))
    engine = studio.engine(preview_every=2)
    real = type(studio.checkpoint).preview

    def preview(checkpoint: Any, latents: torch.Tensor) -> list[Image.Image]:
        made.append(len(latents))
        return real(checkpoint, latents)

    monkeypatch.setattr(type(studio.checkpoint), "preview", preview)
    catalog_rows = {"watched": True, "also watched": True, "not watched": False}
    for row_id, wants in catalog_rows.items():
        task = Task(kind="txt2img", params=params(num_inference_steps=4),
                    catalog=Catalog({"tiny": tiny_sd.spec}), images={})  # fmt: skip
        engine.add_row(row_id, task, is_watched=lambda wants=wants: wants and is_watched)
    events = run(engine)
    assert made == ([2] if is_watched else [])
    shown = {row_id: [each.step for each in progress(events, row_id) if each.preview] for row_id in catalog_rows}
    assert shown == {row_id: [2] if wants and is_watched else [] for row_id, wants in catalog_rows.items()}


def test_a_preview_beside_the_steps_comes_with_a_later_one(tiny_sd: Studio, cuda: FakeCuda) -> None:
    engine = tiny_sd.engine(preview_every=2)
    add_row(engine, "row", params(num_inference_steps=40), tiny_sd.spec)
    shown = [each.step for each in progress(run(engine, 5000), "row") if each.preview]
    engine.close()
    assert shown and min(shown) >= 2
