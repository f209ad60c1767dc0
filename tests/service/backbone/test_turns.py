"""Whose job is taken next: shares of keys by weight, priorities within a key, and no job lost on the way."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from models.jobs.kinds import DIFFUSION_QUEUE
from models.jobs.tickets import Ticket
from service.backbone import scripts
from service.backbone.admission import QueueFull
from service.backbone.allowances import Demand
from service.backbone.keyspace import events_key, record_key, rq_intermediate_key, rq_job_key, turns_key
from service.backbone.turns import CHARGE_MIN_PX, PRIORITY_S, Turns, rank
from tests.intake import BlockingIntake
from tests.waiting import waiting_jobs

MEGAPIXEL_STEP = 1_000_000
Submit = Callable[..., str]


@pytest.fixture
def turns(redis: Redis) -> Turns:
    return Turns(redis, DIFFUSION_QUEUE)


@pytest.fixture
def submit(redis: Redis, ticket: Callable[..., Ticket]) -> Submit:
    """Queues a job that costs so many cost units, and returns its id."""
    intake = BlockingIntake(redis, max_queued=100_000)

    def accept(owner: str, units: float = 1, weight: int = 1, **params: object) -> str:
        made = ticket(owner=owner, **params)
        intake.accept(made, {}, demand=Demand(int(units * MEGAPIXEL_STEP)), weight=weight)
        return made.job_id

    return accept


@pytest.fixture
def busy(submit: Submit, turns: Turns) -> None:
    """Some job waits in RQ's list already, so that the next ones wait for their turn."""
    submit("before")


def owners(redis: Redis, turns: Turns, count: int) -> str:
    """The owners of the next ``count`` jobs."""
    taken = [turns.take() for _ in range(count)]
    return "".join(redis.hget(record_key(job_id or ""), "owner").decode() for job_id in taken)  # type: ignore[union-attr]


def cancel(redis: Redis, job_id: str) -> None:
    redis.register_script(scripts.cancel())(keys=[record_key(job_id), events_key(job_id)], args=["1.0", 3600])


@pytest.mark.usefixtures("busy")
def test_a_single_job_goes_before_the_thousand_of_another_key(redis: Redis, turns: Turns, submit: Submit) -> None:
    for _ in range(1000):
        submit("a")
    assert owners(redis, turns, 5) == "beforeaaaa"
    submit("b")
    assert owners(redis, turns, 3) == "baa"


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(("units", "weights", "shares"), [
    ({"a": 1, "b": 1}, {}, {"a": 12, "b": 12}),
    ({"a": 2, "b": 1}, {}, {"a": 8, "b": 16}),
    ({"a": 1, "b": 1}, {"a": 3}, {"a": 18, "b": 6}),
    ({"a": 1, "b": 1, "c": 1}, {"a": 2}, {"a": 12, "b": 6, "c": 6}),
])  # fmt: skip
def test_keys_get_their_shares_of_the_work(
    redis: Redis, turns: Turns, submit: Submit,
    units: dict[str, int], weights: dict[str, int], shares: dict[str, int],
) -> None:  # fmt: skip
    for _ in range(30):
        for owner, cost in units.items():
            submit(owner, cost, weights.get(owner, 1))
    turns.take()
    assert Counter(owners(redis, turns, 24)) == shares


@pytest.mark.usefixtures("busy")
def test_a_key_cannot_save_up_the_time_in_which_it_asked_for_nothing(
    redis: Redis, turns: Turns, submit: Submit
) -> None:
    for _ in range(50):
        submit("a")
    turns.take()
    assert owners(redis, turns, 20) == "a" * 20
    for _ in range(20):
        submit("b")
    assert Counter(owners(redis, turns, 20)) == {"a": 10, "b": 10}


@pytest.mark.usefixtures("busy")
def test_a_key_cannot_go_first_by_sending_one_job_after_another(redis: Redis, turns: Turns, submit: Submit) -> None:
    for owner in "ab":
        for _ in range(20):
            submit(owner)
    turns.take()
    submit("c", 4)
    order = ""
    for _ in range(12):
        order += owners(redis, turns, 1)
        submit("c", 4)
    assert order.count("c") == 2, "its first one, and the next when the others had as much"


def test_cheap_jobs_cost_something(redis: Redis, turns: Turns, submit: Submit) -> None:
    for _ in range(12):
        submit("a", 0)
        submit("b", CHARGE_MIN_PX / MEGAPIXEL_STEP)
    turns.take()
    assert Counter(owners(redis, turns, 20)) == {"a": 10, "b": 10}


@pytest.mark.usefixtures("busy")
def test_a_higher_priority_goes_first_within_its_key_only(redis: Redis, turns: Turns, submit: Submit) -> None:
    usual, low, high = (submit("a", priority=priority) for priority in (0, -1, 2))
    other = submit("b", priority=-2)
    turns.take()
    assert {turns.take(), turns.take()} == {high, other}
    assert [turns.take(), turns.take(), turns.take()] == [usual, low, None]


def test_a_low_priority_goes_before_what_came_long_after_it(ticket: Callable[..., Ticket]) -> None:
    low, high = ticket(priority=-2).params, ticket(priority=2).params
    assert rank(high, 4 * PRIORITY_S - 1) < rank(low, 0.0) < rank(high, 4 * PRIORITY_S + 1)


@pytest.mark.usefixtures("busy")
def test_equal_jobs_of_a_key_are_in_their_order(turns: Turns, submit: Submit) -> None:
    jobs = [submit("a") for _ in range(50)]
    turns.take()
    assert [turns.take() for _ in jobs] == jobs


@pytest.mark.usefixtures("busy")
def test_a_canceled_job_waits_no_more_and_leaves_nothing(redis: Redis, turns: Turns, submit: Submit) -> None:
    first, second, other = submit("a"), submit("a"), submit("b")
    for job_id in (first, other):
        cancel(redis, job_id)
        assert not redis.exists(rq_job_key(job_id))
    assert waiting_jobs(redis)[1:] == [second]
    assert redis.zrange(turns_key(), 0, -1) == [b"a"]
    turns.take()
    assert [turns.take(), turns.take()] == [second, None]
    assert redis.keys("photogram:turns*") + redis.keys("photogram:waiting*") + redis.keys("*:waiting") == []


def test_canceled_jobs_make_room_in_a_full_queue(redis: Redis, ticket: Callable[..., Ticket]) -> None:
    intake = BlockingIntake(redis, max_queued=3)
    jobs = [intake.accept(ticket(), {}).record.job_id for _ in range(3)]
    with pytest.raises(QueueFull):
        intake.accept(ticket(), {})
    cancel(redis, jobs[1])
    assert intake.accept(ticket(), {}).is_new


def test_jobs_that_an_earlier_version_queued_are_taken_first(redis: Redis, turns: Turns, submit: Submit) -> None:
    redis.rpush("rq:queue:photogram", "old", "older")
    new = submit("a")
    assert [turns.take(), turns.take(), turns.take()] == ["old", "older", new]


def test_a_full_worker_takes_only_what_another_key_waits_for(redis: Redis, turns: Turns, submit: Submit) -> None:
    listed, second, third = (submit("a") for _ in range(3))
    assert turns.take(["a"]) is None
    assert [turns.take(["b"]), turns.take(["b"])] == [listed, second]
    assert turns.take(["a"]) is None
    other = submit("b")
    assert turns.take(["a"]) == other
    assert turns.take(["a", "b"]) is None
    assert turns.take() == third


def test_what_is_taken_is_in_the_intermediate_list(redis: Redis, turns: Turns, submit: Submit) -> None:
    jobs = [submit("a") for _ in range(3)]
    assert [turns.take() for _ in jobs] == jobs
    assert redis.lrange(rq_intermediate_key(), 0, -1) == [job_id.encode() for job_id in jobs]


def test_all_workers_that_wait_are_woken(redis: Redis, turns: Turns, submit: Submit) -> None:
    """Both had seen that nothing waits before two jobs came at the same moment, of which one waits for its turn."""
    taken: list[str | None] = []
    jobs = {submit("a"), submit("a")}
    threads = [threading.Thread(target=lambda: taken.append(turns.wait(5))) for _ in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(taken) == jobs


def test_each_of_many_jobs_is_taken_once(redis: Redis, turns: Turns, submit: Submit) -> None:
    with ThreadPoolExecutor(50) as pool:
        futures = [pool.submit(submit, f"owner {number % 7}") for number in range(400)]
        taken = [turns.take() for _ in range(200)]
        jobs = [future.result() for future in futures]
    taken += [turns.take() for _ in range(400)]
    assert sorted(filter(None, taken)) == sorted(jobs)


@pytest.mark.usefixtures("busy")
def test_the_order_stays_exact_when_much_was_taken(redis: Redis, turns: Turns, submit: Submit) -> None:
    redis.set("photogram:turns:now", "1e15")
    for _ in range(10):
        submit("a", 0.15)
        submit("b", 0.30)
    turns.take()
    assert Counter(owners(redis, turns, 15)) == {"a": 10, "b": 5}
