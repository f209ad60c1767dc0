"""A language model made of rules: it reads requests in three languages and calls tools in any of the four formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from service.api.assist.instructions import CHANGE
from tests.engine_stub import Say

Call = tuple[str, dict[str, Any]]

_THINGS = {
    r"fuchs|fox|狐狸": "a fox", r"schnee|snow|雪": "snow", r"mondlicht|moonlight|月光": "moonlight",
    r"hafen|harbour|港口": "an old harbour", r"katze|cat|猫": "a cat", r"ölgemälde|oil painting|油画": "oil painting",
}  # fmt: skip
_SHAPES = {r"quadratisch|square|正方形": "1:1", r"hochkant|portrait|竖": "2:3", r"breitbild|wide|宽屏": "16:9"}
_UNWANTED = {r"ohne menschen|no people|不要人": "people", r"ohne text|no text|不要文字": "text"}
_STYLES = {r"comic|漫画": "comic-book", r"pixel|像素": "pixel-art"}
_ENLARGE = r"vergrößer|upscale|larger|放大"
_FOUR = r"vierfach|four times|四倍"
_LITTLE = r"nur leicht|only a little|稍微"
_WHICH = r"welche stile|which styles|哪些风格"
_IMAGE = r"(?:bild|image|picture|图片?)\s*(\d)"
_PAPER = r"papier|paper|纸"


def _found(table: Mapping[str, str], text: str) -> list[str]:
    return [meaning for pattern, meaning in table.items() if re.search(pattern, text)]


def understand(said: str, styles: str | None = None) -> Call:
    """The call that ``said`` becomes; ``styles`` is what was learned of them, if somebody asked."""
    words, _, job = said.lower().partition(CHANGE.lower())
    if re.search(_WHICH, words) and styles is None:
        return "list_styles", {}
    named = re.search(_IMAGE, words)
    image = {"image": f"image {named[1]}"} if named else {}
    if re.search(_ENLARGE, words):
        return "upscale", {**image, **({"scale": 4} if re.search(_FOUR, words) else {})}
    things = ", ".join(_found(_THINGS, words))
    arguments: dict[str, Any] = {**image, **({"prompt": things} if things else {})}
    for field, table in (("aspect_ratio", _SHAPES), ("negative_prompt", _UNWANTED), ("style_preset", _STYLES)):
        if found := _found(table, words):
            arguments[field] = ", ".join(found)
    if styles is not None and re.search(_PAPER, words):
        arguments["style_preset"] = next(
            each["name"] for each in json.loads(styles)["styles"] if "paper sculpture" in each["looks"]
        )
    if seed := re.search(r"(?:startwert|seed|种子)\s*(\d+)", words):
        arguments["seed"] = int(seed[1])
    if re.search(_LITTLE, words):
        arguments["strength"] = 0.3
    is_edit = bool(image) or '"tool": "edit_image"' in job
    return "edit_image" if is_edit else "create_image", arguments


def native_model(body: dict[str, Any]) -> Say:
    """Answers as a server does whose model knows tools: each call suits the schema it was offered, nulls and all."""
    said = next(message["content"] for message in body["messages"] if message["role"] == "user")
    learned = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    name, arguments = understand(said, learned[-1] if learned else None)
    offered = next(each["function"] for each in body["tools"] if each["function"]["name"] == name)
    whole = dict.fromkeys(offered["parameters"]["properties"]) | arguments
    jsonschema_rs.validate(offered["parameters"], whole)
    return Say(calls=((name, json.dumps(whole, ensure_ascii=False)),), finish_reason="tool_calls")


def _hermes(name: str, arguments: dict[str, Any]) -> str:
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"


def _chatglm3(name: str, arguments: dict[str, Any]) -> str:
    return f"{name}\n```python\ntool_call({', '.join(f'{key}={value!r}' for key, value in arguments.items())})\n```"


def _constrained(name: str, arguments: dict[str, Any]) -> str:
    return json.dumps({"tool": name, "arguments": arguments}, ensure_ascii=False, indent=2)


SPOKEN: Mapping[str, tuple[str, Callable[[str, dict[str, Any]], str]]] = {
    "hermes": ("rwkv-6-world", _hermes),
    "chatglm3": ("chatglm3-6b", _chatglm3),
    "constrained": ("zephyr-7b-beta", _constrained),
}
"""Dialects in which calls are text: a preset with it, and how a call is written."""
