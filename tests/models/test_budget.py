"""Money: what a call costs, what may be spent, and what is refused before it is spent."""

import asyncio
import contextlib
import sqlite3
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.ledger.calls import CallLog, Spent
from autodata.models.budget import OUTPUT, Budget, BudgetTracker, Prices, Tariff, WorstCase
from autodata.models.client import Models
from autodata.models.config import EndpointConfig, ModelConfig, Price
from autodata.models.errors import BudgetReached, EndpointDown, UnknownPrice
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, refuses, says, scripted

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


LISTED = {
    "gpt-5-mini": "https://api.openai.com/v1",
    "gemini-2.5-pro": "https://generativelanguage.googleapis.com/v1beta/openai",
    "claude-sonnet-4-5": "https://api.anthropic.com/v1",
    "deepseek-chat": "https://api.deepseek.com",
}
TOKENS = st.integers(0, 1_000_000) | st.sampled_from([199_999, 200_000, 200_001, 272_000])


@settings(deadline=None, max_examples=100)
@given(model=st.sampled_from(sorted(LISTED)), sent=TOKENS, said=TOKENS, share=st.floats(0, 1))
def test_listed_prices_are_those_of_the_list_at_every_length(
    model: str, sent: int, said: int, share: float
) -> None:
    at = EndpointConfig(base_url=LISTED[model])
    cached = int(sent * share)
    usage = Usage(input_tokens=sent, cache_read_tokens=cached, output_tokens=said)
    listed = calc_price(usage, model, provider_api_url=LISTED[model]).total_price
    config = ModelConfig(endpoint="e", model=model)
    found = Prices({}).usd(config, at, input_tokens=sent, output_tokens=said, cached_tokens=cached)
    assert found == pytest.approx(float(listed))


def test_a_long_prompt_is_reserved_at_the_price_of_long_prompts() -> None:
    """From 200,000 tokens on this one costs twice as much, answer included."""
    at = EndpointConfig(base_url=LISTED["gemini-2.5-pro"])
    tariff = Prices({}).tariff(ModelConfig(endpoint="e", model="gemini-2.5-pro"), at)
    assert tariff is not None
    short, long = (tariff.most(sent, 10_000) for sent in (200_000, 200_001))
    assert long > 1.4 * short
    assert long == pytest.approx(tariff.usd(200_001, 10_000))


RATES = st.floats(0, 100)
STEPS = st.builds(
    lambda first, later: ((-1, first), *sorted(later.items())),
    st.builds(Price, input=RATES, output=RATES, cached_input=st.none() | RATES),
    st.dictionaries(
        st.integers(0, 300_000),
        st.builds(Price, input=RATES, output=RATES, cached_input=st.none() | RATES),
        max_size=3,
    ),
)


@settings(max_examples=100)
@given(
    tariff=st.builds(Tariff, STEPS, fee=st.floats(0, 1), share=st.sampled_from([1.0, 0.5])),
    most=st.tuples(st.integers(0, 400_000), st.integers(0, 20_000)),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
)
def test_no_call_costs_more_than_was_reserved_for_it(
    tariff: Tariff, most: tuple[int, int], shares: tuple[float, float, float]
) -> None:
    """Whatever the price does with length, even fall, and whatever cached tokens cost."""
    sent, said = (int(share * limit) for share, limit in zip(shares, most, strict=False))
    worst = WorstCase(*most, tariff, strict=True)
    for stated in ((sent, int(shares[2] * sent), said), (sent, None, None), (None, None, said)):
        usd, reserved = worst.settle(*stated).usd, worst.cost.usd
        assert usd is not None
        assert reserved is not None
        assert usd <= reserved * (1 + 1e-12)


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
        (Budget(tokens=90), "45 of 90 tokens are used"),
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


UNCOUNTED = says("fine", usage={"prompt_tokens": None})


async def test_a_call_that_the_endpoint_did_not_count_is_settled_at_its_worst_case(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {"model": {"max_tokens": 5}, "prices": LOCAL}
    async with (
        scripted(otherwise=UNCOUNTED) as server,
        calling(tmp_path, server.url, **settings, budget=Budget(usd=1)) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
        spent = models.budget_tracker.spent
        assert models.usage()["weak_solver"].estimated == 1
    (row,) = rows(tmp_path, "estimated, input_tokens, output_tokens, usd")
    assert row[0] == 1
    assert row[1] >= sum(len(message.content) for message in ASKED)
    assert row[2] == 5
    assert (spent.tokens, spent.usd) == (row[1] + 5, pytest.approx(row[3]))


async def test_a_resumed_budget_counts_calls_that_nobody_counted(tmp_path: Path) -> None:
    budget, asked = Budget(tokens=150), 0
    async with scripted(otherwise=UNCOUNTED) as server:
        for _ in range(5):
            async with calling(
                tmp_path, server.url, model={"max_tokens": 5}, budget=budget
            ) as models:
                asked += 1
                with contextlib.suppress(BudgetReached):
                    await models.complete("weak_solver", ASKED, scope="d1", sample=asked)
    assert len(server.requests) == 2


async def test_a_count_beyond_what_was_asked_for_is_not_believed(tmp_path: Path) -> None:
    absurd = says("fine", usage={"prompt_tokens": 10, "completion_tokens": 10**9})
    budget = Budget(tokens=1000)
    async with (
        scripted(otherwise=absurd) as server,
        calling(tmp_path, server.url, model={"max_tokens": 5}, budget=budget) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
    assert rows(tmp_path, "estimated, input_tokens, output_tokens") == [(1, 10, 5)]


async def test_a_budget_bounds_the_replies_that_it_pays_for(tmp_path: Path) -> None:
    async with scripted() as server:
        for number, budget in enumerate((Budget(calls=9), Budget(tokens=20_000))):
            async with calling(tmp_path, server.url, budget=budget) as models:
                await models.complete("weak_solver", ASKED, scope=f"d{number}")
    assert [request.get("max_tokens") for request in server.requests] == [None, OUTPUT]


async def test_a_model_of_small_context_is_not_refused_for_the_limit_of_a_budget(
    tmp_path: Path,
) -> None:
    """Its context is the lower limit then; found out once for prompts of this length."""

    def small(payload: dict[str, Any]) -> Reply:
        if payload.get("max_tokens", 0) > 4000:
            return refuses(400, "This model's maximum context length is 4096 tokens.")
        return says("fine")

    async with (
        scripted(otherwise=small) as server,
        calling(tmp_path, server.url, budget=Budget(tokens=90_000)) as models,
    ):
        for number in range(3):
            said = await models.complete("weak_solver", ASKED, scope=f"d{number}")
            assert said.text == "fine"
    assert [request.get("max_tokens") for request in server.requests] == [OUTPUT, None, None, None]


@pytest.mark.parametrize(
    ("trouble", "lost"),
    [
        (refuses(429), False),
        (refuses(500), False),
        (refuses(504), True),
        (Reply(reset=True), True),
        (Reply(b"<html>"), True),
        (Reply(b'{"choices": []}'), True),
    ],
)
async def test_a_failure_that_may_be_paid_for_counts_and_a_refusal_does_not(
    tmp_path: Path, trouble: Reply, lost: bool
) -> None:
    async with (
        scripted(trouble) as server,
        calling(tmp_path, server.url, model={"max_tokens": 5}, budget=Budget(tokens=900)) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
        spent = models.budget_tracker.spent
    ((status, failures, tokens),) = rows(tmp_path, "status, failures, lost_tokens")
    assert (status, failures, tokens > 15) == ("ok", 1, lost)
    assert spent.tokens == 15 + tokens


async def test_what_is_dropped_while_under_way_may_be_paid_for(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "run.db")
    dropped = asyncio.Event()

    def hang(payload: dict[str, Any]) -> Reply:
        dropped.set()
        return Reply(hang=True)

    async with (
        scripted(otherwise=hang) as server,
        calling(tmp_path, server.url, model={"max_tokens": 5}, budget=Budget(tokens=900)) as models,
    ):
        asking = asyncio.ensure_future(models.complete("weak_solver", ASKED, scope="d1"))
        await dropped.wait()
        asking.cancel()
        await asyncio.wait([asking])
        assert models.budget_tracker.spent == Spent()  # it may be answered yet
    spent = models.budget_tracker.spent
    assert spent.tokens > 15
    assert log.spent() == spent
    log.close()


async def test_nothing_is_paid_where_nobody_listens(tmp_path: Path) -> None:
    async with scripted() as server:
        url = server.url
    nobody = {"give_up_after": 0.02}
    async with calling(tmp_path, url, endpoint=nobody, budget=Budget(tokens=90_000)) as models:
        with pytest.raises(EndpointDown):
            await models.complete(
                "weak_solver",
                ASKED,
                scope="d1",
            )
        assert models.budget_tracker.spent == Spent()


def stating(**usage: Any) -> Reply:
    return says("fine", usage=usage or {"total_tokens": None})


REPLIES = st.sampled_from(
    [
        says("fine"),
        says("", usage={"prompt_tokens": 9, "completion_tokens": 3}),
        stating(),
        stating(prompt_tokens=7),
        stating(completion_tokens=4),
        stating(prompt_tokens=10**12, completion_tokens=1),
        stating(prompt_tokens=12, completion_tokens=10**12),
        stating(prompt_tokens=-5, completion_tokens="many"),
        stating(
            prompt_tokens=9, completion_tokens=3, prompt_tokens_details={"cached_tokens": 10**6}
        ),
        refuses(429, retry_after="0"),
        refuses(500),
        Reply(b"<html>"),
        Reply(reset=True),
    ]
)
BUDGETS = st.one_of(
    st.builds(Budget, tokens=st.integers(0, 900)),
    st.builds(Budget, usd=st.floats(0, 2)),
    st.builds(Budget, usd=st.floats(0, 2), tokens=st.integers(0, 900), calls=st.integers(0, 9)),
)


@dataclass(frozen=True)
class Session:
    """One process: how many calls it makes at once, how it is answered, when it is killed."""

    calls: int
    replies: list[Reply]
    killed_at: int | None  # by the number of the request that is under way


SESSIONS = st.lists(
    st.builds(
        Session,
        calls=st.integers(1, 6),
        replies=st.lists(REPLIES, max_size=8),
        killed_at=st.none() | st.integers(1, 6),
    ),
    min_size=1,
    max_size=3,
)
TARIFF = {"local/m": Price(input=1_000, output=10_000, cached_input=2_000)}


@settings(deadline=None, max_examples=30)
@given(budget=BUDGETS, sessions=SESSIONS)
def test_what_the_log_says_is_spent_never_exceeds_the_budget(
    budget: Budget, sessions: list[Session]
) -> None:
    """However an endpoint counts, whenever the process is killed, and however often it goes on."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        for session in sessions:
            at = asyncio.run(play(session, budget, at))


async def play(session: Session, budget: Budget, at: Path) -> Path:
    """One process on the run in a folder; returns the folder that the next one finds."""
    left, replies = at / "killed", iter(session.replies)

    def answer(payload: dict[str, Any]) -> Reply:
        if len(server.requests) == session.killed_at:
            left.mkdir()
            with (
                contextlib.closing(sqlite3.connect(left / "run.db")) as copy,
                contextlib.closing(sqlite3.connect(at / "run.db")) as present,
            ):
                present.backup(copy)  # what a process that is killed now leaves on disk
        return next(replies, says("fine"))

    settings: dict[str, Any] = {"model": {"max_tokens": 5}, "prices": TARIFF}
    async with (
        scripted(otherwise=answer) as server,
        calling(at, server.url, budget=budget, **settings) as models,
    ):
        calls = [
            models.complete("weak_solver", ASKED, scope=f"{session.calls}/{i}")
            for i in range(session.calls)
        ]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert not isinstance(outcome, BaseException) or isinstance(outcome, BudgetReached)
        counted, tracked = models.log.spent(), models.budget_tracker.spent
    assert counted == replace(tracked, usd=pytest.approx(tracked.usd))
    found = left if left.exists() else at
    for folder in {at, found}:
        log = CallLog(folder / "run.db")
        assert within(log.spent(), budget)
        log.close()
    return found


def within(spent: Spent, budget: Budget) -> bool:
    limits = (budget.usd, budget.calls, budget.tokens)
    used = (spent.usd - 1e-9, spent.calls, spent.tokens)
    return all(limit is None or u <= limit for limit, u in zip(limits, used, strict=True))


def test_a_budget_less_what_was_spent_is_never_below_nothing() -> None:
    spent = [Spent(usd=0.5, calls=3, tokens=40), Spent(usd=1.0, calls=9, tokens=5)]
    assert Budget(usd=2, calls=10).less(spent) == Budget(usd=0.5, calls=0)
    assert Budget(tokens=50).less(spent) == Budget(tokens=5)
    assert Budget().less(spent) == Budget()
