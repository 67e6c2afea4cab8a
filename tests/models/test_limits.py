"""The rate limiter: who goes next, how many at once, how often."""

import asyncio
from typing import Any

import pytest

from autodata.models.config import EndpointConfig
from autodata.models.errors import Unauthorized, WireError
from autodata.models.limits import START, AdaptiveConcurrency, LeakyBucket, RateLimiter


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def limiter(**settings: Any) -> RateLimiter:
    """A limiter whose first request has been answered."""
    opened = RateLimiter("local", "http://localhost/v1", EndpointConfig(**settings))
    opened.prove()
    return opened


class Queue:
    """Requests that wait at a limiter of one place, let through one by one."""

    def __init__(self, **settings: Any) -> None:
        self.limiter = limiter(max_concurrency=1, **settings)
        self.served: list[str] = []
        self.holder = self.limiter.permit("first", 0, 0)

    async def __aenter__(self) -> "Queue":
        await self.limiter.enter(self.holder)
        self.tasks: list[asyncio.Task[None]] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        self.limiter.leave(self.holder, None)
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def join(self, name: str, role: str = "judge", priority: int = 0) -> asyncio.Task[None]:
        async def wait() -> None:
            async with self.limiter.permit(role, priority, 0):
                self.served.append(name)

        self.tasks.append(asyncio.ensure_future(wait()))
        await asyncio.sleep(0)
        return self.tasks[-1]


async def test_documents_begun_earlier_go_first() -> None:
    async with Queue() as queue:
        for document in (3, 1, 2):
            await queue.join(f"document {document}", priority=document)
    assert queue.served == ["document 1", "document 2", "document 3"]


async def test_many_judges_do_not_hold_up_a_solver() -> None:
    async with Queue() as queue:
        for number in range(4):
            await queue.join(f"judge {number}", role="judge")
        await queue.join("solver", role="weak_solver")
    assert queue.served.index("solver") <= 1


async def test_who_leaves_the_queue_makes_room() -> None:
    async with Queue() as queue:
        leaving = await queue.join("impatient")
        await queue.join("patient")
        leaving.cancel()
    assert queue.served == ["patient"]


async def test_a_place_granted_to_somebody_who_left_goes_to_the_next() -> None:
    async with Queue() as queue:
        granted = await queue.join("gone")
        await queue.join("next")
        queue.limiter.leave(queue.holder, None)
        granted.cancel()
        await asyncio.gather(*queue.tasks, return_exceptions=True)
        assert queue.served == ["next"]
        await queue.limiter.enter(queue.holder)
    assert queue.limiter.concurrency.in_flight == 0


async def test_the_first_request_goes_alone() -> None:
    """A wrong key costs one request, not as many as may be in flight."""
    unproven = RateLimiter("local", "http://localhost/v1", EndpointConfig())
    scout = unproven.permit("judge", 0, 0)
    await unproven.enter(scout)
    others = [
        asyncio.ensure_future(unproven.enter(unproven.permit("judge", 0, 0))) for _ in range(9)
    ]
    await asyncio.sleep(0)
    assert unproven.concurrency.in_flight == 1
    unproven.leave(scout, None)
    await asyncio.gather(*others)
    assert unproven.concurrency.in_flight == 9


async def test_nobody_sleeps_on_when_the_endpoint_is_given_up() -> None:
    patient = limiter(backoff=1000)
    sleeping = asyncio.ensure_future(patient.recover(WireError("busy", status=500), tries=1))
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        with pytest.raises(WireError):
            async with patient.permit("judge", 0, 0):
                raise WireError("wrong key", status=401)
        with pytest.raises(Unauthorized, match="wrong key"):
            await sleeping


async def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await limiter(backoff=0.0001).recover(WireError("busy", status=429, retry_after=0.05), tries=1)
    assert loop.time() - began >= 0.045


def test_a_rate_lets_ten_seconds_worth_through_and_then_its_average() -> None:
    clock = Clock()
    rate = LeakyBucket(60, clock)
    for _ in range(10):
        assert rate.wait(1) == 0
        rate.take(1)
    assert rate.wait(1) == pytest.approx(1.0)
    clock.now += 1
    assert rate.wait(1) == 0


def test_a_request_larger_than_a_rate_waits_for_an_empty_bucket_and_no_longer() -> None:
    clock = Clock()
    rate = LeakyBucket(60, clock)
    rate.take(5)
    assert rate.wait(1000) == pytest.approx(5.0)


async def test_tokens_expected_but_not_used_are_given_back() -> None:
    clock = Clock()
    counted = RateLimiter("local", "", EndpointConfig(tpm=600), clock=clock)
    async with counted.permit("judge", 0, 100) as permit:
        permit.used = 10
    async with asyncio.timeout(20):
        await counted.enter(counted.permit("judge", 0, 90))


async def test_a_request_beyond_the_rate_waits_for_its_time() -> None:
    hurried = limiter(rpm=6000)  # ten seconds' worth at once: 1000; then one per 10 ms
    began = asyncio.get_running_loop().time()
    for _ in range(1003):
        async with hurried.permit("judge", 0, 0):
            pass
    assert asyncio.get_running_loop().time() - began > 0.02


def fill(concurrency: AdaptiveConcurrency) -> list[int]:
    """Start as many requests as there is room for."""
    return [concurrency.start() for _ in range(concurrency.limit - concurrency.in_flight)]


def serve(concurrency: AdaptiveConcurrency, takes: int) -> int:
    """One round against a server that takes so many at once; returns how many it refused."""
    bursts = fill(concurrency)
    refused = bursts[takes:]
    for burst in refused:
        concurrency.end()
        concurrency.refused(burst)
    for _ in bursts[:takes]:
        concurrency.end()
        concurrency.answered("judge", 1.0, wanted=True)
    return len(refused)


def test_the_limit_settles_at_what_the_server_takes() -> None:
    concurrency = AdaptiveConcurrency(128)
    refused = [serve(concurrency, takes=32) for _ in range(40)]
    limits = [concurrency.limit for _ in range(20) if serve(concurrency, takes=32) is not None]
    assert all(31 <= limit <= 34 for limit in limits)
    assert sum(refused) / (40 * 32) < 0.1


def test_a_burst_of_refusals_halves_the_limit_once() -> None:
    concurrency = AdaptiveConcurrency(16)
    for burst in fill(concurrency):
        concurrency.end()
        concurrency.refused(burst)
    assert concurrency.limit == 8


def test_the_limit_grows_again_when_the_server_does() -> None:
    concurrency = AdaptiveConcurrency(128)
    for _ in range(10):
        serve(concurrency, takes=4)
    before = concurrency.limit
    for _ in range(200):
        serve(concurrency, takes=128)
    assert before <= 5
    assert concurrency.limit > 20


def test_the_limit_grows_only_while_somebody_waits() -> None:
    concurrency = AdaptiveConcurrency(128)
    for _ in range(100):
        concurrency.start()
        concurrency.end()
        concurrency.answered("judge", 1.0, wanted=False)
    assert concurrency.limit == START


def test_the_limit_stays_between_one_and_the_most() -> None:
    concurrency = AdaptiveConcurrency(3)
    for _ in range(10):
        serve(concurrency, takes=0)
    assert concurrency.limit == 1
    for _ in range(100):
        serve(concurrency, takes=9)
    assert concurrency.limit == 3


def queue(
    concurrency: AdaptiveConcurrency, takes: int, kinds: tuple[tuple[str, float], ...]
) -> None:
    """One round against a server that does so many at once and lets the rest wait."""
    started = len(fill(concurrency))
    for number in range(started):
        kind, seconds = kinds[number % len(kinds)]
        concurrency.end()
        concurrency.answered(kind, seconds * max(1.0, started / takes), wanted=True)
        concurrency.start()
    concurrency.in_flight = 0


@pytest.mark.parametrize("kinds", [(("judge", 1.0),), (("judge", 0.5), ("weak_solver", 20.0))])
def test_a_server_that_queues_is_not_given_ever_more(kinds: tuple[tuple[str, float], ...]) -> None:
    concurrency = AdaptiveConcurrency(1000)
    limits = []
    for _ in range(300):
        queue(concurrency, 32, kinds)
        limits.append(concurrency.limit)
    assert all(28 <= limit <= 64 for limit in limits[20:])


def test_a_server_that_gets_slower_but_does_more_is_given_more() -> None:
    """Batching: sixteen times as many in flight take three times as long."""
    concurrency = AdaptiveConcurrency(256)
    for _ in range(30):
        number = concurrency.limit
        queue(concurrency, 10**9, (("judge", 1 + number / 128),))
    assert concurrency.limit == 256
