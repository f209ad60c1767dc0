"""From the body to the context of the conversation, with its images stored, and to the user's message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.errors import FieldProblem, InvalidTicket, Problem, ProblemCode
from models.jobs.checks import required_text_problem
from models.jobs.params import UPSCALE, JobRequest, UpscaleRequest
from models.jobs.sources import source_problem, sources_of
from service.api.assist.instructions import CHANGE, IMAGES
from service.api.assist.proposals import AssistRequest, Job
from service.api.assist.schemas import CHANGED_KINDS, AssistBody
from service.api.assist.tools import CREATE, EDIT, ENLARGE, image_name, job_fields
from service.api.errors import invalid_field
from service.api.job_bodies import JobEnvelope, parse_job
from service.api.state import Gateway

_TOOL_OF = {TXT2IMG: CREATE, IMG2IMG: EDIT, INPAINT: EDIT, UPSCALE: ENLARGE}
_SHOWN_MAX_CHARS = 1000


def to_assist_request(gateway: Gateway, body: AssistBody, our_url: str) -> AssistRequest:
    """The context of the conversation, with its images stored and checked. Blocking.

    Raises:
        InvalidTicket: the message is empty, the job is invalid, or an image cannot be used.
    """
    problem = required_text_problem(body.message)
    if problem is not None:
        raise InvalidTicket([FieldProblem.of("message", problem)])
    images = [
        _stored(gateway, UpscaleRequest(image=source), our_url, {"image": f"images[{index}]"}).image
        for index, source in enumerate(body.images or ())
    ]
    job = None if body.job is None else _job(gateway, parse_job(body.job, CHANGED_KINDS, "job."), our_url)
    of_job = None if job is None else job["params"].get("image")
    if of_job is not None and of_job not in images:
        images.append(of_job)
    return AssistRequest(catalog=gateway.catalog.current(), images=tuple(images), job=job)


def _job(gateway: Gateway, given: JobEnvelope, our_url: str) -> Job:
    """The job to change as a body, with its images stored."""
    if given.webhook is not None:
        raise invalid_field("job.webhook", "has no effect on a job that is not submitted", ProblemCode.NOT_APPLICABLE)
    job: Job = {"kind": given.kind, "params": given.params.model_dump(exclude_none=True)}
    stored = _stored(gateway, given.to_request(), our_url, {})
    for field, source, _ in sources_of(stored):
        _put(job["params"], field, source)
    return job


def _stored(gateway: Gateway, request: JobRequest, our_url: str, names: dict[str, str]) -> Any:
    """``request`` with its images stored.

    Args:
        names: the names of fields in problems, by parameter; else they begin with ``job.params``.
    """
    try:
        stored = gateway.jobs.take_in(request, our_url)
        found = [FieldProblem.of(field, problem) for field, problem in _source_problems(stored)]
    except InvalidTicket as error:
        found = list(error.problems)
        stored = request
    if found:
        raise InvalidTicket([each.renamed(names.get(each.field, f"job.params.{each.field}")) for each in found])
    return stored


def _source_problems(request: JobRequest) -> Iterator[tuple[str, Problem]]:
    for field, source, role in sources_of(request):
        problem = source_problem(source, role)
        if problem is not None:
            yield field, problem


def _put(params: dict[str, Any], field: str, source: str) -> None:
    """Set the value at the path ``field``, such as ``controls[1].image``, to ``source``."""
    found = re.fullmatch(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?", field)
    assert found is not None
    place, index, inner = found.groups()
    if inner is None:
        params[place] = source
    else:
        (params[place] if index is None else params[place][int(index)])[inner] = source


def user_message(message: str, context: AssistRequest) -> str:
    """The user's message to the language model: the text, the names of the images, and the job to change."""
    parts = [message]
    if context.images:
        parts.append(f"{IMAGES} {', '.join(map(image_name, range(len(context.images))))}")
    if context.job is not None:
        parts.append(f"{CHANGE} {json.dumps(_shown(context.job, context), ensure_ascii=False)}")
    return "\n\n".join(parts)


def _shown(job: Job, context: AssistRequest) -> dict[str, Any]:
    """``job`` as a tool call. Parameters that no tool has are left out here; the changed job keeps them."""
    tool = _TOOL_OF[job["kind"]]
    arguments = {field: _shortened(job["params"][field]) for field in job_fields(tool) if field in job["params"]}
    if "image" in arguments:
        arguments["image"] = image_name(context.images.index(job["params"]["image"]))
    return {"tool": tool, "arguments": arguments}


def _shortened(value: Any) -> Any:
    """``value`` cut off to fit the context; the changed job keeps the whole text unless a call replaces it."""
    return f"{value[:_SHOWN_MAX_CHARS]} ..." if isinstance(value, str) and len(value) > _SHOWN_MAX_CHARS else value
