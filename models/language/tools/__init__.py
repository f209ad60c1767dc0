"""Tool calling: tools and calls, the formats (dialects) of different models, and the conversation loop."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.language.tools.chatglm3 import ChatGlm3
from models.language.tools.constrained import Constrained
from models.language.tools.dialect import Dialect
from models.language.tools.hermes import Hermes
from models.language.tools.native import Native
from models.language.tools.types import Example, Tool, ToolCall

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {"native": Native(), "hermes": Hermes(), "chatglm3": ChatGlm3(), "constrained": Constrained()}
)
"""By the name in a preset."""

__all__ = ["DIALECTS", "Dialect", "Example", "Tool", "ToolCall"]
