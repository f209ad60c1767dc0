"""How much of a worker's time each job uses."""

from __future__ import annotations

import time

import pytest

from workers.pace import Pace


def test_jobs_that_run_together_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    for moment, begin in ((100.0, "a"), (102.0, "b"), (106.0, "c")):
        now[0] = moment
        pace.begin(begin)
    now[0] = 109.0
    assert pace.end("a") == pytest.approx(2 + 4 / 2 + 3 / 3)
    now[0] = 111.0
    assert pace.end("c") == pytest.approx(3 / 3 + 2 / 2)
    assert pace.end("b") == pytest.approx(4 / 2 + 3 / 3 + 2 / 2)
    assert pace.end("b") is None
    now[0] = 200.0
    pace.begin("d")
    now[0] = 201.0
    assert pace.end("d") == pytest.approx(1.0), "the time in which nothing ran is nobody's"
