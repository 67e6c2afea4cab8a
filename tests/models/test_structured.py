"""Structured replies: whatever the endpoint can do, and whatever the model makes of it."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from autodata.agents.replies import Reply as Schema
from autodata.models.errors import CutOff
from autodata.models.replies import BOUNDS, Malformed, keywords, parse, response_format
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, refuses, says, scripted


class Finding(Schema):
    """A reply with the types that models like to get wrong."""

    passed: bool
    weight: int
    verdict: Literal["PASS", "FAIL"]
    notes: list[str] = Field(default_factory=list)
    score: float = Field(0.0, allow_inf_nan=False)


GOOD = '{"passed": true, "weight": 3, "verdict": "PASS"}'
FOUND = Finding(passed=True, weight=3, verdict="PASS")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here it is:\n```\n{GOOD}\n```\nI hope this helps.",
        f"Sure! {GOOD} Anything else?",
        f"<think>Is it {{}}?</think>{GOOD}",
        '{"passed": true, "weight": 3, "verdict": "PASS",}',
        "{'passed': true, 'weight': 3, 'verdict': 'PASS'}",
        '{"passed": true, "weight": 3, "verdict": "PASS", "surplus": 1}',
    ],
)
async def test_a_reply_in_a_common_wrapping_is_understood(tmp_path: Path, text: str) -> None:
    async with scripted(says(text)) as server, calling(tmp_path, server.url) as models:
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value == FOUND
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("I cannot do this.", "Input should be an object"),
        ('{"passed": "false", "weight": 3, "verdict": "PASS"}', "passed: "),
        ('{"passed": true, "weight": "3", "verdict": "PASS"}', "weight: "),
        ('{"passed": true, "weight": 3.5, "verdict": "PASS"}', "weight: "),
        ('{"passed": true, "weight": NaN, "verdict": "PASS"}', "weight: "),
        ('{"passed": true, "weight": 3, "verdict": "PASS", "score": NaN}', "score: "),
        ('{"passed": true, "weight": 3, "verdict": "MAYBE"}', "verdict: "),
        ('{"passed": true, "verdict": "PASS"}', "weight: Field required"),
        ("[1, 2]", "object"),
    ],
)
async def test_a_reply_that_does_not_fit_is_asked_for_again_with_its_fault(
    tmp_path: Path, text: str, complaint: str
) -> None:
    async with scripted(says(text), says(GOOD)) as server, calling(tmp_path, server.url) as models:
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value == FOUND
    *_, repeated, told = server.requests[1]["messages"]
    assert repeated == {"role": "assistant", "content": text}
    assert complaint in told["content"]
    assert rows(tmp_path) == ["malformed", "ok"]


async def test_a_reply_that_never_fits_ends_as_a_problem_and_is_replayed_as_one(
    tmp_path: Path,
) -> None:
    async with scripted(otherwise=says('{"passed": 1}')) as server:
        for _ in range(2):
            async with calling(tmp_path, server.url) as models:
                answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
            assert answered.value is None
            assert "passed: " in answered.problem
    assert rows(tmp_path) == ["malformed"] * 3
    assert len(server.requests) == 3


CUT = says('{"passed": true, "weight": 3, "verdict": "PASS", "notes": ["a', finish_reason="length")


@pytest.mark.parametrize(
    ("stated", "asked"),
    [
        ({"max_tokens": 50}, [50, 100, None]),
        ({"extra": {"max_completion_tokens": 50}}, [50, 100, None]),
        ({}, [None, 10, None]),  # twice what the reply took, by the endpoint's count
    ],
)
async def test_a_reply_cut_off_is_not_mended_but_asked_for_again_with_more_room(
    tmp_path: Path, stated: dict[str, Any], asked: list[int | None]
) -> None:
    async with (
        scripted(CUT, says(GOOD), says("fine")) as server,
        calling(tmp_path, server.url, model=stated) as models,
    ):
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value == FOUND
    assert rows(tmp_path) == ["truncated", "ok"]
    allowed = [r.get("max_tokens", r.get("max_completion_tokens")) for r in server.requests]
    assert allowed == asked[:2]
    assert "much shorter" in server.requests[1]["messages"][-1]["content"]


async def test_a_reply_that_never_ends_costs_no_round_and_says_what_to_do(tmp_path: Path) -> None:
    async with scripted(otherwise=CUT) as server:
        for _ in range(2):  # the second time from the log
            async with calling(tmp_path, server.url, model={"max_tokens": 50}) as models:
                with pytest.raises(CutOff, match=r"asked for 3 times.*by the token limit") as cut:
                    await models.complete_as("challenger", ASKED, Finding, scope="d1")
            assert cut.value.remedy.startswith("Raise models.challenger.max_tokens")
    assert [request["max_tokens"] for request in server.requests] == [50, 100, 200]
    assert rows(tmp_path) == ["truncated"] * 3


async def test_more_room_than_an_endpoint_gives_is_not_insisted_on(tmp_path: Path) -> None:
    def small(payload: dict[str, Any]) -> Reply:
        if payload["max_tokens"] > 60:
            return refuses(400, "max_tokens is too large: at most 60")
        return says(GOOD) if len(payload["messages"]) > 2 else CUT

    async with (
        scripted(otherwise=small) as server,
        calling(tmp_path, server.url, model={"max_tokens": 50}) as models,
    ):
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value == FOUND
    assert [request["max_tokens"] for request in server.requests] == [50, 100, 50]


async def test_a_reply_that_breaks_off_without_a_word_is_asked_for_again(tmp_path: Path) -> None:
    cut = says('{"passed": true, "weight": 3, "verdict": "PASS", "notes": ["a"')
    async with scripted(cut, says(GOOD)) as server, calling(tmp_path, server.url) as models:
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value == FOUND
    assert rows(tmp_path, "error") == ["it is JSON that breaks off before its end", ""]


async def test_a_reply_complete_at_the_very_limit_counts(tmp_path: Path) -> None:
    async with (
        scripted(says(GOOD, finish_reason="length")) as server,
        calling(tmp_path, server.url) as models,
    ):
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value == FOUND


async def test_a_refusal_in_words_is_malformed_not_silence(tmp_path: Path) -> None:
    refusal = says(None, refusal="I'd rather not.")
    async with scripted(otherwise=refusal) as server, calling(tmp_path, server.url) as models:
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value is None
    assert rows(tmp_path, "response") == ["I'd rather not."] * 3


async def test_escaped_surrogates_in_a_reply_do_no_harm(tmp_path: Path) -> None:
    text = '{"passed": true, "weight": 3, "verdict": "PASS", "notes": ["\\ud800 x"]}'
    async with scripted(says(text)) as server, calling(tmp_path, server.url) as models:
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value is not None
    assert answered.value.notes == ["\ufffd x"]


def only_json_object(payload: dict[str, Any]) -> Reply:
    """An endpoint that knows JSON mode but no schema."""
    if payload.get("response_format", {}).get("type") == "json_schema":
        return refuses(400, "response_format 'json_schema' is not supported")
    return says(GOOD)


def no_json_mode(payload: dict[str, Any]) -> Reply:
    """An endpoint that knows neither."""
    if "response_format" in payload:
        return refuses(422, "unknown field response_format")
    return says(GOOD)


@pytest.mark.parametrize(
    ("endpoint", "kind", "refused"), [(only_json_object, "json_object", 1), (no_json_mode, None, 2)]
)
async def test_what_the_endpoint_lacks_is_found_out_once(
    tmp_path: Path, endpoint: Any, kind: str | None, refused: int
) -> None:
    async with scripted(otherwise=endpoint) as server, calling(tmp_path, server.url) as models:
        for scope in ("d1", "d2", "d3"):
            assert (
                await models.complete_as("challenger", ASKED, Finding, scope=scope)
            ).value == FOUND
    last = server.requests[-1]
    assert last.get("response_format") == (kind and {"type": kind})
    assert last["messages"][-1]["content"].startswith("Why?\n\nReply with one JSON object")
    assert rows(tmp_path, "status, failures") == [("ok", refused), ("ok", 0), ("ok", 0)]


async def test_a_found_out_lack_does_not_change_what_was_asked(tmp_path: Path) -> None:
    async with scripted(otherwise=only_json_object) as server:
        for _ in range(2):
            async with calling(tmp_path, server.url) as models:
                await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert len(server.requests) == 2


def test_the_schema_sent_is_strict() -> None:
    sent = response_format(Finding)["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["required"] == ["passed", "weight", "verdict", "notes", "score"]
    assert sent["schema"]["additionalProperties"] is False
    assert "default" not in str(sent["schema"])


class Bounded(Schema):
    """A reply whose values are bounded."""

    level: Literal[1, 2, 3]
    maxItems: int = Field(ge=0, le=9)
    names: list[Annotated[str, Field(max_length=5)]] = Field(min_length=1, max_length=2)


BOUNDED = {
    "level": {"enum": [1, 2, 3], "type": "integer"},
    "maxItems": {"maximum": 9, "minimum": 0, "type": "integer"},
    "names": {"items": {"maxLength": 5, "type": "string"}, "maxItems": 2, "minItems": 1}
    | {"type": "array"},
}


def sent_schema(request: dict[str, Any]) -> Any:
    return request["response_format"]["json_schema"]["schema"]["properties"]


async def test_the_bounds_of_a_reply_are_sent(tmp_path: Path) -> None:
    text = '{"level": 2, "maxItems": 3, "names": ["a"]}'
    async with scripted(says(text)) as server, calling(tmp_path, server.url) as models:
        answered = await models.complete_as("challenger", ASKED, Bounded, scope="d1")
    assert answered.value is not None
    assert sent_schema(server.requests[0]) == BOUNDED


@pytest.mark.parametrize(
    ("refused", "words", "left"),
    [
        (("maxLength",), "In context=('properties',), 'maxLength' is not permitted.", "minItems"),
        (("maxLength", "minItems"), "json schema: {} is not supported", "maximum"),
        (BOUNDS, "The provided JSON schema contains features not supported by xgrammar", "enum"),
        (BOUNDS, "Invalid schema for response_format 'Bounded'", "enum"),
        (BOUNDS, "failed to parse grammar", "enum"),
    ],
)
async def test_a_bound_that_an_endpoint_refuses_is_left_out_and_no_other(
    tmp_path: Path, refused: tuple[str, ...], words: str, left: str
) -> None:
    def answer(payload: dict[str, Any]) -> Reply:
        schema = sent_schema(payload)
        found = keywords([schema["names"], schema["level"]]) & set(refused)
        said = words.format(sorted(found)[0]) if found else ""
        return refuses(400, said) if found else says('{"level": 2, "maxItems": 3, "names": ["a"]}')

    async with scripted(otherwise=answer) as server, calling(tmp_path, server.url) as models:
        for scope in ("d1", "d2"):
            answered = await models.complete_as("challenger", ASKED, Bounded, scope=scope)
            assert answered.value is not None
    last = server.requests[-1]
    assert last["response_format"]["type"] == "json_schema"
    assert left in str(sent_schema(last))
    assert sent_schema(last).keys() == BOUNDED.keys()
    assert rows(tmp_path, "failures")[1] == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"\\frac{1}{2}", r"\frac{1}{2}"),
        (r"a \times b \to \nu", r"a \times b \to \nu"),
        (r"\sqrt{2} \in \mathbb{R}", r"\sqrt{2} \in \mathbb{R}"),
        (r"\\ \beta", "\\ \\beta"),
        (r"one\ntwo\tthree", "one\ntwo\tthree"),
        (r"\nNot all", "\nNot all"),
    ],
)
async def test_latex_survives_a_model_that_forgets_to_double_its_backslashes(
    written: str, meant: str
) -> None:
    text = '{"passed": true, "weight": 3, "verdict": "PASS", "notes": ["' + written + '"]}'
    assert (await parse(text, Finding)).notes == [meant]


async def test_what_is_hopeless_says_so() -> None:
    with pytest.raises(Malformed, match="object"):
        await parse("no", Finding)
    for opening in ("[", '{"notes": '):
        with pytest.raises(Malformed):
            await parse(opening * 100_000, Finding)


@pytest.mark.parametrize(
    "text",
    [
        '{"passed": true, "passed": false, "weight": 3, "verdict": "PASS"}',
        '{"passed": true, "weight": 3, "verdict": "PASS", "more": {"a": 1, "a": 1}}',
        '{"passed": true, "weight": 3, "verdict": "PASS", "weight": 4,}',
    ],
)
async def test_a_reply_that_says_a_thing_twice_is_asked_for_again(
    tmp_path: Path, text: str
) -> None:
    async with scripted(says(text), says(GOOD)) as server, calling(tmp_path, server.url) as models:
        answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value == FOUND
    assert "stands twice in one object" in server.requests[1]["messages"][-1]["content"]
    assert rows(tmp_path) == ["malformed", "ok"]


async def test_a_key_that_stands_in_two_objects_or_in_words_stands_once() -> None:
    text = """{"passed": true, "weight": 3, "verdict": "PASS", "notes": ["\\"weight\\": 4"],
        "a": {"weight": 1}, "b": {"weight": 2},}"""
    assert (await parse(text, Finding)).weight == 3


async def test_what_is_long_and_no_json_is_not_mended() -> None:
    text = "{'passed': true, 'weight': 3, 'verdict': 'PASS', 'notes': ['%s']}"
    assert (await parse(text % "short", Finding)).weight == 3
    with pytest.raises(Malformed, match="not JSON"):
        await parse(text % ("long " * 20_000), Finding)


async def test_a_comma_too_many_does_not_matter_however_long_the_reply() -> None:
    text = '{"passed": true, "weight": 3, "verdict": "PASS", "notes": ["a ,] %s",],}'
    long = "long " * 20_000
    assert (await parse(text % long, Finding)).notes == [f"a ,] {long}"]


async def test_mending_a_reply_holds_nobody_up() -> None:
    """The event loop goes on with other calls meanwhile."""
    text = '{"passed": true, "weight": 3, "verdict": "PASS", "notes": ["' + 'a" b' * 1000 + '"],}'
    mending = asyncio.create_task(parse(text, Finding))
    turns = 0
    while not mending.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 100
    with contextlib.suppress(Malformed):
        mending.result()


async def test_what_an_earlier_version_took_for_a_reply_is_asked_for_again(tmp_path: Path) -> None:
    """Such as an object that says a thing twice: a log of back then ends no run of today."""
    twice = '{"passed": true, "passed": true, "weight": 3, "verdict": "PASS"}'
    async with scripted(says(GOOD), says(GOOD)) as server:
        async with calling(tmp_path, server.url) as models:
            await models.complete_as("challenger", ASKED, Finding, scope="d1")
        with sqlite3.connect(tmp_path / "run.db") as database:
            database.execute("update calls set response = ?", (twice,))
        database.close()
        async with calling(tmp_path, server.url) as models:
            answered = await models.complete_as("challenger", ASKED, Finding, scope="d1")
    assert answered.value == FOUND
    assert len(server.requests) == 2
