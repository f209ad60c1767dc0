"""The JSON results of jobs as lines for people: tables of labels and likenesses, else JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from .output import escaped, to_json

_BAR_CHARS = 20
_NUMBERS_SHOWN = 8


def document_lines(document: object) -> list[str]:
    """The lines of a document; none without one."""
    if document is None:
        return []
    if isinstance(document, Mapping):
        if isinstance(document.get("similarities"), list):
            return _similarities(document)
        for name, lines in (("labels", _labels), ("embedding", _embedding)):
            if isinstance(found := document.get(name), list) and (shown := lines(found)) is not None:
                return shown
    return [to_json(document)]


def _labels(labels: list[Any]) -> list[str] | None:
    """A row for each label of an image, the most probable first; None if these are other labels."""
    if not all(isinstance(each, Mapping) and isinstance(each.get("probability"), float | int) for each in labels):
        return None
    return _bars((str(each.get("label")), each["probability"], f"{each['probability']:6.1%}") for each in labels)


def _similarities(document: Mapping[str, Any]) -> list[str]:
    """A row for each of the other images and texts, in their order."""
    compared = (("image", document["similarities"]), ("text", document.get("text_similarities", [])))
    rows = [(f"{what} {number}", value) for what, values in compared for number, value in enumerate(values, 1)]
    return _bars((name, value, f"{value:6.3f}") for name, value in rows)


def _embedding(values: list[Any]) -> list[str]:
    first = ", ".join(f"{value:.4f}" for value in values[:_NUMBERS_SHOWN])
    more = ", ..." if len(values) > _NUMBERS_SHOWN else ""
    return [f"{len(values)} numbers: {first}{more}", "all of them: --json"]


def _bars(rows: Iterable[tuple[str, float, str]]) -> list[str]:
    named = [(escaped(name), value, text) for name, value, text in rows]
    width = max((len(name) for name, _, _ in named), default=0)
    return [
        f"{name:<{width}}  {text}  {'█' * round(_BAR_CHARS * max(value, 0))}".rstrip() for name, value, text in named
    ]
