"""Models that refuse a parameter: asked without it, from then on, and nobody else notices."""

from pathlib import Path
from typing import Any

import pytest

from autodata.models.errors import CallRefused
from tests.models.calling import ASKED, calling, rows
from tests.models.scripted_server import Reply, Script, refuses, says, scripted


def refusing(name: str, message: str) -> Script:
    """An endpoint that takes anything but the parameter `name`."""

    def answer(payload: dict[str, Any]) -> Reply:
        return refuses(400, message) if name in payload else says("fine")

    return answer


@pytest.mark.parametrize(
    ("name", "message", "settings"),
    [
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0.5 with this model.",
            {"model": {"temperature": 0.5}},
        ),
        ("seed", "Unsupported parameter: 'seed'", {"seed": 3}),
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            {"model": {"max_tokens": 9}},
        ),
    ],
)
async def test_a_refused_parameter_is_left_out_from_then_on(
    tmp_path: Path, name: str, message: str, settings: dict[str, Any]
) -> None:
    async with (
        scripted(otherwise=refusing(name, message)) as server,
        calling(tmp_path, server.url, **settings) as models,
    ):
        for scope in ("d1", "d2"):
            assert (await models.complete("weak_solver", ASKED, scope=scope)).text == "fine"
    assert [name in request for request in server.requests] == [True, False, False]
    assert rows(tmp_path, "status, failures") == [("ok", 1), ("ok", 0)]


async def test_a_limit_under_its_other_name_is_still_a_limit(tmp_path: Path) -> None:
    endpoint = refusing("max_tokens", "unknown parameter: max_tokens")
    async with (
        scripted(otherwise=endpoint) as server,
        calling(tmp_path, server.url, model={"max_tokens": 9}) as models,
    ):
        await models.complete("weak_solver", ASKED, scope="d1")
    assert server.requests[-1]["max_completion_tokens"] == 9


async def test_a_model_without_system_role_gets_one_message(tmp_path: Path) -> None:
    def answer(payload: dict[str, Any]) -> Reply:
        roles = [message["role"] for message in payload["messages"]]
        return refuses(400, "System role not supported") if "system" in roles else says("fine")

    async with scripted(otherwise=answer) as server, calling(tmp_path, server.url) as models:
        await models.complete("weak_solver", ASKED, scope="d1")
    assert server.requests[-1]["messages"] == [{"role": "user", "content": "You solve.\n\nWhy?"}]


async def test_a_prompt_too_long_for_the_model_is_refused_once_and_in_its_words(
    tmp_path: Path,
) -> None:
    words = "'max_tokens' is too large: 8192. This model's maximum context length is 4096 tokens"
    async with (
        scripted(refuses(400, words)) as server,
        calling(tmp_path, server.url, model={"max_tokens": 8192}) as models,
    ):
        with pytest.raises(CallRefused, match="maximum context length"):
            await models.complete("weak_solver", ASKED, scope="d1")
        assert (await models.complete("weak_solver", ASKED, scope="d2")).text == "fine"
    assert rows(tmp_path) == ["failed", "ok"]
