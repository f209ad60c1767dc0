"""The route that rewrites a prompt without generating an image."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from models.catalog.catalog import Catalog
from models.catalog.names import unknown_name
from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems, choice_problem, required_text_problem, text_problem
from models.jobs.composition import check_composition
from models.jobs.params import PROMPT_MAX_CHARS, SEED_MAX
from models.jobs.prompts import LoraTag, PromptError, extract_loras
from models.jobs.rewrite import APPLIED, Rewrite
from models.language.budget import budget_of
from models.language.profiles import PROFILES, profile_of
from models.language.rewriting import RewriteRequest
from service.api.auth import Submitter
from service.api.bodies import read_body, require_json_type
from service.api.documentation import EVENT_STREAM, json_body
from service.api.native.errors import SENDING_JSON
from service.api.native.schemas import RewriteView
from service.api.responses import json_response
from service.api.sse import EventResponse, frame, stopping_frame, while_connected
from service.api.state import Gateway, GatewayState
from service.api.validation import StrictBody

router = APIRouter(tags=["language"])


class RewriteBody(StrictBody):
    """A prompt to rewrite."""

    prompt: str = Field(
        min_length=1,
        max_length=PROMPT_MAX_CHARS,
        description="In any language; not only spaces. LoRA tags are kept and moved to the end.",
    )
    model: str | None = Field(
        None, description="The image model that the prompt is for: a name or alias from `GET /v1/models`."
    )
    profile: str | None = Field(
        None,
        description=f"The style of writing: {', '.join(f'`{name}`' for name in PROFILES)}. If left out: the one that "
        "suits the model.",
    )
    seed: Annotated[int, Field(ge=0, le=SEED_MAX)] | None = Field(
        None, description="Requests with the same seed give the same text."
    )
    negative_prompt: bool | None = Field(
        None, description="Whether to write a negative prompt too; only for models that take one."
    )
    stream: bool | None = Field(None, description="Whether to answer with server-sent events.")


class TokensView(BaseModel):
    """The length of the revised prompt, compared with what the image model reads."""

    count: int
    limit: int
    counted: str = Field(description="`tokenizer`: counted with the model's tokenizer; `estimate`: estimated.")


class RewrittenView(BaseModel):
    """A prompt and the outcome of rewriting it."""

    prompt: str
    revised_prompt: str = Field(description="The rewritten prompt, or `prompt` if the rewrite was not applied.")
    revised_negative_prompt: str | None
    profile: str
    rewrite: RewriteView
    tokens: TokensView


OPENAPI_MODELS = (RewriteBody,)


@dataclass(frozen=True, kw_only=True)
class _PromptRewrite:
    """A checked request of the route."""

    prompt: str
    tags: str
    """The LoRA tags of the prompt, which are appended to the revised prompt."""
    request: RewriteRequest

    def answer(self, rewrite: Rewrite) -> RewrittenView:
        """The answer for the outcome ``rewrite``. Blocking: a tokenizer counts the tokens."""
        text = rewrite.revised_prompt if rewrite.status == APPLIED else None
        revised = " ".join(filter(None, (text, self.tags))) if text else self.prompt
        budget = self.request.budget
        return RewrittenView(
            prompt=self.prompt,
            revised_prompt=revised,
            revised_negative_prompt=rewrite.revised_negative_prompt,
            profile=self.request.profile.name,
            rewrite=RewriteView(**rewrite.to_payload()),
            tokens=TokensView(count=budget.count(revised), limit=budget.limit, counted=budget.counted),
        )


@router.post(
    "/v1/prompts/rewrite",
    operation_id="rewritePrompt",
    summary="Rewrite a prompt",
    openapi_extra=json_body(RewriteBody, {"prompt": "a fox in the snow", "seed": 42}),
    responses={
        200: {
            "model": RewrittenView,
            "description": "A prompt that can be used, whether rewritten or not; with `stream`, events `delta` and "
            "`rewrite`.",
            "content": EVENT_STREAM,
        },
        **SENDING_JSON,
    },
    response_model=RewrittenView,
)
async def rewrite_prompt(request: Request, gateway: GatewayState, caller: Submitter) -> Response:
    """Have the language model extend a prompt with details. If it fails, `rewrite.status` and `reason` say why."""
    require_json_type(request.headers)
    body = await read_body(request, RewriteBody)
    checked = await run_in_threadpool(_check, body, gateway.catalog.current())
    if body.stream:
        return EventResponse(_events(gateway, checked), ending=stopping_frame(request))
    rewrite = await while_connected(request, gateway.rewriter.rewrite(checked.request))
    return json_response((await run_in_threadpool(checked.answer, rewrite)).model_dump())


def _check(body: RewriteBody, catalog: Catalog) -> _PromptRewrite:
    """``body`` with its names resolved and its prompt checked as a job would check it.

    Blocking: it may open a tokenizer.
    """
    spec = catalog.resolve(body.model)
    problems = Problems()
    problems.note("prompt", _prompt_problem(body.prompt))
    problems.note("model", unknown_name("model", str(body.model), catalog) if spec is None else None)
    problems.note("profile", None if body.profile is None else choice_problem(body.profile, PROFILES))
    problems.raise_if_any()
    assert spec is not None
    text, loras = extract_loras(body.prompt)
    request = RewriteRequest(
        prompt=text.strip(),
        profile=PROFILES[body.profile] if body.profile else profile_of(spec),
        seed=body.seed,
        budget=budget_of(spec),
        wants_negative=bool(body.negative_prompt) and spec.takes_negative_prompt,
    )
    return _PromptRewrite(prompt=body.prompt, tags=" ".join(map(_tag, loras)), request=request)


def _prompt_problem(prompt: str) -> Problem | None:
    """A problem unless a job could use ``prompt``."""
    try:
        text, _ = extract_loras(prompt)
        check_composition(text)
    except PromptError as error:
        return Problem(str(error), ProblemCode.MALFORMED)
    return text_problem(prompt) or required_text_problem(text)


def _tag(lora: LoraTag) -> str:
    weights = [weight for weight in (lora.text_encoder_weight, lora.weight) if weight is not None]
    return f"<lora:{lora.name}:{':'.join(f'{Decimal(repr(weight)):f}' for weight in weights)}>"  # no exponents


async def _events(gateway: Gateway, checked: _PromptRewrite) -> AsyncGenerator[str, None]:
    async with aclosing(gateway.rewriter.stream(checked.request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, str):
                yield frame("delta", {"text": piece})
            else:
                answer: Any = await run_in_threadpool(checked.answer, piece)
                yield frame("rewrite", answer.model_dump())
