"""Batch mode: the same calls, later and for half the price."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from autodata.models.batches import BatchTransport
from autodata.models.client import Models
from autodata.models.errors import CallRefused, Paused
from tests.models.batch_server import BatchServer, batching
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, refuses, says, scripted
from tests.models.test_budget import LOCAL


@asynccontextmanager
async def running(folder: Path, server: BatchServer, run: str = "r1") -> AsyncIterator[Models]:
    """Models in batch mode that do not wait long."""
    async with calling(folder, server.url, batch=run, prices=LOCAL) as models:
        at = models.registry.endpoint("local")
        assert isinstance(at.transport, BatchTransport)
        at.transport.gather = at.transport.poll = 0.01
        at.limiter.prove()
        # What threads find out, whose turn the machine decides, is known before the first call: so
        # calls that are made together get to the batch together.
        models.registry.role_model("weak_solver")
        models.registry.role_model("judge")
        for scope in ("d1", "d2"):
            models.log.load(scope)
        yield models


async def solve(models: Models, number: int) -> list[Any]:
    """So many attempts at one question, all at once."""
    return await asyncio.gather(
        *(models.complete("weak_solver", ASKED, scope="d1", sample=n + 1) for n in range(number))
    )


def fine(body: dict[str, Any]) -> Reply:
    return says("fine")


async def test_calls_made_together_travel_in_one_batch(tmp_path: Path) -> None:
    async with batching(fine) as server, running(tmp_path, server) as models:
        said = await solve(models, 40)
    assert {s.text for s in said} == {"fine"}
    assert server.lines == [40]
    assert rows(tmp_path) == ["ok"] * 40


async def test_a_call_in_a_batch_costs_half(tmp_path: Path) -> None:
    async with batching(fine) as server, running(tmp_path, server) as models:
        await solve(models, 1)
    assert rows(tmp_path, "usd") == [pytest.approx(0.03)]


async def test_the_same_question_of_two_documents_is_two_requests(tmp_path: Path) -> None:
    async with batching(fine) as server, running(tmp_path, server) as models:
        await asyncio.gather(*(models.complete("judge", ASKED, scope=d) for d in ("d1", "d2")))
    assert server.lines == [2]


async def test_a_killed_process_finds_its_batch_again(tmp_path: Path) -> None:
    """Neither what is under way nor what has ended since is sent, or paid for, twice."""
    async with batching(fine, looks=10**9) as server:
        for _ in range(2):
            async with running(tmp_path, server) as models:
                asking = asyncio.ensure_future(solve(models, 3))
                await server.looked.wait()
                server.looked.clear()
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        server.end(server.batches["batch-0"])
        async with running(tmp_path, server) as models:
            assert [s.text for s in await solve(models, 3)] == ["fine"] * 3
    assert server.lines == [3]
    assert len(set(rows(tmp_path, "request_key"))) == 3


async def test_a_batch_whose_receipt_got_lost_is_not_sent_again(tmp_path: Path) -> None:
    async with batching(fine) as server, running(tmp_path, server) as models:
        server.lost = [504]
        assert [s.text for s in await solve(models, 3)] == ["fine"] * 3
    assert server.lines == [3]


async def test_another_run_shares_nothing(tmp_path: Path) -> None:
    async with batching(fine) as server:
        for run in ("r1", "r2"):
            (tmp_path / run).mkdir()
            async with running(tmp_path / run, server, run) as models:
                await solve(models, 3)
    assert server.lines == [3, 3]


async def test_what_expired_or_failed_is_sent_again_and_alone(tmp_path: Path) -> None:
    results = iter([says("fine"), None, refuses(500, "worker died"), says("fine"), says("fine")])

    async with batching(lambda body: next(results)) as server, running(tmp_path, server) as models:
        assert [s.text for s in await solve(models, 3)] == ["fine"] * 3
    assert sum(server.lines) == 5
    assert server.lines[0] == 3
    assert rows(tmp_path) == ["ok"] * 3
    assert sum(rows(tmp_path, "failures")) == 2
    assert sum(rows(tmp_path, "lost_tokens")) == 0


async def test_a_request_refused_in_a_batch_is_refused(tmp_path: Path) -> None:
    async with (
        batching(lambda body: refuses(400, "prompt too long")) as server,
        running(tmp_path, server) as models,
    ):
        with pytest.raises(CallRefused, match="prompt too long"):
            await solve(models, 1)


async def test_a_short_outage_while_waiting_does_not_matter(tmp_path: Path) -> None:
    async with batching(fine) as server, running(tmp_path, server) as models:
        server.trouble = [500, 503, 429]
        assert [s.text for s in await solve(models, 2)] == ["fine"] * 2
    assert rows(tmp_path) == ["ok"] * 2


async def test_results_that_cannot_be_had_at_first_are_not_paid_for_again(tmp_path: Path) -> None:
    async with batching(fine) as server, running(tmp_path, server) as models:
        server.unreadable = [500, 503]
        assert [s.text for s in await solve(models, 3)] == ["fine"] * 3
    assert server.lines == [3]


async def test_an_odd_line_costs_its_own_request_alone(tmp_path: Path) -> None:
    """Half a line, a line of another kind, one without an id, one of nobody's request, and one
    whose answer is none: the answers beside them count."""
    async with batching(fine) as server, running(tmp_path, server) as models:
        server.odd = [
            b'{"custom_id": "half',
            b'["not", "an", "object"]',
            b"\xff\xfe",
            b'{"response": null}',
            b'{"custom_id": "nobody", "response": {"status_code": 200, "body": {}}}',
        ]
        assert [s.text for s in await solve(models, 3)] == ["fine"] * 3
    assert server.lines == [3]


@pytest.mark.parametrize(
    "response",
    [None, {}, [], "late", {"status_code": "odd"}, {"status_code": 200, "body": None},
     {"status_code": 200, "body": []}, {"status_code": 200, "body": {"choices": [None]}}],
)  # fmt: skip
async def test_an_answer_in_a_batch_that_is_none_is_asked_for_again(
    tmp_path: Path, response: object
) -> None:
    async with batching(fine) as server, running(tmp_path, server) as models:
        server.distort = lambda line: {**line, "response": response}
        assert [s.text for s in await solve(models, 2)] == ["fine"] * 2
    assert server.lines == [2, 1]


async def test_an_endpoint_without_batches_says_so_before_anything_is_sent(tmp_path: Path) -> None:
    async with scripted() as server, calling(tmp_path, server.url, batch="r1") as models:
        with pytest.raises(Paused, match="has no batch API"):
            await models.complete("weak_solver", ASKED, scope="d1")
    assert server.requests == []
