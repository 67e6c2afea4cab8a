"""An OpenAI-compatible endpoint for measurements: constant latency, fixed replies, little CPU.

    python benchmarks/server.py --latency 0.05

Prints its address on one line and serves until its standard input closes. `GET /stats` says what it
was asked. What it replies follows from the request alone (see workload.py).
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, dataclass

from aiohttp import web
from workload import reply_to


@dataclass
class Stats:
    """What was asked since the start; bytes are those of bodies and replies in words."""

    calls: int = 0
    refused: int = 0
    asked_bytes: int = 0
    said_bytes: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


class Endpoint:
    """Answers after `latency` seconds; with a `capacity`, requests beyond it get a 429 at once."""

    def __init__(self, latency: float, capacity: int | None) -> None:
        self.latency = latency
        self.capacity = capacity
        self.stats = Stats()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/stats":
            return web.json_response(asdict(self.stats))
        if request.method == "GET":
            return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})
        body = await request.read()
        stats = self.stats
        if self.capacity and stats.in_flight >= self.capacity:
            stats.refused += 1
            error = {"message": "too many requests", "type": "rate_limit", "code": "rate_limit"}
            return web.json_response({"error": error}, status=429)
        stats.in_flight += 1
        stats.most_in_flight = max(stats.most_in_flight, stats.in_flight)
        try:
            await asyncio.sleep(self.latency)
        finally:
            stats.in_flight -= 1
        said = completion(json.loads(body), len(body))
        stats.calls += 1
        stats.asked_bytes += len(body)
        stats.said_bytes += len(said)
        return web.Response(body=said, content_type="application/json")


def completion(asked: dict, size: int) -> bytes:
    """The body of a chat completion; four bytes count as a token."""
    text = reply_to(asked["model"], " ".join(str(m["content"]) for m in asked["messages"]))
    sent, said = size // 4, len(text) // 4
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {
            "prompt_tokens": sent,
            "completion_tokens": said,
            "total_tokens": sent + said,
        },
    }
    return json.dumps(body).encode()


async def main() -> None:
    """Serves on a free port of this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds per answer")
    parser.add_argument("--capacity", type=int, help="requests at once; more get a 429")
    given = parser.parse_args()
    runner = web.ServerRunner(web.Server(Endpoint(given.latency, given.capacity).handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
