"""The rate limiter of an endpoint: who may ask next, how many at once, how often, when to stop.

Depth first: a request of a document that was begun earlier goes before one of a later document.
Among equals the roles take turns, so that many judges do not hold up a solver.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from types import TracebackType

from autodata.models.adaptive_concurrency import AdaptiveConcurrency
from autodata.models.circuit_breaker import CircuitBreaker, describe
from autodata.models.config import EndpointConfig
from autodata.models.errors import CallRefused, WireError

BURST = 10.0  # seconds' worth of a rate that may pass at once
SCOUT = 2.0  # seconds that the first request goes alone: a wrong key is answered by then
LONGEST = 30.0  # seconds, the longest wait between two tries
TRIES = 12  # of one request that fails while others succeed


class LeakyBucket:
    """A leaky bucket: `per_minute` on average and at most ten seconds' worth at once."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._most = max(1.0, self._per_second * BURST)
        self._level = 0.0
        self._clock = clock
        self._seen = clock()

    def wait(self, amount: float) -> float:
        """Seconds until this amount may pass; an amount above the most waits for an empty one."""
        now = self._clock()
        self._level = max(0.0, self._level - (now - self._seen) * self._per_second)
        self._seen = now
        return max(0.0, self._level + min(amount, self._most) - self._most) / self._per_second

    def take(self, amount: float) -> None:
        """Let this amount pass; a negative one gives back what was taken too much."""
        self._level = max(0.0, self._level + amount)


@dataclass(order=True, slots=True)
class Waiter:
    """A request in the queue, in the order of its place."""

    priority: int
    turn: int
    number: int
    permit: "Permit" = field(compare=False)
    ready: "asyncio.Future[None]" = field(compare=False)


class Permit:
    """The right to one request in flight: `async with limiter.permit(…) as permit`.

    Entering waits for the turn and raises Paused when the circuit is open. A WireError inside tells
    the rate limiter that the request failed; leaving without one that it was answered.
    """

    __slots__ = ("_burst", "_gate", "priority", "role", "started", "tokens", "used")

    def __init__(self, limiter: "RateLimiter", role: str, priority: int, tokens: int) -> None:
        self._gate = limiter
        self.role = role
        self.priority = priority
        self.tokens = tokens
        self.used = tokens  # set to what the endpoint counted, once known
        self.started = 0.0

    async def __aenter__(self) -> "Permit":
        await self._gate.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._gate.leave(self, error)

    def begin(self, now: float, burst: int) -> None:
        """The rate limiter lets it through."""
        self.started = now
        self._burst = burst

    @property
    def burst(self) -> int:
        """Which burst of the concurrency's count the request belongs to."""
        return self._burst


class RateLimiter:
    """All limits of one endpoint. Belongs to one event loop at a time."""

    def __init__(
        self,
        name: str,
        address: str,
        config: EndpointConfig,
        *,
        wait: bool = False,
        adaptive: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.longest = LONGEST
        self.concurrency = AdaptiveConcurrency(config.max_concurrency, adaptive=adaptive)
        self.circuit_breaker = CircuitBreaker(name, address, config, wait=wait, clock=clock)
        self._requests = LeakyBucket(config.rpm, clock) if config.rpm else None
        self._tokens = LeakyBucket(config.tpm, clock) if config.tpm else None
        self._clock = clock
        self._waiting: list[Waiter] = []
        self._sleeping: set[asyncio.Future[None]] = set()
        self._number = 0
        self._turn = 0
        self._turns: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._proven = False
        self._scout_until = 0.0
        self._paused_until = 0.0

    def prove(self) -> None:
        """The endpoint has answered: requests need not go one by one any more."""
        self._proven = True

    def permit(self, role: str, priority: int, tokens: int) -> Permit:
        """A place in the queue; lower `priority` goes first, `tokens` is the expected use."""
        return Permit(self, role, priority, tokens)

    async def enter(self, permit: Permit) -> None:
        """Wait until this request may start."""
        self.circuit_breaker.check()
        if not self._waiting and self._free() and not self._delay(permit.tokens):
            self._admit(permit)
            return
        waiter = self._queue(permit)
        try:
            await waiter.ready
        except asyncio.CancelledError:
            if waiter.ready.done() and not waiter.ready.cancelled():
                self.leave(permit, None, answered=False)
            raise

    def leave(self, permit: Permit, error: BaseException | None, *, answered: bool = True) -> None:
        """Take note of how a request ended and let the next ones through."""
        self.concurrency.end()
        if self._tokens:
            self._tokens.take((permit.used if error is None and answered else 0) - permit.tokens)
        if isinstance(error, WireError):
            self._failed(permit, error)
        elif error is None and answered:
            self.prove()
            self.circuit_breaker.answered()
            took = self._clock() - permit.started
            self.concurrency.answered(permit.role, took, wanted=bool(self._waiting))
        self._dispatch()

    async def recover(self, error: WireError, tries: int) -> None:
        """Wait as long as is decent before the next try of a request.

        Raises Paused when the circuit is open, CallRefused when this request is hopeless.
        """
        self.circuit_breaker.check()
        if not error.transient:
            raise CallRefused(
                f"{self.circuit_breaker.where} refuses this request: {describe(error)}",
                "If the prompt is too long, lower the tokens per passage or max_tokens",
            )
        if tries >= TRIES and not (error.overloaded or self.circuit_breaker.wait):
            raise CallRefused(
                f"{self.circuit_breaker.where} failed {tries} times on one request while it "
                f"answers others; the last problem: {describe(error)}",
                "Look into the server's log; resume tries again",
            )
        await self._sleep(self._pause(error, tries))
        self.circuit_breaker.check()

    def _pause(self, error: WireError, tries: int) -> float:
        if error.retry_after is not None:
            return error.retry_after
        longest: float = min(self.longest, self.config.backoff * 2.0 ** min(tries - 1, 16))
        return longest * random.uniform(0.5, 1.0)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but wake when the circuit opens: nobody waits for an endpoint given up."""
        loop = asyncio.get_running_loop()
        alarm: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _ring, alarm)
        self._sleeping.add(alarm)
        try:
            await alarm
        finally:
            timer.cancel()
            self._sleeping.discard(alarm)

    def _queue(self, permit: Permit) -> Waiter:
        turn = max(self._turn, self._turns.get(permit.role, 0)) + 1
        self._turns[permit.role] = turn
        self._number += 1
        ready = asyncio.get_running_loop().create_future()
        waiter = Waiter(permit.priority, turn, self._number, permit, ready)
        heappush(self._waiting, waiter)
        self._dispatch()
        return waiter

    def _dispatch(self) -> None:
        """Let through as many of the waiting as there is room for, best place first."""
        while self._waiting:
            first = self._waiting[0]
            if first.ready.done():  # cancelled while waiting
                heappop(self._waiting)
                continue
            delay = self._delay(first.permit.tokens) if self._free() else self._scout_left()
            if delay:
                self._wake_in(delay)
            if delay or not self._free():
                return
            heappop(self._waiting)
            self._turn = max(self._turn, first.turn)
            self._admit(first.permit)
            first.ready.set_result(None)

    def _admit(self, permit: Permit) -> None:
        now = self._clock()
        permit.begin(now, self.concurrency.start())
        if not self._proven and self.concurrency.in_flight == 1:
            self._scout_until = now + SCOUT
        for rate, amount in ((self._requests, 1), (self._tokens, permit.tokens)):
            if rate:
                rate.take(amount)

    def _free(self) -> bool:
        alone = self.concurrency.in_flight and self._scout_left()
        return not alone and self.concurrency.free

    def _scout_left(self) -> float:
        return 0.0 if self._proven else max(0.0, self._scout_until - self._clock())

    def _delay(self, tokens: int) -> float:
        """Seconds until rates and pauses allow a request of so many tokens."""
        delay = max(0.0, self._paused_until - self._clock())
        if self._requests:
            delay = max(delay, self._requests.wait(1))
        if self._tokens:
            delay = max(delay, self._tokens.wait(tokens))
        return delay

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._dispatch)

    def _failed(self, permit: Permit, error: WireError) -> None:
        if error.overloaded:
            self.concurrency.refused(permit.burst)
        self.circuit_breaker.failed(error, permit.started)
        if self.circuit_breaker.problem is not None:
            self._give_up()
        elif self.circuit_breaker.failures and not self.concurrency.in_flight:
            # Nothing works just now: one request at a time finds out when it does again.
            self._proven = False
            self._paused_until = self._clock() + self._pause(error, self.circuit_breaker.failures)

    def _give_up(self) -> None:
        """The circuit has opened: everybody who waits learns why."""
        problem = self.circuit_breaker.problem
        assert problem is not None
        self._proven = False
        for waiter in self._waiting:
            if not waiter.ready.done():
                waiter.ready.set_exception(type(problem)(problem.reason, problem.remedy))
        self._waiting.clear()
        for alarm in self._sleeping:
            _ring(alarm)


def _ring(alarm: "asyncio.Future[None]") -> None:
    if not alarm.done():
        alarm.set_result(None)
