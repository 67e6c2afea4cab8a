"""Endpoints that say what no endpoint should: waited out, paused on, or taken as it is meant."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, ClassVar

import pytest

from endpoint import Completion, Endpoint, EndpointPaused, EndpointRefused

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of a client's closed sockets
LATE = 0.8  # seconds


def chosen(content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    choice = {"index": 0, "finish_reason": "stop", "message": message, **more}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


# What is said first, by the model that is asked; then the endpoint is well.
TROUBLE: dict[str, tuple[int, Any]] = {
    "page": (200, "<html>Welcome</html>"),
    "error-in-place": (200, {"error": {"message": "overloaded"}}),
    "no-message": (200, {"choices": [{"index": 0, "message": None}]}),
    "empty-choice": (200, {"choices": [{}]}),
    "list": (200, []),
    "null": (200, None),
    "blank": (200, chosen("")),
    "late-and-failed": (500, {}),
}
# What is said each time.
STATES: dict[str, tuple[int, Any]] = {
    "unpaid": (402, {"error": {"message": "no credit"}}),
    "elsewhere": (405, {"error": {"message": "not here"}}),
    "no-temperature": (400, {"error": {"message": "'temperature' does not support 0 with this"}}),
    "too-long": (400, {"error": {"message": "too long; {'temperature': 0.0}"}}),
    "filtered": (200, chosen(None, finish_reason="content_filter")),
    "parts": (200, chosen([{"type": "thinking"}, {"type": "text", "text": "7"}])),
    "refusal": (200, chosen(None, message={"refusal": "No."})),
    "half": (200, chosen("7\ud83d")),
    "cut": (200, chosen("7", finish_reason="length") | {"usage": {"completion_tokens": 3}}),
}


class Desk(BaseHTTPRequestHandler):
    """The endpoint."""

    asked: ClassVar = Counter[str]()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        model = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
        first, self.asked[model] = not self.asked[model], self.asked[model] + 1
        status, body = STATES.get(model) or (TROUBLE[model] if first else (200, chosen("7")))
        if model == "late-and-failed" and first:
            Event().wait(LATE)
        page = isinstance(body, str)
        raw = body.encode() if page else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


async def said(url: str, model: str, *, blank: bool, patient: float) -> Any:
    """What it comes to: a completion, or the error."""
    endpoint = Endpoint("it", url, model, give_up_after=patient)
    async with endpoint.client() as client:
        try:
            return await endpoint.completion(client, [], temperature=0.0, blank=blank)
        except (EndpointPaused, EndpointRefused) as error:
            return error


def test_what_is_no_reply_is_waited_out(url: str) -> None:
    """What a reply took before it failed is no time that the endpoint was down."""

    async def all_said() -> list[Any]:
        return await asyncio.gather(
            *(said(url, model, blank=False, patient=LATE - 0.1) for model in TROUBLE)
        )

    assert asyncio.run(all_said()) == [Completion("7", "stop", None)] * len(TROUBLE)


@pytest.mark.parametrize(
    ("model", "kind", "told"),
    [
        ("unpaid", EndpointPaused, "no credit .key from OPENAI_API_KEY"),
        ("elsewhere", EndpointPaused, "not here"),
        ("no-temperature", EndpointPaused, "state another temperature"),
        ("too-long", EndpointRefused, "too long"),
        ("filtered", EndpointRefused, "empty .content_filter"),
    ],
)
def test_what_is_the_endpoints_matter_pauses_and_what_is_the_requests_is_refused(
    url: str, model: str, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        raise asyncio.run(said(url, model, blank=False, patient=0.1))


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("parts", Completion("7", "stop", None)),
        ("refusal", Completion("No.", "stop", None)),
        ("half", Completion("7?", "stop", None)),
        ("cut", Completion("7", "length", 3)),
        ("filtered", Completion("", "content_filter", None)),
    ],
)
def test_an_answer_is_what_a_model_said(url: str, model: str, found: Completion) -> None:
    assert asyncio.run(said(url, model, blank=True, patient=0.1)) == found
