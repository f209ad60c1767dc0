"""Answers to polls: what is kept, for how long, and how much of it."""

from __future__ import annotations

import pytest

from service.api.answers import Answers

FIELDS = {b"status": b"queued", b"params": b"{}"}


def answer(
    answers: Answers, job_id: str = "a", fields: dict[bytes, bytes] = FIELDS, variant: str = "base"
) -> list[str]:
    """Asks for an answer; gives what had to be rendered for it."""
    rendered: list[str] = []

    def render(record: str) -> bytes:
        rendered.append(record)
        return f"{record} {fields[b'status'].decode()}".encode()

    body = answers.of(job_id, variant, fields, lambda: job_id, render)
    assert body == f"{job_id} {fields[b'status'].decode()}".encode()
    return rendered


def test_an_unchanged_record_is_rendered_once():
    answers = Answers()
    assert answer(answers) == ["a"]
    assert answer(answers, fields=dict(FIELDS)) == []


@pytest.mark.parametrize("change", [{"fields": FIELDS | {b"status": b"running"}}, {"variant": "other"}])
def test_what_an_answer_depends_on_is_never_mixed_up(change):
    answers = Answers()
    answer(answers)
    assert answer(answers, **change) == ["a"]


def test_the_memory_is_bounded_and_the_least_recently_used_goes_first():
    answers = Answers(max_bytes=32_000)
    for number in range(100):
        answer(answers, f"job-{number}")
        answer(answers, "job-0")
        assert answers.held_bytes <= 32_000
    assert answer(answers, "job-0") == []
    assert answer(answers, "job-99") == []
    assert answer(answers, "job-1") == ["job-1"]


def test_a_changed_record_replaces_its_old_answer():
    answers = Answers()
    answer(answers)
    held = answers.held_bytes
    for number in range(1000):
        answer(answers, fields=FIELDS | {b"step": b"%04d" % number})
    assert answers.held_bytes < 2 * held


def test_large_answers_are_not_kept():
    answers, large = Answers(max_bytes=32_000), FIELDS | {b"params": b"x" * 3000}
    answer(answers, fields=large)
    assert answers.held_bytes == 0
    assert answer(answers, fields=large) == ["a"]


def test_a_record_that_cannot_be_read_leaves_nothing():
    answers = Answers()

    def unreadable() -> str:
        raise LookupError

    with pytest.raises(LookupError):
        answers.of("a", "base", FIELDS, unreadable, lambda _: b"")
    assert answers.held_bytes == 0
