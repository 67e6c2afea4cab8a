"""Named outcomes of a call that is not a reply.

None of them says anything about a document: a run that meets one stops and can be resumed, or goes
on without that document, and nothing is recorded as rejected.
"""

TIMED_OUT = "timed_out"  # our own code
TOO_LARGE = "reply_too_large"  # our own code
GATEWAY_TIMED_OUT = (504, 524)  # HTTP: what stands before a server has stopped waiting for it
CONTEXT_FULL = "context_length_exceeded"  # OpenAI's, and ours for what others call it
NO_QUOTA = "insufficient_quota"  # OpenAI's: a 429 that waiting does not cure
LONGEST_ASKED = 86_400.0  # seconds, the longest wait that a server is believed to mean: a day


class Paused(RuntimeError):
    """The run cannot go on now and can be resumed later: `reason` says why, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason.rstrip('.')}. {remedy}")
        self.reason = reason
        self.remedy = remedy


class EndpointDown(Paused):
    """An endpoint kept failing for as long as its `give_up_after` allows."""


class Unauthorized(Paused):
    """An endpoint does not accept the key (401, 402, 403, or no key in the environment)."""


class ModelMissing(Paused):
    """An endpoint does not know the model or the address (404)."""


class BudgetReached(Paused):
    """The next call could exceed the budget."""


class ReviewsWait(Paused):
    """All that is left to do waits for a person."""


class Interrupted(Paused):
    """Somebody asked the run to stop."""


class CallRefused(RuntimeError):
    """An endpoint that works for others will not answer this one request, however often asked.

    For instance a prompt longer than the model's context window. Only the document at hand is
    affected; it stays undecided. `reason` says what was answered, `remedy` what to do.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason.rstrip('.')}. {remedy}")
        self.reason = reason
        self.remedy = remedy


class CutOff(CallRefused):
    """A structured reply was cut off every time, however much room there was for it.

    `reason` says by what: the token limit or the context window.
    """


class UnknownPrice(ValueError):
    """A budget in US dollars needs a price that nobody has stated."""


class UnknownRole(ValueError):
    """The configuration does not say which model plays a role, or names no such endpoint."""


class WireError(Exception):
    """One request that brought no usable answer.

    `status` is the HTTP status, None when there was none (refused, reset, timed out); `retry_after`
    is the wait in seconds that the server asked for; `reached` is false when it cannot have worked
    on the request; `sent` is the payload; `heard` is when the endpoint last gave a sign of life
    while it worked, by the monotonic clock (0 where none is known); `window` is the context window
    in tokens that a refusal stated.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        retry_after: float | None = None,
        reached: bool = True,
        heard: float = 0.0,
        window: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reached = reached
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.sent: dict[str, object] = {}
        self.heard = heard
        self.window = window

    def say(self, message: str) -> None:
        """Put it in other words."""
        self.message = message
        self.args = (message,)

    @property
    def overloaded(self) -> bool:
        """The server asks for less, or takes too long: more than it can do at once."""
        return self.code == TIMED_OUT or (self.status in (429, 503) and self.code != NO_QUOTA)

    @property
    def paid(self) -> bool:
        """The request may have to be paid for: it was worked on, and not refused."""
        return self.reached and self.status in (None, 200, *GATEWAY_TIMED_OUT)

    @property
    def transient(self) -> bool:
        """The same request may succeed later."""
        if self.code in (NO_QUOTA, TOO_LARGE):
            return False
        broken = self.status in (None, 200)  # no answer, or one that cannot be read
        return broken or self.status in (408, 409, 425, 429) or (self.status or 0) >= 500
