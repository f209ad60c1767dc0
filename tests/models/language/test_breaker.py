"""The circuit breaker by a clock of its own."""

from __future__ import annotations

import pytest

from models.language.breaker import PAUSE_MAX_S, PAUSE_S, CircuitBreaker
from models.language.errors import EngineAway, EngineMisbehaved, EngineTimeout, EngineUnavailable


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def go(breaker: CircuitBreaker, error: type[BaseException] | None = None, times: int = 1) -> None:
    for _ in range(times):
        try:
            with breaker.guard():
                if error is not None:
                    raise error("x")
        except (EngineUnavailable, EngineTimeout, EngineMisbehaved, KeyboardInterrupt):
            pass


@pytest.mark.parametrize("error", [EngineUnavailable, EngineTimeout])
def test_three_failures_in_a_row_open_it(breaker: CircuitBreaker, error: type[Exception]) -> None:
    go(breaker, error, 2)
    go(breaker)
    go(breaker, error, 2)
    assert not breaker.is_open
    go(breaker, error)
    assert breaker.is_open
    with pytest.raises(EngineUnavailable, match="too often"), breaker.guard():
        pytest.fail("it was let through")


def test_an_engine_that_is_not_there_is_asked_again_at_once(breaker: CircuitBreaker, clock: Clock) -> None:
    go(breaker, EngineAway, 50)
    assert not breaker.is_open
    go(breaker, EngineTimeout, 3)
    assert breaker.is_open
    clock.now_s += PAUSE_S
    go(breaker, EngineAway)
    assert not breaker.is_open


def test_answers_without_sense_open_it_late(breaker: CircuitBreaker) -> None:
    go(breaker, EngineMisbehaved, 11)
    assert not breaker.is_open
    go(breaker, EngineMisbehaved)
    assert breaker.is_open


def test_what_was_interrupted_counts_for_nothing(breaker: CircuitBreaker) -> None:
    go(breaker, KeyboardInterrupt, 20)
    assert not breaker.is_open


def test_after_the_pause_one_request_is_let_through(breaker: CircuitBreaker, clock: Clock) -> None:
    go(breaker, EngineUnavailable, 3)
    clock.now_s += PAUSE_S
    assert not breaker.is_open
    with breaker.guard():
        assert breaker.is_open
        with pytest.raises(EngineUnavailable), breaker.guard():
            pytest.fail("a second one was let through")
    assert not breaker.is_open
    go(breaker, EngineUnavailable, 2)
    assert not breaker.is_open  # closed for good, not only half


def test_a_trial_that_was_interrupted_makes_way_for_the_next(breaker: CircuitBreaker, clock: Clock) -> None:
    go(breaker, EngineUnavailable, 3)
    clock.now_s += PAUSE_S
    go(breaker, KeyboardInterrupt)
    assert not breaker.is_open
    go(breaker)
    go(breaker, EngineUnavailable, 2)
    assert not breaker.is_open


def test_the_pauses_grow_up_to_a_bound(breaker: CircuitBreaker, clock: Clock) -> None:
    go(breaker, EngineUnavailable, 3)
    pauses = []
    for _ in range(6):
        begun_s = clock.now_s
        while breaker.is_open:
            clock.now_s += 1
        pauses.append(clock.now_s - begun_s)
        go(breaker, EngineTimeout)
    assert pauses == [5, 10, 20, 40, 60, 60] and pauses[-1] == PAUSE_MAX_S
    clock.now_s += PAUSE_MAX_S
    go(breaker)
    go(breaker, EngineUnavailable, 3)
    clock.now_s += PAUSE_S
    assert not breaker.is_open


def test_an_answer_without_sense_shows_that_the_engine_is_back(breaker: CircuitBreaker, clock: Clock) -> None:
    go(breaker, EngineUnavailable, 3)
    clock.now_s += PAUSE_S
    go(breaker, EngineMisbehaved)
    assert not breaker.is_open
    go(breaker, EngineMisbehaved, 10)
    assert not breaker.is_open
