"""Toy job kinds with plain functions, most of which run on a queue of their own; registered by toy_kinds.py."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Annotated, ClassVar

from PIL import ImageStat

from models.catalog.catalog import Catalog
from models.errors import DrawingFailed
from models.jobs.checks import Problems
from models.jobs.kinds import DIFFUSION_QUEUE, JobKind, ResultForm
from models.jobs.parameters import Parameter
from models.jobs.params import JobParams, JobRequest
from models.jobs.results import FileOutput, JobOutput, Json
from workers.functions import FunctionCall, JobFunction

QUEUE = "toys"


@dataclass(frozen=True, kw_only=True)
class ToyRequest(JobRequest):
    """A request for any of the toys."""

    text: Annotated[str, Parameter(text="Any text.")]
    image: Annotated[str | None, Parameter(text="An image.", source="image")] = None


@dataclass(frozen=True, kw_only=True)
class ToyParams(JobParams):
    """The parameters of any of the toys."""

    declaration: ClassVar[type[JobRequest]] = ToyRequest

    text: str
    image: str | None = None


def complete(request: ToyRequest, catalog: Catalog, problems: Problems) -> ToyParams:
    return ToyParams(text=request.text, image=request.image)


def describe(call: FunctionCall) -> JobOutput:
    """A document on the text and the image, and on what this process has imported."""
    params = call.params
    assert isinstance(params, ToyParams)
    call.report(1, 2)
    call.report(2, 2)
    image = None if params.image is None else call.images[params.image]
    return JobOutput(
        document={
            "letters": len(params.text),
            "brightness": None if image is None else ImageStat.Stat(image.convert("L")).mean,
            "heavy": [name for name in ("torch", "diffusers", "transformers") if name in sys.modules],
        }
    )


def write_files(call: FunctionCall) -> JobOutput:
    """Two files and no document."""
    assert isinstance(call.params, ToyParams)
    text = call.params.text.encode()
    return JobOutput(
        files=(FileOutput("a.txt", "text/plain", text), FileOutput("b.bin", "application/octet-stream", text * 2))
    )


def nested(depth: int) -> Json:
    document: Json = []
    for _ in range(depth):
        document = [document]
    return document


_FILE = FileOutput("a.txt", "text/plain", b"orphan")
WRONG_OUTPUTS = {
    "large": JobOutput(document="x" * (1 << 20)),
    "not json": JobOutput(document=float("nan"), files=(_FILE,)),
    "deep": JobOutput(document=nested(5000), files=(_FILE,)),
    "bad name": JobOutput(files=(_FILE, FileOutput("a\n", "text/plain", b"orphan"))),
}


FAILURES = {
    "refuse": DrawingFailed("the toy refuses"),
    "keep": DrawingFailed("the toy keeps its file", document={"toy": 1}, files=(_FILE,)),
    "keep what is no JSON": DrawingFailed("the toy fails", document=float("nan"), files=(_FILE,)),
    "keep a bad name": DrawingFailed("the toy fails", files=(_FILE, FileOutput("a\n", "text/plain", b"orphan"))),
}


def fail(call: FunctionCall) -> JobOutput:
    """Fails as the text says."""
    assert isinstance(call.params, ToyParams)
    match call.params.text:
        case "refuse" | "keep" | "keep what is no JSON" | "keep a bad name" as reason:
            raise FAILURES[reason]
        case "exit":
            sys.exit("the toy exits")
        case "memory":
            raise MemoryError
        case "half a step":
            call.report("0.5", 1)  # type: ignore[arg-type]
            raise AssertionError
        case "divide":
            raise ZeroDivisionError
        case output:
            return WRONG_OUTPUTS[output]


def wait(call: FunctionCall) -> JobOutput:
    """Counts its steps until it is canceled."""
    step = 0
    while True:
        call.raise_if_canceled()
        step += 1
        call.report(step, step + 1)
        time.sleep(0.02)


def hang(call: FunctionCall) -> JobOutput:
    """Ignores its cancellation for some seconds."""
    time.sleep(3)
    return JobOutput(document="late")


def die_once(call: FunctionCall) -> JobOutput:
    """Kills its process, unless a file says that it did so before."""
    assert isinstance(call.params, ToyParams)
    try:
        with open(call.params.text, "x"):
            os.kill(os.getpid(), signal.SIGKILL)
    except FileExistsError:
        return JobOutput(document="alive")
    raise AssertionError


def kind(function: JobFunction, result: ResultForm = ResultForm.DOCUMENT, **others: str) -> JobKind:
    return JobKind(
        name=others.get("name", function.__name__),
        summary=f"{function.__doc__}",
        request=ToyRequest,
        params=ToyParams,
        complete=complete,
        function=f"{__name__}:{function.__name__}",
        queue=others.get("queue", QUEUE),
        result=result,
        example={"text": "x"},
    )


KINDS = (
    kind(describe),
    kind(describe, name="describe_here", queue=DIFFUSION_QUEUE),
    kind(write_files, ResultForm.FILES),
    kind(fail),
    kind(wait),
    kind(hang),
    kind(die_once),
)
