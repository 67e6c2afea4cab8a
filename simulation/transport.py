"""The simulated models in this process, as what carries requests to an endpoint."""

import json
from collections.abc import Mapping
from typing import Any

from autodata.simulation.brain import respond
from autodata.simulation.samples import Samples
from autodata.simulation.wire import CompletionRequest, completion


class SimulatedTransport:
    """Answers at once, and in the same form as the server.

    A request's `seed` makes its reply repeatable; without one the n-th repeat of a request gets the
    n-th sample (temperature 0: always the first).
    """

    base_url = "in this process"

    def __init__(self) -> None:
        self._samples = Samples()
        self._number = 0

    async def complete(self, payload: Mapping[str, Any], request_id: str) -> bytes:
        """The body of a chat completion. Raises pydantic.ValidationError for what is none."""
        asked = CompletionRequest.model_validate(payload)
        seed = asked.seed
        if seed is None and asked.temperature != 0:
            seed = self._samples.seed(asked.model, asked.messages)
        self._number += 1
        reply = respond(asked.model, asked.messages, seed, asked.limit)
        return json.dumps(completion(self._number, asked.model, reply)).encode()

    async def aclose(self) -> None:
        """There is nothing to let go of."""
