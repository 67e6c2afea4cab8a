"""Answers are scored as the gate of a run scored attempts: compared by code where a task allows it,
else marked by a judge behind any OpenAI-compatible endpoint.

    judge = Judge(JudgeOptions("http://localhost:8000/v1", "judge-model"), Path("judge.db"))
    for scored in Scorer("rubric", judge).scores([GivenAnswer(row, text)]): print(scored.score)

Every reply is on disk before it is used, so that nothing is paid for twice.
"""

import argparse
import asyncio
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from endpoint import GIVE_UP_AFTER, Endpoint, EndpointPaused, EndpointRefused
from scoring import (
    COMPARED,
    compared,
    final_answer,
    marks_of,
    messages_of,
    numbered,
    score_of,
    without_reasoning,
)
from sessions import natural, positive

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PROMPTS = Path(__file__).parent / "prompts"  # of solvers and judges, by task
REFUSED = "the judge's endpoint refuses it:"  # so begins why there is no score then

Row = Mapping[str, Any]  # task, context, question, question_type, rubric, reference_answer
RewardKind = Literal["rubric", "exact", "format"]


class JudgeError(ValueError):
    """What was asked for cannot be scored: the message says why, and what to do."""


@dataclass(frozen=True)
class JudgeOptions:
    """Where the judge is and how it is asked.

    `calls` bounds the replies that its cache may come to hold, restarts included; `concurrency` the
    requests in flight. The key is read from the variable `key_env`; where that is unset none is
    sent. `prompt` is a file that takes the place of the prompts beside this script.
    """

    url: str
    model: str
    key_env: str = "OPENAI_API_KEY"
    concurrency: int = 16
    calls: int | None = None
    temperature: float = 0.0
    give_up_after: float = GIVE_UP_AFTER
    prompt: Path | None = None

    def template(self, task: str) -> str:
        """The judge's prompt for a task. Raises JudgeError."""
        path = self.prompt or PROMPTS / task / "judge.md"
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise JudgeError(
                f"there is no prompt of a judge at {path}: name one by --judge-prompt, or copy the "
                "folder training/ with `cp -rL`, for its prompts are links"
            ) from None


class Judge:
    """Marks criteria; keeps each reply in `cache`, an SQLite file. For one thread. Raises
    JudgeError."""

    def __init__(self, options: JudgeOptions, cache: Path) -> None:
        self.options = options
        self.endpoint = Endpoint(
            "the judge",
            options.url,
            options.model,
            options.key_env,
            give_up_after=options.give_up_after,
        )
        self.made = self.cached = 0
        self._templates: dict[str, str] = {}
        self._asked: dict[str, asyncio.Future[str]] = {}
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            self._cache = sqlite3.connect(cache, timeout=60)
            self._cache.execute(
                "create table if not exists replies"
                " (key text primary key, model text, reply text, at text default current_timestamp)"
            )
            self._replies: int = self._cache.execute("select count(*) from replies").fetchone()[0]
        except (OSError, sqlite3.Error) as error:
            raise JudgeError(
                f"replies cannot be kept in {cache}: {error}; name another --out"
            ) from error

    async def marks(self, client: "AsyncOpenAI", row: Row, answer: str) -> list[bool]:
        """Whether each criterion of the row's rubric is met. A reply that cannot be read is sent
        back once. Raises ValueError where that cannot be read either, EndpointPaused, JudgeError.
        """
        task, rubric = row["task"], row["rubric"]
        if task not in self._templates:
            self._templates[task] = self.options.template(task)
        system, asked = messages_of(
            self._templates[task],
            context=row["context"],
            question=row["question"],
            rubric=numbered(rubric),
            answer=answer,
        )
        messages = [{"role": "system", "content": system}, {"role": "user", "content": asked}]
        reply = await self._reply(client, messages)
        try:
            return marks_of(without_reasoning(reply), len(rubric))
        except ValueError as error:
            again = f"The reply could not be read: {error}. Reply with the JSON object alone."
            said = {"role": "assistant", "content": reply}
            messages += [said, {"role": "user", "content": again}]
            return marks_of(without_reasoning(await self._reply(client, messages)), len(rubric))

    async def _reply(self, client: "AsyncOpenAI", messages: list[dict[str, str]]) -> str:
        """From the cache, from a call in flight that asks the same, or from a call of its own."""
        asked = json.dumps([self.options.model, self.options.temperature, messages])
        key = hashlib.sha256(asked.encode()).hexdigest()
        if found := self._cache.execute(
            "select reply from replies where key = ?", [key]
        ).fetchone():
            self.cached += 1
            return str(found[0])
        if key in self._asked:
            return await asyncio.shield(self._asked[key])
        future = self._asked[key] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # not lost
        try:
            reply = await self._called(client, messages)
            with self._cache:
                kept = (key, self.options.model, reply)
                self._cache.execute(
                    "insert or ignore into replies (key, model, reply) values (?, ?, ?)", kept
                )
            future.set_result(reply)
        except BaseException as error:
            future.set_exception(error)
            raise
        finally:
            del self._asked[key]
        return reply

    async def _called(self, client: "AsyncOpenAI", messages: list[dict[str, str]]) -> str:
        limit = self.options.calls
        if limit is not None and self._replies >= limit:
            raise EndpointPaused(
                f"{self._replies} calls of the judge were made; --judge-calls allows no more"
            )
        self._replies += 1
        try:
            reply = await self._said(client, messages)
        except BaseException:
            self._replies -= 1
            raise
        self.made += 1
        return reply

    async def _said(self, client: "AsyncOpenAI", messages: list[dict[str, str]]) -> str:
        try:
            done = await self.endpoint.completion(
                client, messages, temperature=self.options.temperature
            )
        except EndpointRefused as error:
            raise ValueError(f"{REFUSED} {error}") from error
        return done.text

    def close(self) -> None:
        """Closes the cache."""
        self._cache.close()


class GivenAnswer(NamedTuple):
    """An answer to the question of a row; `cut` off by a limit of tokens, or whole."""

    row: Row
    text: str
    cut: bool = False


class ScoredAnswer(NamedTuple):
    """A score, 0 … 1, or None where there is none and `why`.

    `how` it came about: `compared` by code, `judged`, or 0 unread: `cut`, `blank`, `formless` (no
    final answer can be read, where code decides by it alone), `unsettled` (by comparing, where no
    judge is asked). `formless` may be true of an answer that a judge scored.
    """

    score: float | None
    how: Literal["compared", "judged", "cut", "blank", "formless", "unsettled", "unscored", "form"]
    formless: bool = False
    why: str = ""


class Scorer:
    """Scores answers by a kind of reward.

    `rubric`: as the gate does; `exact`: by code alone, what it does not settle is 0; `format`: 1
    where a final answer can be read, whatever it is. Raises JudgeError for a row that cannot be
    scored so.
    """

    def __init__(self, kind: RewardKind, judge: Judge | None = None) -> None:
        self.kind, self.judge = kind, judge
        self.counts = Counter[str]()

    def check(self, rows: Sequence[Row]) -> None:
        """Raises JudgeError where a row cannot be scored, before anything is paid for."""
        for task in dict.fromkeys(row["task"] for row in rows):
            if self.kind != "rubric" and task not in COMPARED:
                raise JudgeError(
                    f"--reward {self.kind} needs a final answer, and those of {task} have none; "
                    f"it is for {' and '.join(COMPARED)}"
                )
            if self.kind == "rubric" and task != "procedural":
                if self.judge is None:
                    cheaper = ", or --reward exact" if task in COMPARED else ""
                    raise JudgeError(
                        f"answers of {task} are marked by a judge: name --judge-url and "
                        f"--judge-model{cheaper}"
                    )
                self.judge.options.template(task)
            if task == "science" and self.kind != "format" and not find_spec("math_verify"):
                raise JudgeError("formulas are compared by math-verify: pip install math-verify")
        for row in rows:
            if not any(line["weight"] > 0 for line in row["rubric"]):
                raise JudgeError(
                    f"the rubric of “{row['question'][:60]}” has no positive weight; leave it out"
                )

    def scores(self, given: Sequence[GivenAnswer]) -> list[ScoredAnswer]:
        """The score of each answer; all are judged at once. Blocks. Raises EndpointPaused when the
        judge cannot be asked now; whatever was under way has ended and is on disk then."""
        found = asyncio.run(self._all(given))
        self.counts.update(one.how for one in found)
        self.counts["formless answers"] += sum(one.formless for one in found)
        return found

    async def _all(self, given: Sequence[GivenAnswer]) -> list[ScoredAnswer]:
        turns = asyncio.Semaphore(self.judge.options.concurrency if self.judge else 16)
        client = self.judge.endpoint.client() if self.judge else None
        try:
            ended = await asyncio.gather(
                *(self._one(one, client, turns) for one in given), return_exceptions=True
            )
        finally:
            if client:
                await client.close()
        found = []
        for one in ended:
            if isinstance(one, BaseException):
                raise one
            found.append(one)
        return found

    async def _one(
        self, given: GivenAnswer, client: "AsyncOpenAI | None", turns: asyncio.Semaphore
    ) -> ScoredAnswer:
        row, answer = given.row, without_reasoning(given.text)
        asked = (row["task"], row["question"], row["question_type"])
        formless = row["task"] in COMPARED and final_answer(*asked, answer) is None
        if given.cut:
            return ScoredAnswer(0.0, "cut", formless)
        if not answer.strip():
            return ScoredAnswer(0.0, "blank", formless)
        if self.kind == "format":
            return ScoredAnswer(float(not formless), "form", formless)
        if formless and (row["task"] == "procedural" or self.kind == "exact"):
            return ScoredAnswer(0.0, "formless", True)
        async with turns:
            right = await compared(*asked, row["reference_answer"], answer)
            if right is not None:
                return ScoredAnswer(float(right), "compared")
            if self.kind == "exact" or self.judge is None or client is None:
                return ScoredAnswer(0.0, "unsettled", formless)
            try:
                marks = await self.judge.marks(client, row, answer)
            except ValueError as error:
                if isinstance(error, JudgeError):
                    raise
                return ScoredAnswer(None, "unscored", formless, str(error))
        score = score_of([line["weight"] for line in row["rubric"]], marks)
        return ScoredAnswer(score, "judged", formless)


# The flags that scripts share.


def add_judge(parser: argparse.ArgumentParser) -> None:
    """The flags of a judge."""
    group = parser.add_argument_group("judge")
    group.add_argument("--judge-url", metavar="URL", help="an OpenAI-compatible endpoint, with /v1")
    group.add_argument("--judge-model", metavar="NAME", help="the model that marks rubrics")
    group.add_argument(
        "--judge-key-env", metavar="VAR", help="variable of its key (default: OPENAI_API_KEY)"
    )
    group.add_argument(
        "--judge-concurrency", type=positive, metavar="N", help="requests at once (default: 16)"
    )
    group.add_argument(
        "--judge-calls", type=natural, metavar="N",
        help="calls in all, restarts included; then it pauses",
    )  # fmt: skip
    group.add_argument(
        "--judge-temperature", type=float, metavar="T", help="its temperature (default: 0)"
    )
    group.add_argument(
        "--judge-give-up", type=float, metavar="SECONDS",
        help=f"how long it may be down (default: {GIVE_UP_AFTER:.0f})",
    )  # fmt: skip
    group.add_argument(
        "--judge-prompt", metavar="FILE", help="its prompt, in place of prompts/TASK/judge.md"
    )


def judge_of(settings: Mapping[str, Any], cache: Path) -> Judge | None:
    """The judge that the flags name, with this cache; None where they name none. Raises
    JudgeError where half of it is named."""
    url, model = settings.get("judge_url"), settings.get("judge_model")
    if not url and not model:
        return None
    if not url or not model:
        raise JudgeError("a judge needs both --judge-url and --judge-model")
    fields = {
        "key_env": "judge_key_env",
        "concurrency": "judge_concurrency",
        "calls": "judge_calls",
        "temperature": "judge_temperature",
        "give_up_after": "judge_give_up",
        "prompt": "judge_prompt",
    }
    stated = {
        name: settings[flag] for name, flag in fields.items() if settings.get(flag) is not None
    }
    if "prompt" in stated:
        stated["prompt"] = Path(stated["prompt"])
    return Judge(JudgeOptions(url, model, **stated), cache)
