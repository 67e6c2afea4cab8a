"""A trainer's answers are scored as the gate scored a run's: by the rows alone, over HTTP, once."""

import asyncio
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import autodata
from autodata import rewards
from autodata.models.errors import BudgetReached, UnknownPrice, UnknownRole
from autodata.rewards import RewardError
from autodata.settings import SettingsError
from tests.models.scripted_server import Reply, ScriptedServer, says, scripted
from tests.outside import DEMO

DOCUMENTS = {
    "cs": "work-stealing-scheduler.md",
    "science": "driven-oscillator.md",
    "procedural": "sums.txt",
}
GARBAGE = says("I would give it seven out of ten.")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, autodata.Run]:
    """A finished run of each kind of task, over one demo document."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        task: autodata.run(DEMO / task / name, task=task, out=folder / task, config={})
        for task, name in DOCUMENTS.items()
    }


def recorded(run: autodata.Run) -> dict[str, Any]:
    """The attempts that the gate saw, by their answers; of alike answers the first."""
    [example] = run
    attempts = (*example.weak, *example.strong)
    return {attempt.answer: attempt for attempt in reversed(attempts)}


def judge(runs: Mapping[str, autodata.Run]) -> Callable[[dict[str, Any]], Reply]:
    """A judge who marks each answer as the judge of the run did."""
    known = {answer: one for run in runs.values() for answer, one in recorded(run).items()}

    def marked(asked: dict[str, Any]) -> Reply:
        text = asked["messages"][1]["content"]
        answer = text.partition("<answer>\n")[2].rpartition("\n</answer>")[0]
        found = known.get(answer) or next(iter(known.values()))
        marks = [{"number": n, "met": m.met} for n, m in enumerate(found.marks, 1)]
        return says(json.dumps({"marks": marks}))

    return marked


def config(server: ScriptedServer) -> dict[str, Any]:
    """Nothing but where the judge is."""
    return {
        "endpoints": {"here": {"base_url": server.url, "give_up_after": 0.2}},
        "models": {"judge": {"endpoint": "here", "model": "m", "temperature": 0}},
    }


def trl_columns(run: autodata.Run, answers: int) -> dict[str, Any]:
    """What TRL hands to a reward function beside completions: each column, repeated."""
    [line] = run.export("trl-grpo").path.read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    columns = {name: [value] * answers for name, value in row.items() if name != "prompt"}
    return {"prompts": [row["prompt"]] * answers, **columns, "trainer_state": None}


def verl_row(run: autodata.Run) -> dict[str, Any]:
    """What verl reads of a row and hands to `compute_score`."""
    [row] = pq.read_table(run.export("verl").path).to_pylist()
    return {
        "data_source": row["data_source"],
        "ground_truth": row["reward_model"]["ground_truth"],
        "extra_info": row["extra_info"],
    }


def turns(answers: Iterator[str] | list[str]) -> list[list[dict[str, str]]]:
    """Completions of conversational prompts."""
    return [[{"role": "assistant", "content": answer}] for answer in answers]


@pytest.mark.parametrize("task", DOCUMENTS)
async def test_an_answer_scores_what_it_scored_at_the_gate(
    runs: dict[str, autodata.Run], task: str, tmp_path: Path
) -> None:
    """From a row of either export alone, exactly; code settles what it settled there."""
    run, known = runs[task], recorded(runs[task])
    wanted = [attempt.score for attempt in known.values()]
    assert len(set(wanted)) > 1
    with_judge = [one for one in known.values() if "was compared" not in one.marks[0].evidence]
    asked = len([one for one in with_judge if not one.truncated and not one.format_error])
    async with scripted(otherwise=judge(runs)) as server:
        with rewards.trl(config(server), cache=tmp_path / "trl") as reward:
            columns = trl_columns(run, len(known))
            given = await asyncio.to_thread(reward, completions=turns(list(known)), **columns)
            assert given == wanted
            assert (len(server.requests), reward.counts.calls) == (asked, asked)
            again = await asyncio.to_thread(reward, completions=list(known), **columns)
            assert again == wanted
        row = verl_row(run)
        with rewards.verl(config(server), cache=tmp_path / "trl") as compute_score:
            alone = [
                await asyncio.to_thread(compute_score, solution_str=answer, **row)
                for answer in known
            ]
            counts = compute_score.counts
        assert alone == wanted
        assert (len(server.requests), counts.calls) == (asked, 0)  # another process, as it were
        assert counts.cached == asked


async def test_a_batch_is_judged_at_once_and_each_answer_once(
    runs: dict[str, autodata.Run], tmp_path: Path
) -> None:
    """verl's batch manager hands over a step; two samples of it gave the same answer."""
    known = recorded(runs["cs"])
    answers = [*known, *known]
    row = verl_row(runs["cs"])

    marked = judge(runs)

    def slow(asked: dict[str, Any]) -> Reply:
        return Reply(marked(asked).body, seconds=0.1)

    async with scripted(otherwise=slow) as server:
        with rewards.verl(config(server), cache=tmp_path / "cache") as reward:
            scores = await asyncio.to_thread(
                reward.batch,
                data_sources=[row["data_source"]] * len(answers),
                solution_strs=answers,
                ground_truths=[row["ground_truth"]] * len(answers),
                extra_infos=[row["extra_info"]] * len(answers),
            )
            assert scores == [known[answer].score for answer in answers]
            assert (len(server.requests), server.most_in_flight > 1) == (len(known), True)
            copy = pickle.loads(pickle.dumps(reward))  # as it reaches another worker
            with copy:
                assert await asyncio.to_thread(copy, solution_str=answers[0], **row) == scores[0]
            assert len(server.requests) == len(known)


async def test_what_is_empty_or_cut_off_scores_nothing_and_asks_nobody(
    runs: dict[str, autodata.Run], tmp_path: Path
) -> None:
    answers = ["", "  \n", "<think>what if", "never came to its", "<think>so</think> It is kept."]
    ids = [[], [7, 2], [7, 8, 2], [7, 8], [9, 2]]
    async with scripted(otherwise=judge(runs)) as server:
        with rewards.trl(config(server), cache=tmp_path / "cache", eos=2) as reward:
            given = await asyncio.to_thread(
                reward,
                completions=turns(answers),
                completion_ids=ids,
                **trl_columns(runs["cs"], len(answers)),
            )
            counts = reward.counts
    assert given[:4] == [0.0] * 4
    assert given[4] is not None
    [request] = server.requests
    assert "<answer>\nIt is kept.\n</answer>" in request["messages"][1]["content"]
    assert (counts.answers, counts.blank, counts.calls) == (5, 4, 1)


async def test_a_reply_that_stays_malformed_is_no_reward_and_is_counted(
    runs: dict[str, autodata.Run], tmp_path: Path
) -> None:
    """TRL takes None as no reward for the sample; verl needs a number, which somebody states."""
    logged = dict[str, float]()
    columns = trl_columns(runs["cs"], 2)
    row = verl_row(runs["cs"])
    whole, spoilt = list(recorded(runs["cs"]))[:2]
    marked = judge(runs)

    def half(asked: dict[str, Any]) -> Reply:
        return GARBAGE if spoilt in asked["messages"][1]["content"] else marked(asked)

    async with scripted(otherwise=half) as server:
        with rewards.trl(config(server), cache=tmp_path / "cache") as reward:
            given = await asyncio.to_thread(
                reward,
                completions=turns([whole, spoilt]),
                **columns,
                log_metric=logged.__setitem__,
            )
            counts = reward.counts
        assert given == [recorded(runs["cs"])[whole].score, None]
        assert logged == {"autodata/unscored": 0.5}
        assert (counts.unscored, len(counts.why), len(server.requests)) == (1, 1, 4)
        with (
            rewards.verl(config(server), cache=tmp_path / "cache") as compute_score,
            pytest.raises(RewardError, match=r"has no score: .* state one, such as"),
        ):
            await asyncio.to_thread(compute_score, solution_str=spoilt, **row)
        with rewards.verl(config(server), cache=tmp_path / "cache", unscored=0.5) as stated:
            assert await asyncio.to_thread(stated, solution_str=spoilt, **row) == 0.5
        assert len(server.requests) == 4  # it is on record that it cannot be read


@pytest.mark.parametrize("open_reward", [rewards.trl, rewards.verl])
def test_a_budget_that_is_none_is_refused_in_words(open_reward: Any, tmp_path: Path) -> None:
    for wrong, said in (({"budget_usd": -1}, "budget_usd=-1"), ({"budget_calls": "x"}, "'x'")):
        with pytest.raises(SettingsError) as refused:
            open_reward({}, cache=tmp_path / "cache", **wrong)
        assert said in str(refused.value)
        assert "http" not in str(refused.value)  # no library's own page of errors


async def test_a_budget_stops_the_training_or_the_rewards_and_a_higher_one_goes_on(
    runs: dict[str, autodata.Run], tmp_path: Path
) -> None:
    known = recorded(runs["cs"])
    columns = trl_columns(runs["cs"], len(known))
    wanted = [attempt.score for attempt in known.values()]
    cache = tmp_path / "cache"
    async with scripted(otherwise=judge(runs)) as server:
        given = config(server)
        with (
            rewards.trl(given, cache=cache, budget_calls=2) as reward,
            pytest.raises(BudgetReached, match="2 of 2 calls are made"),
        ):
            await asyncio.to_thread(reward, completions=turns(list(known)), **columns)
        assert len(server.requests) == 2
        with rewards.trl(given, cache=cache, budget_calls=3, stop=False) as reward:
            some = await asyncio.to_thread(reward, completions=turns(list(known)), **columns)
            assert (len(server.requests), reward.counts.unscored) == (3, len(known) - 3)
        assert [got for got in some if got is not None] == [
            want for want, got in zip(wanted, some, strict=True) if got is not None
        ]
        with rewards.trl(given, cache=cache, budget_calls=100, budget_tokens=10**6) as reward:
            assert wanted == await asyncio.to_thread(
                reward, completions=turns(list(known)), **columns
            )
            assert reward.counts.tokens > 0
        assert len(server.requests) == len(known)
        with pytest.raises(UnknownPrice, match="the price of here/m is unknown"):
            rewards.trl(given, cache=cache, budget_usd=1.0)


async def test_processes_that_share_a_cache_share_its_budget(
    runs: dict[str, autodata.Run], tmp_path: Path
) -> None:
    """Each rank of a training opens the cache before any of them has spent something."""
    row, answers = verl_row(runs["cs"]), list(recorded(runs["cs"]))
    async with scripted(otherwise=judge(runs)) as server:
        given = config(server)
        with (
            rewards.verl(given, cache=tmp_path / "cache", budget_calls=1) as first,
            rewards.verl(given, cache=tmp_path / "cache", budget_calls=1) as second,
        ):
            score = await asyncio.to_thread(first, solution_str=answers[0], **row)
            assert await asyncio.to_thread(second, solution_str=answers[0], **row) == score
            with pytest.raises(BudgetReached, match="1 of 1 calls are made"):
                await asyncio.to_thread(second, solution_str=answers[1], **row)
        assert len(server.requests) == 1


async def test_an_endpoint_that_is_down_stops_the_training(
    runs: dict[str, autodata.Run], tmp_path: Path
) -> None:
    async with scripted() as server:
        given = config(server)
    with (
        rewards.verl(given, cache=tmp_path / "cache") as compute_score,
        pytest.raises(autodata.EndpointDown),
    ):
        await asyncio.to_thread(compute_score, solution_str="It is.", **verl_row(runs["cs"]))


def test_a_run_folder_names_its_judge_and_a_simulated_one_says_so(
    runs: dict[str, autodata.Run], tmp_path: Path
) -> None:
    answers = list(recorded(runs["cs"]))
    with (
        pytest.warns(UserWarning, match="the judge is simulated"),
        rewards.trl(runs["cs"].path, cache=tmp_path / "cache") as reward,
    ):
        given = reward(completions=turns(answers), **trl_columns(runs["cs"], len(answers)))
    assert all(score is not None and 0 <= score <= 1 for score in given)


def test_what_cannot_be_scored_is_said_before_anything_is_asked(
    runs: dict[str, autodata.Run], tmp_path: Path
) -> None:
    here = {"endpoints": {"here": {"base_url": "http://127.0.0.1:9/v1"}}}
    with pytest.raises(SettingsError, match="configured but no judge; add"):
        rewards.trl(here, cache=tmp_path / "cache")
    with pytest.raises(UnknownRole, match="no model is configured for judge"):
        rewards.trl({**here, "models": {"weak_solver": {"endpoint": "here", "model": "m"}}})
    judged = {**here, "models": {"judge": {"endpoint": "here", "model": "m"}}}
    with pytest.raises(RewardError, match="holds a run, whose calls"):
        rewards.trl(judged, cache=runs["cs"].path)
    columns = trl_columns(runs["cs"], 1)
    with rewards.trl(judged, cache=tmp_path / "cache") as reward:
        lacking = {name: column for name, column in columns.items() if name != "question"}
        with pytest.raises(RewardError, match="have no question, by which an answer is scored"):
            reward(completions=["It is."], **lacking)
        with pytest.raises(RewardError, match="of the task 'poetry', and here are cs, legal"):
            reward(completions=["It is."], **{**columns, "task": ["poetry"]})
        with pytest.raises(RewardError, match="has no positive weight"):
            reward(completions=["It is."], **{**columns, "rubric": [[]]})
        for rubric in (json.dumps(columns["rubric"][0]), None, [{"criterion": "Says so."}]):
            with pytest.raises(RewardError, match="is no list of criteria with weights"):
                reward(completions=["It is."], **{**columns, "rubric": [rubric]})
        meta = {"locked_revision": "locked-0123456789ab"}
        with pytest.warns(UserWarning, match="rewards may differ from the scores in the rows"):
            assert reward(completions=[""], **{**columns, "meta": [meta]}) == [0.0]
    with pytest.raises(RewardError, match="is closed"):
        reward(completions=["It is."], **columns)
    with rewards.verl(judged, cache=tmp_path / "cache") as compute_score:
        row = {**verl_row(runs["cs"]), "extra_info": {"index": 0}}
        with pytest.raises(RewardError, match=r"have no extra_info\.task, extra_info\.context"):
            compute_score(solution_str="It is.", **row)
