"""The simulated models over a real wire, and the troubles that their server can declare."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from autodata.simulation.__main__ import main
from autodata.simulation.server import NotLoopback, Server, is_loopback, serve
from autodata.simulation.transport import Faults, Latency
from tests.models.asking import challenger, document, said

ASKED = challenger("cs", document("cs", "bounded-load"))
MESSAGES = [message.model_dump() for message in ASKED]
BODY = {"model": "simulated", "messages": MESSAGES, "seed": 4}


class Client:
    """One HTTP session and the server it talks to."""

    def __init__(self, session: aiohttp.ClientSession, server: Server) -> None:
        self.session = session
        self.server = server
        self.root = server.base_url.removesuffix("/v1")

    async def complete(self, **changed: Any) -> tuple[int, Any]:
        """Status and JSON body of a completion."""
        url = f"{self.server.base_url}/chat/completions"
        async with self.session.post(url, json=BODY | changed) as response:
            return response.status, await response.json()

    async def get(self, path: str) -> Any:
        async with self.session.get(self.root + path) as response:
            return await response.json()


@asynccontextmanager
async def client(brings: str = "", **settings: Any) -> AsyncIterator[Client]:
    """A client that brings this key, and its server with these settings."""
    headers = {"Authorization": f"Bearer {brings}"} if brings else {}
    async with (
        serve(Server(**settings)) as server,
        aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=20)) as session,
    ):
        yield Client(session, server)


def content(body: Any) -> str:
    return str(body["choices"][0]["message"]["content"])


async def test_an_answer_over_the_wire_is_the_one_given_in_process():
    async with client() as at:
        status, body = await at.complete()
    assert status == 200
    assert content(body) == said(ASKED, seed=4).content
    assert body["usage"]["prompt_tokens"] == said(ASKED, seed=4).input_tokens


async def test_it_says_what_it_was_asked():
    async with client() as at:
        await at.complete()
        await at.complete(seed=5)
        stats, models = await at.get("/stats"), await at.get("/v1/models")
    assert stats["roles"] == {"challenger": 2}
    assert stats["models"] == {"simulated": 2}
    assert {m["id"] for m in models["data"]} > {"simulated-weak", "simulated-strong"}


async def test_a_wrong_key_is_refused_and_the_right_one_serves():
    async with client("wrong", key="right") as at:
        assert (await at.complete())[0] == 401
    async with client("right", key="right") as at:
        assert (await at.complete())[0] == 200


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"model": ""}, "model"), ({"messages": []}, "messages")],
)
async def test_a_bad_request_is_told_what_is_wrong(changed: dict[str, Any], named: str):
    async with client() as at:
        status, body = await at.complete(**changed)
    assert status == 400
    assert named in body["error"]["message"]


async def test_an_answer_that_is_asked_for_as_a_stream_comes_line_by_line():
    async with client() as at:
        url = f"{at.server.base_url}/chat/completions"
        async with at.session.post(url, json=BODY | {"stream": True}) as response:
            *events, last, _ = (await response.read()).split(b"\n\n")
        _, body = await at.complete()
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    told = "".join(delta["content"] for delta in deltas)
    assert {**deltas[0], "content": told} == body["choices"][0]["message"]
    assert len(deltas) == len(told.splitlines()) > 1
    assert [chunk["usage"] for chunk in chunks if chunk["usage"]] == [body["usage"]]
    assert last == b"data: [DONE]"


async def test_it_listens_on_this_machine_only():
    with pytest.raises(NotLoopback, match=r"0\.0\.0\.0 is not a loopback address"):
        async with serve(host="0.0.0.0"):
            pass
    assert is_loopback("::1")
    assert not is_loopback("example.org")


def test_the_command_explains_wrong_use():
    other = CliRunner().invoke(main, ["--host", "192.0.2.1"])
    assert (other.exit_code, "not a loopback address" in other.stderr) == (1, True)
    wrong = CliRunner().invoke(main, ["--faults", '{"rates": {"reset": 1.5}}'])
    assert wrong.exit_code == 2
    assert "less than or equal to 1" in wrong.stderr


@pytest.mark.parametrize(
    ("fault", "status"), [("rate_limited", 429), ("unavailable", 503), ("error", 500)]
)
async def test_refusals_come_with_and_without_a_time_to_wait(fault: Any, status: int):
    for retry_after, told in ((None, None), (2, None if status == 500 else "2")):
        async with client(faults=Faults(script=(fault,), retry_after=retry_after)) as at:
            url = f"{at.server.base_url}/chat/completions"
            async with at.session.post(url, json=BODY) as response:
                assert (response.status, response.headers.get("Retry-After")) == (status, told)
            assert (await at.complete())[0] == 200


@pytest.mark.parametrize("fault", ["reset", "hang", "truncated_body"])
async def test_connections_are_cut(fault: Any):
    async with client(faults=Faults(script=(fault,), hang=0.01)) as at:
        with pytest.raises(aiohttp.ClientError):
            await at.complete()
        assert (await at.complete())[0] == 200


async def test_answers_can_be_none():
    faults = Faults(script=("wrong_json", "refusal", "empty", "length", "other_model"))
    async with client(faults=faults) as at:
        with pytest.raises(json.JSONDecodeError):
            await at.complete()
        choices = [(await at.complete())[1]["choices"][0] for _ in range(3)]
        _, other = await at.complete()
        assert (await at.get("/stats"))["faults"]["refusal"] == 1
    assert choices[0]["message"]["refusal"]
    assert choices[1]["message"]["content"] == ""
    assert choices[2]["finish_reason"] == "length"
    assert said(ASKED, seed=4).content.startswith(choices[2]["message"]["content"])
    assert other["model"] != "simulated"


async def test_a_model_that_is_not_served_is_not_found():
    async with client(faults=Faults(models=("simulated-weak",))) as at:
        status, body = await at.complete()
        assert (status, body["error"]["code"]) == (404, "model_not_found")
        assert (await at.complete(model="simulated-weak"))[0] == 200


@pytest.mark.parametrize(("queue", "refused", "takes"), [(False, 4, 0.5), (True, 0, 0.01)])
async def test_beyond_its_capacity_it_refuses_or_queues(queue: bool, refused: int, takes: float):
    faults = Faults(capacity=2, queue=queue, latency=Latency(median=takes))
    async with client(faults=faults) as at:
        statuses = [s for s, _ in await asyncio.gather(*(at.complete() for _ in range(6)))]
    assert statuses.count(429) == refused
    assert statuses.count(200) == 6 - refused


def test_rates_are_kept_and_follow_from_the_seed():
    faults = Faults(rates={"reset": 0.1, "error": 0.2}, seed=3)
    drawn = [faults.fault(number) for number in range(2000)]
    assert 150 < drawn.count("reset") < 250
    assert 330 < drawn.count("error") < 470
    assert drawn == [faults.fault(number) for number in range(2000)]
    assert drawn != [faults.model_copy(update={"seed": 4}).fault(n) for n in range(2000)]
