"""The limits of an endpoint: who may ask next, how many at once, how often, when to stop.

Depth first: a request of a document that was begun earlier goes before one of a later document.
Among equals the roles take turns, so that many judges do not hold up a solver.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from types import TracebackType

from autodata.models.config import EndpointConfig
from autodata.models.errors import (
    CONTEXT_FULL,
    LONGEST_ASKED,
    NO_QUOTA,
    TOO_LARGE,
    CallRefused,
    EndpointDown,
    ModelMissing,
    Paused,
    Unauthorized,
    WireError,
)

SMALLER = "Lower run.passage_tokens or max_tokens, or serve the model with a larger context window"
REFUSAL_REMEDIES = {
    CONTEXT_FULL: SMALLER,
    TOO_LARGE: "If replies may be so long, raise that limit, then resume",
}
BURST = 10.0  # seconds' worth of a rate that may pass at once
SCOUT = 2.0  # seconds that the first request goes alone: a wrong key is answered by then
LONGEST_WAIT = 30.0  # seconds, the longest wait between two tries
TRIES = 12  # of one request that fails while others succeed
CLOSED_FOR = 30.0  # seconds after which an open circuit lets a request try again
START = 32  # requests in flight before anything is known
PROBE_ROUNDS = 8  # rounds of answers between two probes of a limit that was refused again and again
ROUND = 16  # answers, the fewest that say something about an endpoint's speed
MORE = 1.5  # times as many in flight, and as long to answer: worth a look
GAIN = 1.1  # times as much work done: worth the longer wait


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How one endpoint is doing, for people who watch.

    `in_flight` requests are under way and `waiting` ones stand in the queue or sit out a failure;
    `failures` counts those since the last answer, and `last_error` is the latest problem since then
    ("" for none). `pauses_in` is the number of seconds of nothing but failures until the run
    pauses: 0 when it has, None while nothing fails or when the run waits however long it takes.
    """

    name: str
    in_flight: int = 0
    waiting: int = 0
    failures: int = 0
    last_error: str = ""
    pauses_in: float | None = None


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

    __slots__ = ("_burst", "_limiter", "priority", "role", "started", "tokens", "used")

    def __init__(self, limiter: "RateLimiter", role: str, priority: int, tokens: int) -> None:
        self._limiter = limiter
        self.role = role
        self.priority = priority
        self.tokens = tokens
        self.used = tokens  # set to what the endpoint counted, once known
        self.started = 0.0

    async def __aenter__(self) -> "Permit":
        await self._limiter.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._limiter.leave(self, error)

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
        self.name = name
        self.config = config
        self.longest = LONGEST_WAIT
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
        self._setbacks = 0  # times in a row that nothing under way was answered
        self._scout_until = 0.0
        self._paused_until = 0.0

    def state(self) -> EndpointState:
        """How the endpoint is doing now."""
        circuit = self.circuit_breaker
        return EndpointState(
            name=self.name,
            in_flight=self.concurrency.in_flight,
            waiting=sum(not waiter.ready.done() for waiter in self._waiting) + len(self._sleeping),
            failures=circuit.failures,
            last_error=circuit.last_error,
            pauses_in=circuit.opens_in,
        )

    def prove(self) -> None:
        """The endpoint has answered: requests need not go one by one any more."""
        self._proven = True
        self._setbacks = 0

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
                REFUSAL_REMEDIES.get(error.code, "The document stays undecided"),
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
        """Seconds until the next try: doubling, and never less than the server asks for."""
        longest: float = min(self.longest, self.config.backoff * 2.0 ** min(tries - 1, 16))
        return max(error.retry_after or 0.0, longest * random.uniform(0.5, 1.0))

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
            self._setbacks += 1
            self._paused_until = self._clock() + self._pause(error, self._setbacks)

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


class CircuitBreaker:
    """One endpoint's circuit: open while `problem` is set, and then every call fails alike.

    An outage lasts from the last sign of life: an answer, or a word of one that is under way. With
    `wait` an outage never opens it; a wrong key or model always does.
    """

    def __init__(
        self,
        name: str,
        address: str,
        config: EndpointConfig,
        *,
        wait: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.where = f"endpoint {name} ({address})"
        self.config = config
        self.wait = wait
        self.failures = 0  # since the last answer
        self.last_error = ""  # since then
        self.problem: Paused | None = None
        self._clock = clock
        self._opened = 0.0
        self._answered = clock()
        self._since = 0.0  # when the present failures began

    @property
    def opens_in(self) -> float | None:
        """Seconds until it opens if nothing is answered; None when nothing fails, or for `wait`."""
        if self.problem is not None:
            return 0.0
        if self.wait or not self.failures:
            return None
        return max(0.0, self.config.give_up_after - (self._clock() - self._since))

    def check(self) -> None:
        """Raises the problem while the circuit is open."""
        if self.problem is not None:
            if self._clock() - self._opened > CLOSED_FOR:
                self._reset()
            else:
                raise type(self.problem)(self.problem.reason, self.problem.remedy)

    def answered(self) -> None:
        """The endpoint works."""
        self.failures, self.last_error = 0, ""
        self._answered = self._clock()

    def failed(self, error: WireError, started: float) -> None:
        """A request that began at `started` brought no answer; may open the circuit."""
        if self.problem is not None:
            return
        self.last_error = describe(error)
        if not error.transient:
            self._open(self._permanent(error))
            return
        if not self.failures:
            self._since = max(started, self._answered)
        self._since = max(self._since, error.heard)
        self.failures += 1
        failing = self._clock() - self._since
        ahead = error.retry_after or 0.0
        if not self.wait and failing + ahead >= self.config.give_up_after:
            self._open(self._outage(error, failing))

    def _reset(self) -> None:
        self.problem = None
        self.failures, self.last_error = 0, ""
        self._answered = self._clock()

    def _open(self, problem: Paused | None) -> None:
        self.problem = problem
        self._opened = self._clock()

    def _outage(self, error: WireError, failing: float) -> EndpointDown:
        wait = error.retry_after or 0.0
        words = "a day or more" if wait >= LONGEST_ASKED else f"{wait:.0f} s"
        asked = f" and asks to wait {words}" if wait else ""
        return EndpointDown(
            f"{self.where} has given no usable answer for {failing:.0f} s{asked}; "
            f"the last problem: {describe(error)}",
            "Bring it back and resume, or let the run wait for it with --wait",
        )

    def _permanent(self, error: WireError) -> Paused | None:
        said = f"{self.where} answered {describe(error)}"
        if error.status in (401, 402, 403) or error.code == NO_QUOTA:
            key = f"the key in {self.config.key_env}" if self.config.key_env else "api_key_env"
            return Unauthorized(said, f"Check {key} and the quota, then resume")
        if (
            error.status in (400, 413, 422) or error.code == TOO_LARGE
        ):  # this request's fault, not the endpoint's
            return None
        model = error.sent.get("model", "")
        return ModelMissing(
            f"{said} when asked for model {model!r}",
            "Check the model's name and base_url (it mostly ends in /v1), then resume",
        )


def describe(error: WireError) -> str:
    """A failure in a few words, the HTTP status first where there is one."""
    return f"HTTP {error.status}: {error.message}" if error.status else error.message


class AdaptiveConcurrency:
    """The limit on requests in flight, 1 … `most`. Each request reports how it ended.

    Found out while the endpoint works; no clock, no loop. Up by one per answer until the first sign
    of too much, then by one per round of answers. Two signs: a refusal, and answers that come later
    without more of them coming (a server that queues).

    Unless it is `adaptive` the limit stays at the most.
    """

    def __init__(self, most: int, *, adaptive: bool = True) -> None:
        self.most = most
        self.adaptive = adaptive
        self.in_flight = 0
        self._limit = float(min(most, START) if adaptive else most)
        self._floor = 1.0  # of the present burst: half of the limit that it met
        self._burst = 0
        self._found = False  # whether the endpoint ever showed a limit
        self._patience = 1
        self._speed = Speed()

    @property
    def limit(self) -> int:
        return int(self._limit)

    @property
    def free(self) -> bool:
        """Whether one more request may start."""
        return self.in_flight < self.limit

    def start(self) -> int:
        """Count one request in flight; returns the number of the burst that it belongs to."""
        self.in_flight += 1
        return self._burst

    def end(self) -> None:
        """Count one request less in flight, however it ended."""
        self.in_flight -= 1

    def answered(self, kind: str, seconds: float, *, wanted: bool) -> None:
        """After `end`: grow if more requests are waiting (`wanted`), shrink if that is no use.

        Requests of one `kind` (a role) take comparable time.
        """
        if not self.adaptive:
            return
        enough = self._speed.note(kind, seconds, self.in_flight + 1, self.limit)
        if enough is not None:
            self._found = True
            self._limit = max(1.0, min(self._limit, enough))
        elif wanted and self._limit < self.most and not self._speed.doubts:
            step = 1 / (self._limit * self._patience) if self._found else 1.0
            self._limit = min(float(self.most), self._limit + step)

    def refused(self, burst: int) -> None:
        """After `end` of a request of this burst: shrink to what the server still has in hand.

        Once per burst, and by half at the most: requests that started before the limit fell are
        refused for the same reason.
        """
        if not self.adaptive:
            return
        if burst == self._burst:
            again = self._found and self.limit <= self.in_flight + 2
            self._patience = min(PROBE_ROUNDS, 2 * self._patience) if again else 1
            self._burst += 1
            self._found = True
            self._floor = max(1.0, self._limit / 2)
        self._limit = max(self._floor, min(self._limit, float(self.in_flight)))


@dataclass(slots=True)
class Speed:
    """Measures, round by round, how much gets done with how many requests in flight.

    Work done per second is the number in flight over the time that an answer takes, and that time
    is compared with the shortest of its kind: so neither a long role nor a mixture of roles looks
    like a slow server.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    in_flight: int = 0
    answers: int = 0
    round: int = ROUND
    usual: dict[str, float] = field(default_factory=dict)
    best: float = 0.0
    best_at: float = 0.0
    doubts: int = 0

    def note(self, kind: str, seconds: float, in_flight: int, limit: int) -> float | None:
        """Count one answer. Returns how many in flight are enough, if these were too many twice."""
        self.seconds[kind].append(seconds)
        self.in_flight += in_flight
        self.answers += 1
        if self.answers < self.round:
            return None
        self.round = max(ROUND, limit)
        return self._weigh()

    def _weigh(self) -> float | None:
        slowness, in_flight = self._slowness(), self.in_flight / self.answers
        self.seconds.clear()
        self.in_flight = self.answers = 0
        done = in_flight / slowness
        if done > GAIN * self.best:
            at = in_flight if self.best else min(in_flight, self.best_at or in_flight)
            self.best, self.best_at, self.doubts = done, at, 0
            return None
        idle = in_flight > MORE * self.best_at and slowness > MORE
        self.doubts = self.doubts + 1 if idle else 0
        if self.doubts < 2:
            return None
        self.best = 0.0  # servers change: the next round measures anew what that many do
        return self.best_at

    def _slowness(self) -> float:
        """How many times longer than usual this round's answers took."""
        took = usual = 0.0
        for kind, seconds in self.seconds.items():
            mean = sum(seconds) / len(seconds)
            self.usual[kind] = min(mean, self.usual.get(kind, mean))
            took += sum(seconds)
            usual += self.usual[kind] * len(seconds)
        return took / usual if usual else 1.0
