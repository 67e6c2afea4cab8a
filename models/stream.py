"""A streamed answer, put together from its chunks into the body that it would have come in at once.

What the chunks hold is read as leniently as an answer in one piece: surplus choices and fields do
not matter, and a stream that ends before its answer does is none.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from autodata.models.errors import WireError
from autodata.models.replies import REASONING, json_object, words

EVENT = b"data:"
ENDS = b"[DONE]"
SAID = ("content", *REASONING, "refusal")  # what a chunk may add words to

# Takes new words of an answer, and of its reasoning, as they arrive.
Listener = Callable[[str, str], Awaitable[None]]
# Who listens to the answer that the running task asks for.
LISTENER: ContextVar[Listener | None] = ContextVar("LISTENER", default=None)


class AnswerStream:
    """The answer so far: `feed` what arrives, then take its `body`."""

    def __init__(self) -> None:
        self.size = 0  # bytes of words so far
        self.chunks = 0
        self.ended = False
        self._rest = b""  # of a line that is not complete yet
        self._said: dict[str, list[str]] = {name: [] for name in SAID}
        self._told = dict.fromkeys(SAID, 0)  # how many of the pieces `news` has given out
        self._calls: dict[int, dict[str, str]] = {}
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._error: Any = None

    def feed(self, part: bytes) -> bool:
        """Take in what arrived; whether it held news, comments being none. Raises WireError."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        before = self.chunks
        for line in lines:
            self._line(line)
        return self.chunks > before

    def news(self) -> tuple[str, str]:
        """The words of the answer, and of its reasoning, that came since this was last asked."""
        new = {name: "".join(said[self._told[name] :]) for name, said in self._said.items()}
        self._told = {name: len(said) for name, said in self._said.items()}
        return new["content"], "".join(new[name] for name in REASONING)

    @property
    def pending(self) -> int:
        """Bytes of the line that is not complete yet."""
        return len(self._rest)

    def body(self) -> dict[str, Any]:
        """The chat completion. Raises WireError for a stream that broke off."""
        self._line(self._rest)
        self._rest = b""
        if self._error is not None:
            return {"error": self._error}
        if not (self.ended or self._finish_reason):
            raise WireError("the stream broke off before the answer's end")
        message: dict[str, Any] = {name: "".join(said) for name, said in self._said.items() if said}
        if self._calls:
            message["tool_calls"] = [_call(made) for _, made in sorted(self._calls.items())]
        choice = {"message": message, "finish_reason": self._finish_reason}
        return {"choices": [choice], "usage": self._usage}

    def _line(self, line: bytes) -> None:
        if not line.startswith(EVENT):
            return
        data = line[len(EVENT) :].strip()
        if data == ENDS:
            self.ended = True
        elif data:
            self.chunks += 1
            self._chunk(json_object(data))

    def _chunk(self, chunk: Mapping[str, Any]) -> None:
        self._usage = chunk.get("usage") or self._usage
        self._error = chunk.get("error") or self._error
        for choice in _objects(chunk.get("choices")):
            if choice.get("index"):
                continue
            if isinstance(reason := choice.get("finish_reason"), str):
                self._finish_reason = reason
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._add(delta)

    def _add(self, delta: Mapping[str, Any]) -> None:
        for name, said in self._said.items():
            if more := delta.get(name):
                text = words(more)
                said.append(text)
                self.size += len(text)
        for number, call in enumerate(_objects(delta.get("tool_calls"))):
            at = call.get("index")
            made = self._calls.setdefault(at if isinstance(at, int) else number, {})
            function = call.get("function")
            named = {**(function if isinstance(function, dict) else {}), "id": call.get("id")}
            for name in ("id", "name", "arguments"):
                if isinstance(more := named.get(name), str):
                    made[name] = made.get(name, "") + more
                    self.size += len(more)


def _call(made: Mapping[str, str]) -> dict[str, Any]:
    function = {name: made[name] for name in ("name", "arguments") if name in made}
    return {"id": made.get("id"), "type": "function", "function": function}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Those parts of a list that are objects; none of what is no list."""
    if isinstance(value, list):
        yield from (part for part in value if isinstance(part, dict))
