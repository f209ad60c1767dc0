"""The route that rewrites a prompt without drawing it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from models.catalog.catalog import Catalog
from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems, choice_problem, required_text_problem, text_problem, unknown_name
from models.jobs.params import PROMPT_MAX_CHARS, SEED_MAX
from models.jobs.prompts import PromptError, extract_loras, parse
from models.jobs.rewrite import APPLIED, Rewrite
from models.language.budget import budget_of
from models.language.profiles import PROFILES, profile_of
from models.language.rewriting import RewriteRequest
from service.api.auth import CurrentCaller
from service.api.bodies import read_body, require_json_type
from service.api.documentation import EVENT_STREAM, json_body, problems
from service.api.errors import ErrorCode
from service.api.native.views import RewriteView
from service.api.sse import EventResponse, frame, json_answer, while_connected
from service.api.state import Gateway, GatewayState

router = APIRouter(tags=["language"])

_CODES = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.MALFORMED_JSON,
    ErrorCode.INVALID_PARAMS,
    ErrorCode.LEDGER_UNAVAILABLE,
    ErrorCode.INTERNAL_ERROR,
)


class RewriteBody(BaseModel):
    """A prompt to rewrite."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    prompt: str = Field(
        min_length=1,
        max_length=PROMPT_MAX_CHARS,
        description="In any language; not only spaces. LoRA tags are kept, and come to stand behind it.",
    )
    model: str | None = Field(None, description="The image model it is for: a name or alias from `GET /v1/models`.")
    profile: str | None = Field(
        None, description=f"How to write: {', '.join(f'`{name}`' for name in PROFILES)}; the model's own if left out."
    )
    seed: Annotated[int, Field(ge=0, le=SEED_MAX)] | None = Field(
        None, description="The same seed gives the same words."
    )
    negative_prompt: bool | None = Field(None, description="Write a negative prompt too, if the model takes one.")
    stream: bool | None = Field(None, description="Answer by server-sent events.")


class TokensView(BaseModel):
    """How much of what the image model reads the revised prompt takes."""

    count: int
    limit: int
    counted: str = Field(description="`tokenizer`: by the model's own; `estimate`: by a rule of thumb.")


class RewrittenView(BaseModel):
    """What became of a prompt."""

    prompt: str
    revised_prompt: str = Field(description="What to draw: the prompt as it was, unless a rewrite was applied.")
    revised_negative_prompt: str | None
    profile: str
    rewrite: RewriteView
    tokens: TokensView


WIRE_MODELS = (RewriteBody,)
"""Bodies that the route reads itself, for the OpenAPI document."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A request, understood."""

    prompt: str
    tags: str
    """The LoRA tags, as they come to stand behind the revised prompt."""
    request: RewriteRequest

    def answer(self, rewrite: Rewrite) -> RewrittenView:
        """Blocking, for a tokenizer may have to count much."""
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
    summary="Have a prompt rewritten",
    openapi_extra=json_body(RewriteBody, {"prompt": "a fox in the snow", "seed": 42}),
    responses={
        200: {
            "model": RewrittenView,
            "description": "A prompt to draw, whatever became of it; with `stream`, events `delta` and `rewrite`.",
            "content": EVENT_STREAM,
        },
        **problems(*_CODES),
    },
    response_model=RewrittenView,
)
async def rewrite_prompt(request: Request, gateway: GatewayState, caller: CurrentCaller) -> Response:
    """Enrich a prompt as the image model likes it. The language engine's failures are told in `rewrite.status`."""
    require_json_type(request.headers)
    body = await read_body(request, RewriteBody)
    asked = await run_in_threadpool(_understand, body, gateway.catalog.current())
    if body.stream:
        return EventResponse(_events(gateway, asked))
    rewrite = await while_connected(request, gateway.rewriter.rewrite(asked.request))
    return json_answer((await run_in_threadpool(asked.answer, rewrite)).model_dump())


def _understand(body: RewriteBody, catalog: Catalog) -> _Asked:
    """Resolve names, and look at the prompt as a job would; blocking, for a tokenizer may have to be opened."""
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
    return _Asked(prompt=body.prompt, tags=" ".join(_tag(*lora) for lora in loras), request=request)


def _prompt_problem(prompt: str) -> Problem | None:
    """Why nobody could draw the prompt; ``None`` if it can be read."""
    try:
        text, _ = extract_loras(prompt)
        parse(text)
    except PromptError as error:
        return Problem(str(error), ProblemCode.MALFORMED)
    return text_problem(prompt) or required_text_problem(text)


def _tag(name: str, weight: float) -> str:
    return f"<lora:{name}:{Decimal(repr(weight)):f}>"  # without the exponents that tags do not have


async def _events(gateway: Gateway, asked: _Asked) -> AsyncGenerator[str, None]:
    async with aclosing(gateway.rewriter.stream(asked.request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, str):
                yield frame("delta", {"text": piece})
            else:
                answer: Any = await run_in_threadpool(asked.answer, piece)
                yield frame("rewrite", answer.model_dump())
