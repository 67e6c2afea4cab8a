"""A model behind an OpenAI-compatible endpoint, asked until it answers: a broken endpoint is
retried, then paused on; what it will not take is told apart.

    async with endpoint.client() as client:
        done = await endpoint.completion(client, messages, temperature=0.0)
"""

import asyncio
import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # evaluating local models takes no client
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

LONGEST_PAUSE = 30.0  # seconds between two tries
GIVE_UP_AFTER = 120.0  # seconds that an endpoint may be down
BUSY = (408, 409, 425, 429)  # of the statuses below 500, those that another try may mend


class EndpointPaused(Exception):
    """The endpoint cannot be asked now: it is down, refuses the key or the model, or its calls are
    used up. What it answered is on disk, and what asked it may go on later."""


class EndpointRefused(ValueError):
    """The endpoint will not take these messages, however often they are sent."""


@dataclass
class Endpoint:
    """Where a model is and who is asked: `name` is for people, `url` ends in /v1.

    The key is read from the variable `key_env`; where that is unset none is sent. `patience` is how
    many seconds one reply may take, `give_up_after` how many the endpoint may be down.
    """

    name: str
    url: str
    model: str
    key_env: str = "OPENAI_API_KEY"
    patience: float = 600.0
    give_up_after: float = GIVE_UP_AFTER
    _given_up: str = field(default="", init=False)
    _limit: str = field(default="max_tokens", init=False)

    def client(self) -> "AsyncOpenAI":
        """A client of it, for one event loop."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            base_url=self.url,
            api_key=os.environ.get(self.key_env) or "none",
            max_retries=0,  # `completion` retries
            timeout=self.patience,
        )

    async def completion(
        self,
        client: "AsyncOpenAI",
        messages: list[dict[str, str]],
        *,
        temperature: float,
        max_tokens: int | None = None,
        blank: bool = False,
    ) -> "ChatCompletion":
        """A completion, whatever is wrong with the endpoint for a while; one without text is taken
        where it may be `blank`, and asked for again otherwise. Raises EndpointPaused after
        `give_up_after` seconds, and at once ever after; EndpointRefused."""
        import openai

        began, pause = monotonic(), 0.5
        while True:
            if self._given_up:
                raise EndpointPaused(self._given_up)
            wait, limit = 0.0, self._limit
            try:
                done: ChatCompletion = await client.chat.completions.create(
                    model=self.model,
                    messages=cast(Any, messages),
                    temperature=temperature,
                    **cast(Any, {} if max_tokens is None else {limit: max_tokens}),
                )
                if done.choices and (blank or done.choices[0].message.content):
                    return done
                wrong = "its reply was empty"
            except (
                openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError
            ) as error:  # fmt: skip
                asked = f"key from {self.key_env}, model {self.model}"
                raise self._gave_up(f"{_first_line(error)} ({asked})") from error
            except openai.APIStatusError as error:
                if limit == "max_tokens" and "max_completion_tokens" in str(error):
                    self._limit = "max_completion_tokens"  # as newer models of OpenAI name it
                    continue
                wrong, wait = _first_line(error), _seconds(error.response.headers)
                if error.status_code < 500 and error.status_code not in BUSY:
                    raise EndpointRefused(wrong) from error
            except (openai.APIError, json.JSONDecodeError) as error:
                wrong = _first_line(error)
            if monotonic() - began + max(pause, wait) > self.give_up_after:
                raise self._gave_up(wrong)
            await asyncio.sleep(max(wait, pause * random.uniform(0.5, 1.0)))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _gave_up(self, wrong: str) -> EndpointPaused:
        self._given_up = f"{self.name} at {self.url} cannot be asked: {wrong}"
        return EndpointPaused(self._given_up)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _seconds(headers: Mapping[str, str]) -> float:
    """How long the endpoint asks to wait: seconds, at most LONGEST_PAUSE."""
    try:
        return min(max(float(headers.get("retry-after", 0)), 0.0), LONGEST_PAUSE)
    except ValueError:  # a date
        return 1.0
