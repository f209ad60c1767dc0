"""A channel of the stand-in as a page of HTML, so that one can look at it."""

from __future__ import annotations

import re
from html import escape

from .state import EPHEMERAL, LOADING, Payload, World

_STYLE = """
body{background:#313338;color:#dbdee1;font:15px sans-serif;margin:16px;max-width:620px}
.author{font-weight:600;color:#fff;margin:14px 0 4px}
.box{background:#2b2d31;border:1px solid #3f4147;border-radius:8px;padding:10px 14px}
.gallery{display:flex;flex-wrap:wrap;gap:4px;margin:8px 0}
.gallery img{width:256px;border-radius:6px}p{margin:4px 0;white-space:pre-wrap}small{color:#949ba4}
button,select{border:0;border-radius:4px;color:#fff;padding:8px 14px;margin:6px 6px 0 0;background:#4e5058;font:inherit}
.text+.text{margin-top:10px}
.s1{background:#5865f2}.s4{background:#da373c}
"""


def page(world: World, channel: int) -> str:
    """The messages of a channel, the oldest first."""
    messages = [each for each in world.messages.values() if each["channel_id"] == str(channel)]
    shown = "\n".join(_message(each, world) for each in messages)
    return f"<!doctype html><meta charset=utf-8><title>Stand-in</title><style>{_STYLE}</style>{shown}"


def _message(message: Payload, world: World) -> str:
    body = "<p><i>thinking…</i></p>" if message["flags"] & LOADING else _text(message["content"], world)
    body += "".join(_component(each, world) for each in message["components"])
    seen = "<small>only you can see this</small>" if message["flags"] & EPHEMERAL else ""
    return f"<div class=author>{escape(message['author']['username'])}</div>{body}{seen}"


def _component(component: Payload, world: World) -> str:
    inner = "".join(_component(each, world) for each in component.get("components", []))
    match component["type"]:
        case 2:
            return f"<button class=s{component['style']}>{escape(component['label'])}</button>"
        case 3:
            return f"<select><option>{escape(component.get('placeholder') or '')}</select>"
        case 10:
            return f"<div class=text>{_text(component['content'], world)}</div>"
        case 12:
            images = (f"<img src='{escape(each['media']['url'])}' alt='{escape(each.get('description') or '')}'>"
                      for each in component["items"])  # fmt: skip
            return f"<div class=gallery>{''.join(images)}</div>"
        case 17:
            return f"<div class=box>{inner}</div>"
    return f"<div>{inner}</div>"


def _text(text: str, world: World) -> str:
    shown = re.sub(r"\\([*_`~|>#\-])", r"\1", escape(text))
    shown = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", shown)
    shown = re.sub(r"&lt;@(\d+)&gt;", lambda found: _name(world, int(found[1])), shown)
    return "".join(
        f"<small>{line[3:]}</small><br>" if line.startswith("-# ") else f"<p>{line}</p>" for line in shown.split("\n")
    )


def _name(world: World, user: int) -> str:
    return "@" + (world.users[user]["username"] if user in world.users else "unknown-user")
