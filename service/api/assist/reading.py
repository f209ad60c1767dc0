"""From a client's words to what is put before the language model; images are stored and checked on the way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.errors import FieldProblem, InvalidTicket, Problem
from models.jobs.checks import required_text_problem
from models.jobs.params import UPSCALE, JobRequest, UpscaleRequest
from models.jobs.sources import source_problem, sources_of
from service.api.assist.instructions import CHANGE, IMAGES
from service.api.assist.proposals import Job, Wish
from service.api.assist.tools import CREATE, EDIT, ENLARGE, image_name, job_fields
from service.api.assist.wire import CHANGED_KINDS, AssistBody
from service.api.native.schemas import JobEnvelope
from service.api.native.translate import parse_job
from service.api.state import Gateway

_TOOL_OF = {TXT2IMG: CREATE, IMG2IMG: EDIT, INPAINT: EDIT, UPSCALE: ENLARGE}
_SHOWN_MAX_CHARS = 1000


def read_wish(gateway: Gateway, body: AssistBody, our_url: str) -> Wish:
    """What the client gave beside the words; blocking.

    Raises:
        InvalidTicket: the message says nothing, or an image cannot be used.
    """
    problem = required_text_problem(body.message)
    if problem is not None:
        raise InvalidTicket([FieldProblem.of("message", problem)])
    images = [
        _taken(gateway, UpscaleRequest(image=source), our_url, {"image": f"images[{index}]"}).image
        for index, source in enumerate(body.images or ())
    ]
    job = None if body.job is None else _job(gateway, parse_job(body.job, CHANGED_KINDS, "job."), our_url)
    of_job = None if job is None else job["params"].get("image")
    if of_job is not None and of_job not in images:
        images.append(of_job)
    return Wish(catalog=gateway.catalog.current(), images=tuple(images), job=job)


def _job(gateway: Gateway, given: JobEnvelope, our_url: str) -> Job:
    """The job to change in the wire's words, its images stored."""
    job: Job = {"kind": given.kind, "params": given.params.model_dump(exclude_none=True)}
    taken = _taken(gateway, given.to_request(), our_url, {})
    for field, source in sources_of(taken):
        _put(job["params"], field, source)
    return job


def _taken(gateway: Gateway, request: JobRequest, our_url: str, names: dict[str, str]) -> Any:
    """``request`` with its images stored; ``names`` are what fields are called in problems."""
    try:
        taken = gateway.jobs.take_in(request, our_url)
        found = [FieldProblem.of(field, problem) for field, problem in _source_problems(taken)]
    except InvalidTicket as error:
        found = list(error.problems)
        taken = request
    if found:
        raise InvalidTicket([each.renamed(names.get(each.field, f"job.params.{each.field}")) for each in found])
    return taken


def _source_problems(request: JobRequest) -> Iterator[tuple[str, Problem]]:
    for field, source in sources_of(request):
        problem = source_problem(source)
        if problem is not None:
            yield field, problem


def _put(params: dict[str, Any], field: str, source: str) -> None:
    """Put ``source`` into the place that ``field`` names, as ``controls[1].image``."""
    found = re.fullmatch(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?", field)
    assert found is not None
    place, index, inner = found.groups()
    if inner is None:
        params[place] = source
    else:
        (params[place] if index is None else params[place][int(index)])[inner] = source


def user_message(message: str, wish: Wish) -> str:
    """All that the language model is told by the user: the words, the images, and the job to change."""
    parts = [message]
    if wish.images:
        parts.append(f"{IMAGES} {', '.join(map(image_name, range(len(wish.images))))}")
    if wish.job is not None:
        parts.append(f"{CHANGE} {json.dumps(_shown(wish.job, wish), ensure_ascii=False)}")
    return "\n\n".join(parts)


def _shown(job: Job, wish: Wish) -> dict[str, Any]:
    """``job`` as the call that would have proposed it; what no call can say is left out, and kept all the same."""
    tool = _TOOL_OF[job["kind"]]
    arguments = {field: _shortened(job["params"][field]) for field in job_fields(tool) if field in job["params"]}
    if "image" in arguments:
        arguments["image"] = image_name(wish.images.index(job["params"]["image"]))
    return {"tool": tool, "arguments": arguments}


def _shortened(value: Any) -> Any:
    """What a context has room for; whatever no call changes stays whole in the job."""
    return f"{value[:_SHOWN_MAX_CHARS]} ..." if isinstance(value, str) and len(value) > _SHOWN_MAX_CHARS else value
