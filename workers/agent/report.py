"""The report of an agent job: what was asked, planned, made and checked, as Markdown and as a page with its images."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import BytesIO

from PIL import Image

from models.agent.plan import Plan, Subtask
from workers.agent.loop import Course, Try

_SHOWN_PX, _SHOWN_MAX = 384, 24
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "figure{display:inline-block;margin:.5rem;vertical-align:top}figcaption{font-size:.8rem;color:#666}"
    "li.failed{color:#a00}pre{white-space:pre-wrap;background:#f4f4f4;padding:1rem}"
)


def markdown(
    brief: str, course: Course, spent: Mapping[str, float], files: Sequence[str], warnings: Sequence[str]
) -> str:
    """The report in Markdown; texts of the brief and of tools are quoted, so that they form no headings or links."""
    lines = ["# Report of the agent", "", *_quoted(brief), "", _outcome(course), "", "## Plan", ""]
    lines += [f"{'  ' * (subtask.depth - 1)}- {text}" for subtask, text in _plan_lines(course.plan)]
    lines += ["", "## Checks", "", *(f"- {line}" for attempt in course.tries for line in _try_lines(attempt))]
    if course.feedback:
        lines += ["", "## What people said", "", *(f"- {_plain(text)}" for text in course.feedback)]
    if warnings:
        lines += ["", "## Warnings", "", *(f"- {_plain(text)}" for text in warnings)]
    lines += ["", "## Used", "", *(f"- {name}: {value:g}" for name, value in spent.items())]
    lines += ["", "## Files", "", *(f"- `{name}`" for name in files), ""]
    return "\n".join(lines)


def page(
    brief: str, course: Course, spent: Mapping[str, float], images: Mapping[str, bytes], warnings: Sequence[str]
) -> str:
    """The report as one HTML file without links to anything; ``images`` are shown small, by their names."""
    plan = "".join(f"<li class={subtask.status}>{escape(text)}</li>" for subtask, text in _plan_lines(course.plan))
    checks = "".join(
        f"<li{'' if attempt.passed else ' class=failed'}>{escape(line)}</li>"
        for attempt in course.tries
        for line in _try_lines(attempt)
    )
    figures = "".join(
        f"<figure><img alt='{escape(name, quote=True)}' src='{shown}'><figcaption>{escape(name)}</figcaption></figure>"
        for name, shown in _shown(images)
    )
    said = _listed("What people said", course.feedback)
    warned = _listed("Warnings", warnings)
    used = "".join(f"<li>{escape(name)}: {value:g}</li>" for name, value in spent.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Report of the agent</title><style>{_STYLE}</style>"
        f"<h1>Report of the agent</h1><pre>{escape(brief)}</pre><p>{escape(_outcome(course))}</p>{figures}"
        f"<h2>Plan</h2><ul>{plan}</ul><h2>Checks</h2><ul>{checks}</ul>"
        f"{said}{warned}<h2>Used</h2><ul>{used}</ul></html>"
    )


def _listed(title: str, texts: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _outcome(course: Course) -> str:
    if course.is_complete:
        return "All subtasks are done and passed their checks."
    if course.ended_early:
        return f"The job ended early: {course.ended_early}."
    failed = ", ".join(subtask.name for subtask in (course.plan.failures if course.plan else ()))
    return f"Not all subtasks passed their checks: {failed or 'no plan was made'}."


def _plan_lines(plan: Plan | None) -> Iterator[tuple[Subtask, str]]:
    for subtask in plan.all() if plan else ():
        yield subtask, f"{subtask.id} {_plain(subtask.name)}: {subtask.status}"


def _try_lines(attempt: Try) -> Iterator[str]:
    name = f"{attempt.subtask}, try {attempt.number}"
    if attempt.performed.error is not None:
        yield f"{name}: {_plain(attempt.performed.error)}"
    for verdict in attempt.verdicts:
        yield f"{name}: {'passed' if verdict.passed else 'not passed'}: {_plain(verdict.sentence)}"


def _plain(text: str) -> str:
    """``text`` in one line, without what Markdown would take for markup."""
    line = " ".join(text.split())
    return "".join(f"\\{each}" if each in "\\`*_[]<>#|!" else each for each in line)


def _quoted(text: str) -> Iterator[str]:
    return (f"> {_plain(line)}" for line in text.splitlines() or [""])


def _shown(images: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for name, data in list(images.items())[:_SHOWN_MAX]:
        with Image.open(BytesIO(data)) as opened:
            small = opened.convert("RGB")
        small.thumbnail((_SHOWN_PX, _SHOWN_PX))
        buffer = BytesIO()
        small.save(buffer, "JPEG", quality=85)
        yield name, "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
