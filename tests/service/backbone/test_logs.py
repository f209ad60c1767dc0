"""Log lines: one record is one line, in both formats, and what callers wrote is not in them unless asked for."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.backbone.logs import JsonFormatter, TextFormatter, told, with_fields

CANARY = "a red canary"


def record(message: str, *arguments: object, error: BaseException | None = None, **fields: object) -> logging.LogRecord:
    try:
        if error is not None:
            raise error
        info = None
    except BaseException:
        info = sys.exc_info()
    made = logging.LogRecord("photogram", logging.INFO, "x.py", 1, message, arguments, info)
    vars(made).update(with_fields(fields))
    return made


def test_a_line_has_time_process_level_message_and_fields() -> None:
    line = TextFormatter("gateway", False).format(record("job", id="a-1", run_s=0.25, model=None, size="64 x 64"))
    assert line.split(" ", 1)[1] == 'gateway INFO job id=a-1 run_s=0.25 size="64 x 64"'
    entry = json.loads(JsonFormatter("gateway", False).format(record("job", id="a-1", run_s=0.25, model=None)))
    assert entry.pop("time").endswith("Z")
    assert entry == {"process": "gateway", "level": "INFO", "message": "job", "id": "a-1", "run_s": 0.25}


@given(st.text(), st.text())
def test_nothing_begins_a_line_of_its_own(message: str, value: str) -> None:
    for made in (TextFormatter, JsonFormatter):
        (line,) = made("gateway", True).format(record("%s", message, field=value)).splitlines() or [""]
        assert line.isprintable() or "\t" in line or not line.isascii()


@given(st.text())
def test_nothing_in_an_exception_looks_like_a_record(message: str) -> None:
    text = TextFormatter("gateway", True).format(record("failed", error=ValueError(message)))
    first, *frames = text.splitlines()
    assert first.endswith("gateway INFO failed") and all(line.startswith("    ") for line in frames)
    assert len(JsonFormatter("gateway", True).format(record("failed", error=ValueError(message))).splitlines()) == 1


@pytest.mark.parametrize("formatter", [TextFormatter, JsonFormatter])
@pytest.mark.parametrize(
    ("error", "is_shown"),
    [
        (ValueError(CANARY), False),
        (KeyError(CANARY), False),
        (TypeError(CANARY), False),
        (Exception(CANARY), False),
        (OSError(28, "No space left on device"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
    ],
)
def test_messages_that_may_quote_a_request_are_withheld(
    formatter: type[logging.Formatter], error: Exception, is_shown: bool
) -> None:
    text = formatter("worker", False).format(record("a row failed", error=error))  # type: ignore[call-arg]
    assert (str(error) in text) == is_shown
    assert type(error).__name__ in text and "test_logs.py" in text, "type and frames are always there"
    assert str(error.args[-1]) in formatter("worker", True).format(record("x", error=error))  # type: ignore[call-arg]


def test_causes_are_withheld_too() -> None:
    try:
        try:
            raise ValueError(CANARY)
        except ValueError as cause:
            raise RuntimeError("the tokenizer failed") from cause
    except RuntimeError as error:
        text = TextFormatter("worker", False).format(record("failed", error=error))
    assert CANARY not in text and "ValueError" in text and "the tokenizer failed" in text


def test_told_follows_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CANARY not in told(ValueError(CANARY))
    monkeypatch.setenv("PHOTOGRAM_LOG_PROMPTS", "1")
    assert told(ValueError(CANARY)) == f"ValueError: {CANARY}"
