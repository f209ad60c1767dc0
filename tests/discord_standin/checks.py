"""What Discord refuses in a message: the limits of components of version 2, of text and of custom ids."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .state import COMPONENTS_V2, Payload

MAX_COMPONENTS = 40
MAX_TEXT = 4000
MAX_ALT = 256


def problem_of(message: Payload) -> str | None:
    """Why Discord would answer 400 (code 50035); None if it would not."""
    if len(message["content"]) > 2000:
        return "content: Must be 2000 or fewer in length."
    components = list(walk(message["components"]))
    if message["flags"] & COMPONENTS_V2:
        if message["content"] or message["embeds"]:
            return "content and embeds cannot be used with components of version 2"
        if len(components) > MAX_COMPONENTS:
            return f"components: at most {MAX_COMPONENTS}"
    custom_ids = [each["custom_id"] for each in components if "custom_id" in each]
    if len(set(custom_ids)) < len(custom_ids) or any(not 0 < len(each) <= 100 for each in custom_ids):
        return "components: custom ids must be unique and have 1 to 100 characters"
    if sum(len(each.get("content", "")) for each in components) > MAX_TEXT:
        return f"components: at most {MAX_TEXT} characters of text"
    return next(filter(None, (_problem(each, message) for each in components)), None)


def pings_of(message: Payload, allowed: Payload | None) -> list[str]:
    """The mentions in a message that notify somebody; `allowed` is its `allowed_mentions`."""
    texts = [message["content"], *(each.get("content", "") for each in walk(message["components"]))]
    kinds = {"everyone": r"@(?:everyone|here)", "users": r"<@!?\d+>", "roles": r"<@&\d+>"}
    parsed = kinds if allowed is None else allowed.get("parse", [])
    return [found for kind in parsed for text in texts for found in re.findall(kinds[kind], text)]


def walk(components: list[Payload]) -> Iterator[Payload]:
    """All components, with those inside others."""
    for component in components:
        yield component
        yield from walk(component.get("components", []))
        if "component" in component:
            yield from walk([component["component"]])


def _problem(component: Payload, message: Payload) -> str | None:
    if component["type"] == 1 and not 1 <= len(component["components"]) <= 5:
        return "components: an action row has 1 to 5 components"
    if component["type"] == 2 and not 1 <= len(component.get("label", "")) <= 80:
        return "components: a label has 1 to 80 characters"
    if component["type"] == 3 and not 1 <= len(component["options"]) <= 25:
        return "components: a select has 1 to 25 options"
    if component["type"] == 12:
        return _gallery_problem(component, message)
    return None


def _gallery_problem(gallery: Payload, message: Payload) -> str | None:
    names = {attachment["filename"] for attachment in message["attachments"]}
    if not 1 <= len(gallery["items"]) <= 10:
        return "components: a gallery has 1 to 10 items"
    for item in gallery["items"]:
        scheme, _, name = item["media"]["url"].partition("://")
        if scheme == "attachment" and name not in names:
            return f"components: the message has no attachment {name}"
        if len(item.get("description") or "") > MAX_ALT:
            return f"components: a description has at most {MAX_ALT} characters"
    return None
