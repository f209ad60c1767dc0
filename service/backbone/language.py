"""The language engine and the prompt rewriter, as the settings describe them."""

from __future__ import annotations

from redis.asyncio import Redis

from models.language.client import LanguageEngine
from models.language.presets import PRESETS
from models.language.rewriting import Rewriter
from service.backbone.rewrite_cache import RedisRewriteCache
from service.backbone.settings import Settings

OFF = "off"


def open_engine(settings: Settings) -> LanguageEngine | None:
    """A client of the language engine, or ``None`` if there is none or it is off; the caller closes it."""
    if settings.llm == OFF or settings.llm_url is None:
        return None
    return LanguageEngine(settings.llm_url, model=settings.llm_model, key=settings.llm_key)


def open_rewriter(settings: Settings, engine: LanguageEngine | None, connection: Redis) -> Rewriter:
    """A rewriter with its cache on ``connection``; engine and connection must belong to the running event loop."""
    preset, cache = PRESETS[settings.llm_preset], RedisRewriteCache(connection)
    return Rewriter(engine, preset, cache=cache, deadline_s=settings.llm_deadline_s)
