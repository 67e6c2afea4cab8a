"""Money: what a call costs, what may be spent, and what is refused before it is spent."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autodata.ledger.calls import CallLog, Spent
from autodata.models.budget import Budget, BudgetTracker, Prices
from autodata.models.client import Models
from autodata.models.config import EndpointConfig, ModelConfig, Price
from autodata.models.errors import BudgetReached, UnknownPrice
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import says, scripted

LOCAL = {"local/m": Price(input=1_000, output=10_000)}  # a token in costs $0.001, one out $0.01
OPENAI = EndpointConfig()
VLLM = EndpointConfig(base_url="http://localhost:8000/v1")


def cost(config: ModelConfig, at: EndpointConfig, prices: Prices, cached: int = 0) -> float | None:
    """US dollars for a million tokens in (so many of them cached) and a million out."""
    million = 1_000_000
    return prices.usd(config, at, input_tokens=million, output_tokens=million, cached_tokens=cached)


def test_a_price_is_stated_or_listed_or_unknown_but_never_guessed() -> None:
    listed, unlisted = ModelConfig(endpoint="o", model="gpt-5-mini"), "Qwen/Qwen3.5-4B"
    local = ModelConfig(endpoint="local", model=unlisted)
    simulated = ModelConfig(endpoint="simulated", model="simulated-weak")
    prices = Prices({})
    assert cost(listed, OPENAI, prices) == pytest.approx(2.25)
    assert cost(local, VLLM, prices) is None
    assert cost(simulated, OPENAI, prices) == 0.0
    stated = Prices({"local/Qwen/Qwen3.5-4B": Price(input=3, output=5)})
    assert cost(local, VLLM, stated) == pytest.approx(8.0)


def test_cached_input_is_cheaper_where_a_price_says_so() -> None:
    listed, local = (ModelConfig(endpoint=e, model=m) for e, m in (("o", "gpt-5-mini"), ("l", "m")))
    million = 1_000_000
    assert cost(listed, OPENAI, Prices({}), cached=million) == pytest.approx(2.025)
    same = Prices({"l/m": Price(input=2, output=0)})
    half = Prices({"l/m": Price(input=2, output=0, cached_input=1)})
    assert cost(local, VLLM, same, cached=million) == pytest.approx(2.0)
    assert cost(local, VLLM, half, cached=million) == pytest.approx(1.0)


async def test_the_cost_of_a_call_is_on_record(tmp_path: Path) -> None:
    async with scripted() as server, calling(tmp_path, server.url, prices=LOCAL) as models:
        await models.complete("weak_solver", ASKED, scope="d1")
        assert models.usage()["weak_solver"].usd == pytest.approx(0.06)
    assert rows(tmp_path, "usd") == [pytest.approx(0.06)]


async def test_an_unknown_price_stays_unknown(tmp_path: Path) -> None:
    async with scripted() as server, calling(tmp_path, server.url) as models:
        await models.complete("weak_solver", ASKED, scope="d1")
        assert models.usage()["weak_solver"].unpriced == 1
    assert rows(tmp_path, "usd") == [None]


async def test_a_budget_in_dollars_needs_every_price(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "run.db")
    local = {"judge": ModelConfig(endpoint="local", model="m")}
    with pytest.raises(UnknownPrice, match=r"prices: \{local/m: \{input: …, output: …\}\}"):
        Models(log=log, endpoints={"local": VLLM}, models=local, budget=Budget(usd=1))
    Models(log=log, endpoints={"local": VLLM}, models=local, prices=LOCAL, budget=Budget(usd=1))
    Models(log=log, budget=Budget(usd=0))  # simulated models cost nothing
    log.close()


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(calls=3), "3 of 3 calls are made"),
        (Budget(usd=0.25), r"\$0.1800 of \$0.25 are spent"),
        (Budget(tokens=80), "45 of 80 tokens are used"),
    ],
)
async def test_a_budget_is_reached_and_never_exceeded(
    tmp_path: Path, budget: Budget, words: str
) -> None:
    model = {"max_tokens": 5}
    async with scripted() as server:
        settings: dict[str, Any] = {"model": model, "prices": LOCAL, "budget": budget}
        async with calling(tmp_path, server.url, **settings) as models:
            for number in range(3):
                await models.complete("weak_solver", ASKED, scope="d1", sample=number + 1)
            with pytest.raises(BudgetReached, match=words):
                await models.complete("weak_solver", ASKED, scope="d1", sample=4)
            await models.complete("weak_solver", ASKED, scope="d1", sample=1)  # on record, and free
    assert len(server.requests) == 3


async def test_concurrent_calls_share_one_budget(tmp_path: Path) -> None:
    slow = replace(says("fine"), seconds=0.005)
    async with (
        scripted(otherwise=slow) as server,
        calling(tmp_path, server.url, budget=Budget(calls=7)) as models,
    ):
        calls = (models.complete("weak_solver", ASKED, scope=f"d{i}") for i in range(20))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, BudgetReached) for outcome in outcomes) == 13
    assert len(server.requests) == 7


async def test_what_earlier_processes_spent_counts(tmp_path: Path) -> None:
    async with scripted() as server:
        for sample in (1, 2):
            async with calling(tmp_path, server.url, budget=Budget(calls=2)) as models:
                await models.complete("weak_solver", ASKED, scope="d1", sample=sample)
        async with calling(tmp_path, server.url, budget=Budget(calls=2)) as models:
            with pytest.raises(BudgetReached):
                await models.complete("weak_solver", ASKED, scope="d1", sample=3)
        async with calling(tmp_path, server.url, budget=Budget(calls=3)) as models:
            await models.complete("weak_solver", ASKED, scope="d1", sample=3)


async def test_a_call_waits_while_those_in_flight_may_leave_enough() -> None:
    budget_tracker = BudgetTracker(Budget(tokens=100), Spent())
    async with budget_tracker.reserve(Spent(tokens=80)) as first:
        second = asyncio.ensure_future(budget_tracker.take(Spent(tokens=50)))
        await asyncio.sleep(0)
        assert not second.done()
        first.used = Spent(tokens=10)
    await second
    assert (budget_tracker.spent.tokens, budget_tracker.reserved.tokens) == (10, 50)


async def test_a_failed_request_gives_its_reservation_back() -> None:
    budget_tracker = BudgetTracker(Budget(tokens=100), Spent())
    with pytest.raises(OSError, match="reset"):
        async with budget_tracker.reserve(Spent(tokens=80)):
            raise OSError("reset")
    assert (budget_tracker.spent, budget_tracker.reserved.tokens) == (Spent(), 0)
