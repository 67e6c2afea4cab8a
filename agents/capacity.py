"""How many requests an endpoint can take at once, found out while it works. No clock, no loop.

Up by one per answer until the first sign of too much, then by one per round of answers. Down on a
refusal, once per burst: to what the server still has in hand, at most by half.
"""

START = 16  # requests in flight before anything is known
PATIENCE = 8  # rounds of answers between two probes of a limit that was refused again and again


class Capacity:
    """The limit on requests in flight, 1 … `most`. Each request reports how it ended."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.in_flight = 0
        self._limit = float(min(most, START))
        self._floor = 1.0  # of the present burst: half of the limit that it met
        self._burst = 0
        self._found = False  # whether the endpoint ever said stop
        self._patience = 1

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

    def answered(self, *, wanted: bool) -> None:
        """After `end`: grow, if more requests are waiting (`wanted`)."""
        if wanted and self._limit < self.most:
            step = 1 / (self._limit * self._patience) if self._found else 1.0
            self._limit = min(float(self.most), self._limit + step)

    def refused(self, burst: int) -> None:
        """After `end` of a request of this burst: shrink to what is still in flight."""
        if burst == self._burst:
            again = self._found and self.limit <= self.in_flight + 2
            self._patience = min(PATIENCE, 2 * self._patience) if again else 1
            self._burst += 1
            self._found = True
            self._floor = max(1.0, self._limit / 2)
        self._limit = max(self._floor, min(self._limit, float(self.in_flight)))
