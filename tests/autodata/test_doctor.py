"""What the doctor finds out about models that are slow, small or no good, over real HTTP."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.scripted_server import Reply, Script, says, scripted
from tests.outside import Folder

MARKS = '{"marks": [{"number": 1, "evidence": "four coins", "met": true}]}'
COUNTED = {"prompt_tokens": 200, "completion_tokens": 40}
CONFIG = """
endpoints: {{here: {{base_url: '{url}', timeout: {timeout}}}}}
models:
  challenger: {{endpoint: here, model: m}}
  weak_solver: {{endpoint: here, model: m}}
  strong_solver: {{endpoint: here, model: m}}
"""


async def examined(
    folder: Folder,
    answer: Reply | Script,
    *words: str,
    code: int,
    patience: float = 30,
    **says: Any,
) -> Any:
    """What `autodata doctor --json` reports of one model that plays every role."""
    async with scripted(otherwise=answer) as server:
        server.says_of_models = says
        config = CONFIG.format(url=server.url, timeout=patience)
        (folder.path / "autodata.yaml").write_text(config)
        told = await asyncio.to_thread(folder, "doctor", "--json", *words, code=code)
    return json.loads(told)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def test_a_good_model_is_described_with_window_speed_and_the_time_of_a_round(
    folder: Folder,
) -> None:
    good = says(MARKS, usage=COUNTED)
    found = await examined(folder, good, "--set", "run.task=cs", code=0, max_model_len=32_768)
    (model,) = found["models"]
    assert model["probe"]["window"] == 32_768
    speed = model["probe"]["tokens_per_second"]
    assert speed == pytest.approx(40 / model["probe"]["seconds"])
    # A candidate, two verdicts, six answers and six times marks, in tokens.
    assert found["round_seconds"] == pytest.approx((1500 + 2 * 600 + 6 * 500 + 6 * 800) / speed)


async def test_a_round_takes_longer_with_a_judge_that_is_asked_three_times(folder: Folder) -> None:
    judge = "models.judge={endpoint: here, model: m, repeats: 3}"
    good, sets = says(MARKS, usage=COUNTED), ("--set", "run.task=cs", "--set", judge)
    found = await examined(folder, good, *sets, code=0, max_model_len=32_768)
    speed = found["models"][0]["probe"]["tokens_per_second"]
    assert found["round_seconds"] == pytest.approx((1500 + 2 * 600 + 6 * 500 + 18 * 800) / speed)


async def test_a_model_that_never_stops_is_taken_for_a_base_model(folder: Folder) -> None:
    asked: list[Any] = []

    def endless(payload: dict[str, Any]) -> Reply:
        asked.append(payload.get("max_tokens"))
        return says("Two coins. Two coins. Two coins.", finish_reason="length")

    (model,) = (await examined(folder, endless, code=1))["models"]
    assert "base model" in model["probe"]["problem"]
    assert "chat template" in model["probe"]["remedy"]
    assert asked[0] == 1024


async def test_passages_that_a_context_cannot_hold_are_named_with_a_size_that_it_can(
    folder: Folder,
) -> None:
    (model,) = (await examined(folder, says(MARKS), code=1, max_model_len=8_192))["models"]
    assert "passages of 6,000 tokens do not fit" in model["probe"]["problem"]
    assert model["probe"]["remedy"].startswith("Lower run.passage_tokens to 5,692")
    fitting = ("--set", "run.passage_tokens=4000")
    await examined(folder, says(MARKS), *fitting, code=0, max_model_len=8_192)


async def test_the_configured_time_out_holds(folder: Folder) -> None:
    hung = await examined(folder, Reply(hang=True), code=1, patience=0.2)
    assert "no answer within 0.2 s" in hung["models"][0]["probe"]["problem"]
