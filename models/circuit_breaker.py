"""When to stop asking an endpoint: at once for a wrong key, after a bounded time for an outage."""

import time
from collections.abc import Callable

from autodata.models.config import EndpointConfig
from autodata.models.errors import (
    NO_QUOTA,
    EndpointDown,
    ModelMissing,
    Paused,
    Unauthorized,
    WireError,
)

CLOSED_FOR = 30.0  # seconds after which an open circuit lets a request try again


class CircuitBreaker:
    """One endpoint's circuit: open while `problem` is set, and then every call fails alike.

    With `wait` an outage never opens it; a wrong key or model always does.
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
        self.problem: Paused | None = None
        self._clock = clock
        self._opened = 0.0
        self._answered = clock()
        self._since = 0.0  # when the present failures began

    def check(self) -> None:
        """Raises the problem while the circuit is open."""
        if self.problem is not None:
            if self._clock() - self._opened > CLOSED_FOR:
                self._reset()
            else:
                raise type(self.problem)(self.problem.reason, self.problem.remedy)

    def answered(self) -> None:
        """The endpoint works."""
        self.failures = 0
        self._answered = self._clock()

    def failed(self, error: WireError, started: float) -> None:
        """A request that began at `started` brought no answer; may open the circuit."""
        if self.problem is not None:
            return
        if not error.transient:
            self._open(self._permanent(error))
            return
        if not self.failures:
            self._since = max(started, self._answered)
        self.failures += 1
        failing = self._clock() - self._since
        ahead = error.retry_after or 0.0
        if not self.wait and failing + ahead >= self.config.give_up_after:
            self._open(self._outage(error, failing))

    def _reset(self) -> None:
        self.problem = None
        self.failures = 0
        self._answered = self._clock()

    def _open(self, problem: Paused | None) -> None:
        self.problem = problem
        self._opened = self._clock()

    def _outage(self, error: WireError, failing: float) -> EndpointDown:
        asked = f" and asks to wait {error.retry_after:.0f} s" if error.retry_after else ""
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
        if error.status in (400, 413, 422):  # this request's fault, not the endpoint's
            return None
        model = error.sent.get("model", "")
        return ModelMissing(
            f"{said} when asked for model {model!r}",
            "Check the model's name and base_url (it mostly ends in /v1), then resume",
        )


def describe(error: WireError) -> str:
    """A failure in a few words, the HTTP status first where there is one."""
    return f"HTTP {error.status}: {error.message}" if error.status else error.message
