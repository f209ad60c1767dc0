"""Chooses who plans an agent job: a template that fits its brief, or the language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.agent.choosing import Choice, choose, choose_by_rules
from models.agent.engine_chooser import EngineChooser
from models.agent.refusals import BriefRefused
from models.agent.templates import TEMPLATES
from models.catalog.catalog import HOUSE, Catalog
from models.errors import AgentFailed
from models.jobs.agents import LANGUAGE, TEMPLATE, AgentParams
from models.jobs.results import Json
from models.language.client import LanguageEngine
from models.language.presets import PRESETS
from service.backbone.settings import Settings
from workers.agent.seams import Planner
from workers.agent.steps import PLAN, RecordedSteps
from workers.agent.templated import TemplatePlanner

_DETAIL = "detail"
"""The slot that says whether prompts name one thing on a ground, or all that is told."""


async def open_planner(
    settings: Settings,
    catalog: Catalog,
    engine: LanguageEngine | None,
    params: AgentParams,
    steps: RecordedSteps,
    files: Mapping[str, str],
    tell: Callable[[Mapping[str, Json]], None],
) -> Planner:
    """The planner of a job.

    Raises:
        AgentFailed: no template fits the brief, and there is no language model that plans.
    """
    names = sorted(files)

    async def chosen() -> Json:
        try:
            return (await _choice(settings, engine, params.brief, names)).to_payload()
        except BriefRefused as error:
            return {"refused": str(error)}

    if params.planner != LANGUAGE:
        found: Any = await steps.step("choice", PLAN, {"brief": params.brief, "files": [*names]}, chosen)
        if "refused" not in found:
            choice = Choice.from_payload(found)
            tell({"event": "template", "template": choice.template, "slots": choice.slots})
            return TemplatePlanner(TEMPLATES[choice.template], _detailed(choice, params, catalog), names, params.seed)
        if params.planner == TEMPLATE or not _plans(settings, engine):
            raise AgentFailed(found["refused"], field="brief")
    if engine is None or not _plans(settings, engine):
        raise AgentFailed(
            "there is no language model here that plans: PHOTOGRAM_LLM_URL must name one that calls tools",
            field="planner",
        )
    return _free_planner(settings, engine, steps)


async def _choice(settings: Settings, engine: LanguageEngine | None, brief: str, files: Sequence[str]) -> Choice:
    """The template of a brief; a language model, if there is one, chooses where the rules leave something open."""
    if engine is None:
        return choose_by_rules(brief, files)
    return await choose(brief, files, EngineChooser(engine, has_grammar=PRESETS[settings.llm_preset].has_grammar))


def _free_planner(settings: Settings, engine: LanguageEngine, steps: RecordedSteps) -> Planner:
    try:  # pydantic-ai takes half a second and memory that jobs with a template do not need
        from workers.agent.thinking.engine_model import EngineModel
        from workers.agent.thinking.planner import FreePlanner
    except ModuleNotFoundError as error:
        message = "this worker cannot let a language model plan: it needs the extra photogram-server[agent]"
        raise AgentFailed(message, field="planner") from error
    model = EngineModel(engine, PRESETS[settings.llm_preset], timeout_s=settings.agent_answer_timeout_s)
    return FreePlanner(model, steps)


def _plans(settings: Settings, engine: LanguageEngine | None) -> bool:
    """Whether the language model can plan: small ones only choose."""
    return engine is not None and not PRESETS[settings.llm_preset].is_small


def _detailed(choice: Choice, params: AgentParams, catalog: Catalog) -> dict[str, Json]:
    """The slots, with prompts that tell everything where another model than the built-in one draws."""
    model = catalog.resolve(params.model)
    has_detail = _DETAIL in TEMPLATES[choice.template].slots.model_fields
    if not has_detail or model is None or model.name == HOUSE:
        return choice.slots
    return {**choice.slots, _DETAIL: "scene"}
