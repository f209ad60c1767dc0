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
    assert pace.end("a").seconds == pytest.approx(2 + 4 / 2 + 3 / 3)
    now[0] = 111.0
    assert pace.end("c").seconds == pytest.approx(3 / 3 + 2 / 2)
    assert pace.end("b").seconds == pytest.approx(4 / 2 + 3 / 3 + 2 / 2)
    assert pace.end("b") is None
    now[0] = 200.0
    pace.begin("d")
    now[0] = 201.0
    assert pace.end("d").seconds == pytest.approx(1.0), "the time in which nothing ran is nobody's"


def test_a_job_is_shared_if_others_ran_for_most_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    pace.begin("long")
    now[0] = 110.0
    for each in ("one", "two"):
        pace.begin(each)
    now[0] = 113.0
    assert [pace.end(each).is_shared for each in ("one", "two")] == [True, True]
    now[0] = 120.0
    assert not pace.end("long").is_shared


def test_a_job_that_draws_several_candidates_uses_as_much_as_several_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    pace.begin("candidates", 3)
    pace.begin("one")
    now[0] = 108.0
    assert pace.end("one").seconds == pytest.approx(2)
    assert pace.end("candidates").seconds == pytest.approx(6)
