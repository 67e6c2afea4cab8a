"""Endpoints that fail: what is tried again, what is not, and how a run stops."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autodata.models.client import Models
from autodata.models.errors import CallRefused, EndpointDown, ModelMissing, Unauthorized
from autodata.models.limits import EndpointState
from autodata.models.transport import retry_after
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, refuses, says, scripted


async def many(models: Models, number: int = 20) -> list[Any]:
    """Ask for so many documents at once; a reply or an exception each."""
    calls = (models.complete("weak_solver", ASKED, scope=f"d{i}") for i in range(number))
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize(
    "trouble",
    [
        refuses(408),
        refuses(409),
        refuses(429),
        refuses(429, retry_after="0"),
        refuses(500),
        refuses(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
        Reply(reset=True),
        Reply(b'{"choices": [{"mess'),
        Reply(b"<html>Welcome to nginx</html>"),
        Reply(b'{"error": {"message": "worker died"}}'),
        Reply(b'{"choices": []}'),
        Reply(b'{"choices": null}'),
        Reply(b'{"choices": [{"message": {"content": 5}}]}'),
        Reply(b"[]"),
    ],
)
async def test_trouble_that_may_pass_is_waited_out(tmp_path: Path, trouble: Reply) -> None:
    async with scripted(trouble, trouble) as server, calling(tmp_path, server.url) as models:
        said = await models.complete("weak_solver", ASKED, scope="d1")
        assert models.usage()["weak_solver"].failed == 2
    assert said.text == "fine"
    assert rows(tmp_path, "status, failures") == [("ok", 2)]


async def test_a_wrong_key_costs_one_request_and_pauses_the_run(tmp_path: Path) -> None:
    async with (
        scripted(otherwise=refuses(401, "Incorrect API key")) as server,
        calling(tmp_path, server.url) as models,
    ):
        outcomes = await many(models)
    assert {type(outcome) for outcome in outcomes} == {Unauthorized}
    assert "Incorrect API key" in str(outcomes[0])
    assert len({str(outcome) for outcome in outcomes}) == 1
    assert len(server.requests) == 1
    assert rows(tmp_path) == ["failed"]


async def test_a_run_stopped_by_a_wrong_key_goes_on_with_the_right_one(tmp_path: Path) -> None:
    async with scripted(refuses(401)) as server:
        async with calling(tmp_path, server.url) as models:
            await many(models)
        async with calling(tmp_path, server.url) as models:
            assert [said.text for said in await many(models)] == ["fine"] * 20


async def test_the_key_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_KEY", "secret\n")
    endpoint = {"api_key_env": "LOCAL_KEY"}
    async with scripted() as server, calling(tmp_path, server.url, endpoint=endpoint) as models:
        await models.complete("weak_solver", ASKED, scope="d1")
    assert server.keys == ["Bearer secret"]


async def test_a_missing_key_is_named_before_any_request(tmp_path: Path) -> None:
    endpoint = {"api_key_env": "NO_SUCH_KEY"}
    async with scripted() as server, calling(tmp_path, server.url, endpoint=endpoint) as models:
        with pytest.raises(Unauthorized, match="NO_SUCH_KEY is not set"):
            await models.complete("weak_solver", ASKED, scope="d1")
    assert server.requests == []


@pytest.mark.parametrize(
    "key",
    ["sk-first\nsk-second", "sk-\x1b[2J-key", b"sk-\xff-key".decode("utf-8", "surrogateescape")],
)
async def test_a_key_that_no_request_can_carry_is_named_before_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Two lines where one belongs; the key itself is not repeated."""
    monkeypatch.setenv("LOCAL_KEY", key)
    endpoint = {"api_key_env": "LOCAL_KEY"}
    async with scripted() as server, calling(tmp_path, server.url, endpoint=endpoint) as models:
        with pytest.raises(Unauthorized, match=r"holds a line break .* Set LOCAL_KEY") as refused:
            await models.complete("weak_solver", ASKED, scope="d1")
    assert "sk-" not in str(refused.value)
    assert server.requests == []


async def test_a_used_up_quota_is_not_waited_for(tmp_path: Path) -> None:
    quota = refuses(429, "You exceeded your current quota", code="insufficient_quota")
    async with scripted(otherwise=quota) as server, calling(tmp_path, server.url) as models:
        with pytest.raises(Unauthorized, match="exceeded your current quota"):
            await models.complete("weak_solver", ASKED, scope="d1")
    assert len(server.requests) == 1


async def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    async with (
        scripted(refuses(404, "no such model")) as server,
        calling(tmp_path, server.url) as models,
    ):
        with pytest.raises(ModelMissing, match="model 'm'"):
            await models.complete("weak_solver", ASKED, scope="d1")


async def test_a_redirected_address_is_named_not_followed(tmp_path: Path) -> None:
    moved = Reply(status=308, headers={"Location": "/v1/models"})
    async with scripted(moved) as server, calling(tmp_path, server.url) as models:
        with pytest.raises(ModelMissing, match=r"HTTP 308: a redirect.* to /v1/models .*base_url"):
            await models.complete("weak_solver", ASKED, scope="d1")


async def test_an_endpoint_that_stays_down_pauses_the_run_with_one_message(
    tmp_path: Path,
) -> None:
    down = {"give_up_after": 0.02}
    async with (
        scripted(otherwise=refuses(500, "out of memory")) as server,
        calling(tmp_path, server.url, endpoint=down) as models,
    ):
        outcomes = await many(models)
        made = len(server.requests)
        with pytest.raises(EndpointDown):
            await models.complete("weak_solver", ASKED, scope="later")
    assert {type(outcome) for outcome in outcomes} == {EndpointDown}
    assert len({str(outcome) for outcome in outcomes}) == 1
    for part in ("endpoint local", server.url, "HTTP 500: out of memory", "resume"):
        assert part in str(outcomes[0])
    assert len(server.requests) == made


async def test_nobody_at_the_address_is_an_outage(tmp_path: Path) -> None:
    async with scripted() as server:
        url = server.url
    async with calling(tmp_path, url, endpoint={"give_up_after": 0.02}) as models:
        with pytest.raises(EndpointDown, match="Connect call failed"):
            await models.complete("weak_solver", ASKED, scope="d1")


async def test_a_server_that_hangs_pauses_the_run_within_the_time_out(tmp_path: Path) -> None:
    endpoint = {"timeout": 0.05, "give_up_after": 0.05}
    async with (
        scripted(otherwise=Reply(hang=True)) as server,
        calling(tmp_path, server.url, endpoint=endpoint) as models,
    ):
        async with asyncio.timeout(20):
            outcomes = await many(models)
    assert {type(outcome) for outcome in outcomes} == {EndpointDown}
    assert "no answer within 0.05 s" in str(outcomes[0])


async def test_a_long_retry_after_is_not_sat_out(tmp_path: Path) -> None:
    async with (
        scripted(refuses(429, "daily limit", retry_after="3600")) as server,
        calling(tmp_path, server.url) as models,
    ):
        with pytest.raises(EndpointDown, match="asks to wait 3600 s"):
            await models.complete("weak_solver", ASKED, scope="d1")


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("1" + "0" * 12, 86_400.0),
        ("9" * 300, 86_400.0),
        ("9" * 400, 86_400.0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 86_400.0),
        ("Wed, 21 Oct " + "9" * 40 + " 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 +" + "9" * 40, None),
    ],
)
async def test_an_absurd_wait_is_read_as_a_day_and_said_in_words(
    tmp_path: Path, asked: str, seconds: float | None
) -> None:
    assert retry_after({"Retry-After": asked}) == seconds
    patience = {"give_up_after": 0.0}
    async with (
        scripted(otherwise=refuses(429, "later", retry_after=asked)) as server,
        calling(tmp_path, server.url, endpoint=patience) as models,
    ):
        with pytest.raises(EndpointDown) as down:
            await models.complete("weak_solver", ASKED, scope="d1")
    assert ("asks to wait a day or more" in str(down.value)) == (seconds is not None)
    assert "99999" not in str(down.value)


async def test_who_waits_is_there_when_the_endpoint_comes_back(tmp_path: Path) -> None:
    trouble = [refuses(500)] * 30
    never = {"give_up_after": 0.0}
    async with (
        scripted(*trouble) as server,
        calling(tmp_path, server.url, endpoint=never, wait=True) as models,
    ):
        models.registry.endpoint("local").limiter.longest = 0.001
        assert [said.text for said in await many(models, 3)] == ["fine"] * 3


async def test_one_request_that_always_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    def answer(payload: dict[str, Any]) -> Reply:
        poisonous = "poison" in payload["messages"][-1]["content"]
        return refuses(500, "assertion failed") if poisonous else says("fine")

    poison = (ASKED[0], ASKED[1].model_copy(update={"content": "poison"}))
    async with scripted(otherwise=answer) as server, calling(tmp_path, server.url) as models:
        models.registry.endpoint("local").limiter.longest = 0.001

        async def others() -> None:
            while not poisoned.done():
                number = len(server.requests)
                await models.complete("strong_solver", ASKED, scope=f"d{number}")

        poisoned = asyncio.ensure_future(models.complete("weak_solver", poison, scope="bad"))
        await others()
        with pytest.raises(CallRefused, match="failed 12 times"):
            await poisoned


async def test_a_busy_server_is_asked_for_less(tmp_path: Path) -> None:
    """It takes 4 at once: the limit comes down to it, and few requests are refused on the way."""

    def answer(payload: dict[str, Any]) -> Reply:
        if server.in_flight > 4:
            return refuses(429, "busy", retry_after="0.01")
        return replace(says("fine"), seconds=0.003)

    async with scripted(otherwise=answer) as server, calling(tmp_path, server.url) as models:
        outcomes = await many(models, 200)
        limit = models.registry.endpoint("local").limiter.concurrency.limit
    assert {outcome.text for outcome in outcomes} == {"fine"}
    assert limit <= 6
    assert sum(rows(tmp_path, "failures")) < 80


@pytest.mark.parametrize("headers", [{}, {"retry_after": "0"}, {"retry_after_ms": "1"}])
async def test_a_storm_of_refusals_calms_itself(tmp_path: Path, headers: dict[str, str]) -> None:
    """A server that refuses everything and asks for no wait is asked ever less often, and leaves
    one row per call however long it lasts."""
    patience = {"give_up_after": 0.5, "backoff": 0.02}
    async with (
        scripted(otherwise=refuses(429, "busy", **headers)) as server,
        calling(tmp_path, server.url, endpoint=patience) as models,
    ):
        assert {type(outcome) for outcome in await many(models, 30)} == {EndpointDown}
    assert len(server.requests) <= 10
    asked = rows(tmp_path, "scope, status, failures")
    assert len(asked) == len({scope for scope, _, _ in asked})
    assert sum(failures for _, _, failures in asked) == len(server.requests)


async def test_a_storm_in_full_flight_is_over_soon_after_the_server_recovers(
    tmp_path: Path,
) -> None:
    """Thirty refusals of one moment are one setback, not thirty doublings of the wait."""
    settings = {"backoff": 0.01, "give_up_after": 60.0}
    storm = [replace(refuses(429, "busy", retry_after="0"), seconds=0.01)] * 30
    async with (
        scripted(says("fine"), *storm) as server,
        calling(tmp_path, server.url, endpoint=settings) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="first")
        async with asyncio.timeout(20):
            assert [said.text for said in await many(models, 30)] == ["fine"] * 30
    assert len(server.requests) <= 70
    assert rows(tmp_path) == ["ok"] * 31
    assert sum(rows(tmp_path, "failures")) == 30


async def test_who_watches_a_dead_endpoint_sees_what_is_wrong_and_when_the_run_pauses(
    tmp_path: Path,
) -> None:
    """Nothing is answered, yet nothing looks idle: one asks, the others wait, and time runs out."""
    seen: list[EndpointState] = []

    def answer(payload: dict[str, Any]) -> Reply:
        seen.extend(models.endpoints_state())
        return refuses(500, "out of memory")

    down = {"give_up_after": 1.0}
    async with (
        scripted(otherwise=answer) as server,
        calling(tmp_path, server.url, endpoint=down) as models,
    ):
        assert models.endpoints_state() == ()
        await many(models, 5)
        (given_up,) = models.endpoints_state()
    first, *_, last = seen
    assert (first.in_flight, first.failures, first.pauses_in) == (1, 0, None)
    assert last.in_flight + last.waiting == 5
    assert last.failures >= 1
    assert last.last_error == given_up.last_error == "HTTP 500: out of memory"
    assert last.pauses_in is not None
    assert 0 <= last.pauses_in < 1
    assert given_up.pauses_in == 0


async def test_who_watches_an_endpoint_that_works_sees_no_trouble(tmp_path: Path) -> None:
    seen: list[EndpointState] = []

    def answer(payload: dict[str, Any]) -> Reply:
        seen.extend(models.endpoints_state())
        return says("fine")

    async with (
        scripted(refuses(500), otherwise=answer) as server,
        calling(tmp_path, server.url) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
        (idle,) = models.endpoints_state()
    (busy,) = seen
    assert (busy.in_flight, busy.failures, busy.last_error) == (1, 1, "HTTP 500: no")
    assert idle == EndpointState("local")
