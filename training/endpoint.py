"""A model behind an OpenAI-compatible endpoint, asked until it answers: a broken endpoint is
retried, then paused on; what it will not take is told apart.

    async with endpoint.client() as client:
        done = await endpoint.completion(client, messages, temperature=0.0)
"""

import asyncio
import json
import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:  # evaluating local models takes no client
    from openai import APIStatusError, AsyncOpenAI

LONGEST_PAUSE = 30.0  # seconds between two tries
GIVE_UP_AFTER = 120.0  # seconds that an endpoint may be down
BUSY = (408, 409, 425, 429)  # of the statuses below 500, those that another try may mend,
OF_THE_REQUEST = (400, 413, 422)  # and those that are said of these messages alone
FOR_GOOD = ("length", "content_filter")  # why a reply may have no text, however often it is asked
NO_TEMPERATURE = re.compile(r"temperature\W+(does not support|is not supported|must be)")


class EndpointPaused(Exception):
    """The endpoint cannot be asked now: it is down, refuses the key, the model or the temperature,
    or its calls are used up. What it answered is on disk, and what asked it may go on later."""


class EndpointRefused(ValueError):
    """The endpoint will not take these messages, however often they are sent."""


class Completion(NamedTuple):
    """What an endpoint wrote, why it ended (`length`: the limit of tokens cut it off), and how many
    tokens it counted."""

    text: str
    ended: str | None
    tokens: int | None


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
    ) -> Completion:
        """A completion, whatever is wrong with the endpoint for a while; one without text is taken
        where it may be `blank`, and asked for again otherwise. Raises EndpointPaused after
        `give_up_after` seconds, and at once ever after; EndpointRefused."""
        import openai

        trouble: float | None = None  # since when
        pause = 0.5
        while True:
            if self._given_up:
                raise EndpointPaused(self._given_up)
            began, wait, limit = monotonic(), 0.0, self._limit
            try:
                done = await client.chat.completions.create(
                    model=self.model,
                    messages=cast(Any, messages),
                    temperature=temperature,
                    **cast(Any, {} if max_tokens is None else {limit: max_tokens}),
                )
                found = _completion_of(done)
                if isinstance(found, Completion):
                    if blank or found.text:
                        return found
                    if found.ended in FOR_GOOD:
                        raise EndpointRefused(f"its reply was empty ({found.ended})")
                wrong = found if isinstance(found, str) else "its reply was empty"
            except openai.APIStatusError as error:
                if limit == "max_tokens" and "max_completion_tokens" in str(error):
                    self._limit = "max_completion_tokens"  # as newer models of OpenAI name it
                    continue
                self._refused(error)
                wrong, wait = _first_line(str(error)), _seconds(error.response.headers)
            except openai.APITimeoutError as error:
                wrong, trouble = _first_line(str(error)), trouble or began
            except (openai.APIError, json.JSONDecodeError) as error:
                wrong = _first_line(str(error) or type(error).__name__)
            # What a reply took before it failed is no trouble; that none came is, from its start.
            trouble = trouble or monotonic()
            if monotonic() - trouble + max(pause, wait) > self.give_up_after:
                raise self._gave_up(wrong)
            await asyncio.sleep(max(wait, pause * random.uniform(0.5, 1.0)))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _refused(self, error: "APIStatusError") -> None:
        """Raises EndpointRefused or EndpointPaused for a status that no other try mends."""
        if error.status_code >= 500 or error.status_code in BUSY:
            return
        wrong = _first_line(str(error))
        if error.status_code not in OF_THE_REQUEST:
            asked = f"key from {self.key_env}, model {self.model}"
            raise self._gave_up(f"{wrong} ({asked})") from error
        if NO_TEMPERATURE.search(error.message):
            raise self._gave_up(f"{wrong} (state another temperature)") from error
        raise EndpointRefused(wrong) from error

    def _gave_up(self, wrong: str) -> EndpointPaused:
        self._given_up = f"{self.name} at {self.url} cannot be asked: {wrong}"
        return EndpointPaused(self._given_up)


def _completion_of(done: Any) -> Completion | str:
    """The first choice of a reply; what is wrong where it holds none: a proxy's page, or an error
    in its place. That a model will not answer is what it answers."""
    choices = getattr(done, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(choice, "message", None)
    if choice is None or message is None:
        error = getattr(done, "error", None) or "its reply holds no choice"
        said = error.get("message", error) if isinstance(error, Mapping) else error
        return _first_line(str(said))
    text = _text(getattr(message, "content", None)) or _text(getattr(message, "refusal", None))
    ended = getattr(choice, "finish_reason", None)
    return Completion(text, ended, getattr(getattr(done, "usage", None), "completion_tokens", None))


def _text(content: Any) -> str:
    """The words of a message, which some endpoints send in parts, without halves of characters,
    which no file and no request can hold."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping)]
        content = "".join(_text(part.get("text")) for part in parts)
    text = "" if content is None else str(content)
    return text.encode("utf-8", "replace").decode()


def _first_line(text: str) -> str:
    return (text.strip() or "it says nothing").splitlines()[0][:200]


def _seconds(headers: Mapping[str, str]) -> float:
    """How long the endpoint asks to wait: seconds, at most LONGEST_PAUSE."""
    try:
        return min(max(0.0, float(headers.get("retry-after", 0))), LONGEST_PAUSE)
    except ValueError:  # a date
        return 1.0
