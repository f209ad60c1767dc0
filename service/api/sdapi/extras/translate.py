"""From A1111's extras bodies to requests for upscaling and face restoration."""

from __future__ import annotations

from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems
from models.jobs.params import FaceRestoreRequest, UpscaleRequest
from service.api.sdapi.extras.schemas import ExtrasBody
from service.api.sdapi.extras.sources import scale_to
from service.api.state import Gateway

WIRE_NAMES = {"scale": "upscaling_resize", "upscaler": "upscaler_1", "kind": "gfpgan_visibility"}
"""A1111's names of fields, by parameter."""
_NONE = ("", "none")


def to_request(gateway: Gateway, body: ExtrasBody, source: str) -> UpscaleRequest | FaceRestoreRequest:
    """The request for the image ``source``. Blocking.

    Raises:
        InvalidTicket: the server cannot process such a request.
    """
    problems, has_upscaler = Problems(), body.upscaler_1.lower() not in _NONE
    _check(body, has_upscaler, problems)
    problems.raise_if_any()
    if not has_upscaler:
        return FaceRestoreRequest(image=source)
    scale = body.upscaling_resize
    if body.resize_mode == 1:
        scale = scale_to(gateway, source, (body.upscaling_resize_w, body.upscaling_resize_h))
    return UpscaleRequest(image=source, scale=scale, upscaler=body.upscaler_1)


def _check(body: ExtrasBody, has_upscaler: bool, problems: Problems) -> None:
    if body.codeformer_visibility:
        _note(problems, "codeformer_visibility", "not available: faces are restored by GFPGAN", ProblemCode.UNAVAILABLE)
    if body.gfpgan_visibility not in (0, 1):
        message = "must be 0 or 1: the restored image is not blended with the original"
        _note(problems, "gfpgan_visibility", message, ProblemCode.NOT_ALLOWED)
    if body.extras_upscaler_2_visibility and body.upscaler_2.lower() not in _NONE:
        message = "not available: only one upscaler can be used"
        _note(problems, "extras_upscaler_2_visibility", message, ProblemCode.UNAVAILABLE)
    if has_upscaler and body.gfpgan_visibility:
        message = "not available in the same call as an upscaler; make two calls"
        _note(problems, "gfpgan_visibility", message, ProblemCode.CONFLICT)
    if not has_upscaler and not body.gfpgan_visibility:
        message = "must name an upscaler unless gfpgan_visibility is 1: else there is nothing to do"
        _note(problems, "upscaler_1", message, ProblemCode.REQUIRED)


def _note(problems: Problems, field: str, message: str, code: ProblemCode) -> None:
    problems.note(field, Problem(message, code))
