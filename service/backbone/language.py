"""The language model as gateway and worker use it: one engine, one rewriter, made from the settings."""

from __future__ import annotations

from redis.asyncio import Redis

from models.language.client import LanguageEngine
from models.language.presets import PRESETS
from models.language.rewriting import Rewriter
from service.backbone.rewrite_cache import RedisRewriteCache
from service.backbone.settings import Settings

OFF = "off"


def open_engine(settings: Settings) -> LanguageEngine | None:
    """The language engine that the settings name; ``None`` if there is none, or it is off. The caller closes it."""
    if settings.llm == OFF or settings.llm_url is None:
        return None
    return LanguageEngine(settings.llm_url, model=settings.llm_model, key=settings.llm_key)


def open_rewriter(settings: Settings, engine: LanguageEngine | None, connection: Redis) -> Rewriter:
    """The rewriter over ``engine``, which remembers by ``connection``; both must belong to the running event loop."""
    preset, cache = PRESETS[settings.llm_preset], RedisRewriteCache(connection)
    return Rewriter(engine, preset, cache=cache, deadline_s=settings.llm_deadline_s)
