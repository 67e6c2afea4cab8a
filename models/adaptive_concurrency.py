"""How many requests an endpoint can take at once, found out while it works. No clock, no loop.

Up by one per answer until the first sign of too much, then by one per round of answers. Two signs:
a refusal, and answers that come later without more of them coming (a server that queues).
"""

from collections import defaultdict
from dataclasses import dataclass, field

START = 32  # requests in flight before anything is known
PATIENCE = 8  # rounds of answers between two probes of a limit that was refused again and again
ROUND = 16  # answers, the fewest that say something about an endpoint's speed
MORE = 1.5  # times as many in flight, and as long to answer: worth a look
GAIN = 1.1  # times as much work done: worth the longer wait


class AdaptiveConcurrency:
    """The limit on requests in flight, 1 … `most`. Each request reports how it ended.

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
            self._patience = min(PATIENCE, 2 * self._patience) if again else 1
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
