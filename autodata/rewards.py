"""Rewards for trainers: a student's answer is scored as the gate of a run scores an attempt.

    from autodata import rewards

    reward = rewards.trl("autodata.yaml", cache="rewards", budget_usd=20)           # TRL's GRPO
    compute_score = rewards.verl("autodata.yaml", cache="/data/rewards", budget_usd=20)  # verl

The judge is the one of the configuration, asked with the locked prompt of the row's task; science
and procedural answers are compared first, as in a run. Each judgement is on disk before its score
is used, and never paid for twice.
"""

import asyncio
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Self
from weakref import finalize

from autodata.agents.comparison import ComparisonPool
from autodata.agents.judge import score
from autodata.api import Config
from autodata.assembly import open_log, open_models
from autodata.graph.context import LoopThread
from autodata.ledger.ledger import Ledger
from autodata.ledger.records import SCORED_BY
from autodata.ledger.summary import NOTICE
from autodata.models.budget import Budget
from autodata.models.config import SIMULATED, ModelConfig, resolve
from autodata.models.errors import BudgetReached, CallRefused
from autodata.models.replies import TextReply, clean, split_thinking, words
from autodata.prompt_store.prompt import locked_revision, unchanged_since
from autodata.run_folder import RunFolder
from autodata.settings import DEFAULT_FILE, Override, Settings, SettingsError, read, read_over
from autodata.tasks import TASKS, Task
from autodata.tasks.types import Candidate, Criterion

CACHE = "rewards"  # the folder of the cache, unless stated
ROLES_OF_A_RUN = ("challenger", "weak_solver", "strong_solver")  # which no reward asks
NOBODY = f"{SIMULATED}-nobody"  # plays them while the configuration is read
LOOKED_UP = 10.0  # seconds after which others' spending from the same cache is looked up again


class RewardError(ValueError):
    """No reward can be given: the message says for what, why, and what to do."""


@dataclass(frozen=True)
class RewardCounts:
    """What was scored since the reward was opened, and what its cache has cost in all.

    Of `answers`, `blank` ones (empty, or cut off) scored 0 without a call and `unscored` ones got
    no reward: `why` counts them by the reason. `calls` were made and `cached` replies taken from
    the cache since then; `usd` (of known prices) and `tokens` are what the cache's calls took at
    the most, those of earlier processes included.
    """

    answers: int = 0
    blank: int = 0
    unscored: int = 0
    why: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    cached: int = 0
    usd: float = 0.0
    tokens: int = 0


class StudentAnswer(NamedTuple):
    """An answer to be scored, and the question that it answers; `cut` off or whole."""

    task: Task
    candidate: Candidate
    answer: str
    cut: bool

    @property
    def blank(self) -> bool:
        """Whether it scores 0 unread."""
        return self.cut or not self.answer.strip()


class Reached(NamedTuple):
    """A score, 0 … 1; None where there is none, and `why`."""

    score: float | None
    why: str = ""


class RewardOptions(NamedTuple):
    """How a reward is opened: as `trl` and `verl` are told."""

    settings: Settings
    cache: Path
    wait: bool
    stop: bool = True
    eos: Collection[int] = ()
    unscored: float | None = None


class _Scorer:
    """The judge at work: an event loop in a thread of its own, and the call log as its cache."""

    def __init__(self, how: RewardOptions) -> None:
        self._repeats = how.settings.models["judge"].repeats or 1 if how.settings.models else 1
        self._stop, self._process = how.stop, os.getpid()
        self._looked = -LOOKED_UP  # not yet
        self._in_use = Counter[str]()
        self._counts = RewardCounts()
        self._why = Counter[str]()
        self._loop, self._comparisons = LoopThread(), ComparisonPool()
        with ExitStack() as undo:
            self._log = undo.enter_context(closing(open_log(how.cache, CACHE, how.settings)))
            self._models = open_models(how.settings, self._log, CACHE, wait=how.wait)
            undo.pop_all()

    @property
    def counts(self) -> RewardCounts:
        usage, spent = self._models.usage().get("judge"), self._models.budget_tracker.spent
        return replace(
            self._counts,
            why=dict(self._why),
            calls=usage.calls if usage else 0,
            cached=usage.replayed if usage else 0,
            usd=spent.usd,
            tokens=spent.tokens,
        )

    def scores(self, asked: Sequence[StudentAnswer]) -> list[Reached]:
        """The score of each answer; all are judged at once, within the endpoint's limits. Blocks.

        Raises Paused when the judge cannot be asked now; what was under way is on record then.
        """
        if os.getpid() != self._process:  # its threads stayed behind
            raise RewardError("this process was forked from one that has the reward; make it here")
        return self._loop.run(self._all(asked))

    async def _all(self, asked: Sequence[StudentAnswer]) -> list[Reached]:
        self._look_up()
        ended = await asyncio.gather(*map(self._one, asked), return_exceptions=True)
        found = []
        for one in ended:
            if isinstance(one, BaseException):
                raise one
            found.append(one)
        unscored = [one.why for one in found if one.score is None]
        self._why.update(unscored)
        self._counts = replace(
            self._counts,
            answers=self._counts.answers + len(found),
            blank=self._counts.blank + sum(one.blank for one in asked),
            unscored=self._counts.unscored + len(unscored),
        )
        return found

    async def _one(self, asked: StudentAnswer) -> Reached:
        if asked.blank:
            return Reached(0.0)
        scope = f"reward/{asked.task.name}/{asked.candidate.fingerprint}"
        self._in_use[scope] += 1
        try:
            attempt = await score(
                self._models,
                asked.task,
                asked.candidate,
                TextReply(text=asked.answer, truncated=False, call_id=0),
                "weak",  # side and number are the same for all, so that alike answers are one call
                1,
                scope=scope,
                comparisons=self._comparisons,
                repeats=self._repeats,
            )
        except CallRefused as refused:
            return Reached(None, str(refused))
        except BudgetReached as reached:
            if self._stop:
                raise
            return Reached(None, reached.reason)
        finally:
            self._in_use[scope] -= 1
            if not self._in_use[scope]:  # the cache on disk has it
                del self._in_use[scope]
                self._models.forget(scope)
        return Reached(attempt.score, attempt.note if attempt.score is None else "")

    def _look_up(self) -> None:
        """Take note of what other processes have spent from the same cache."""
        tracker = self._models.budget_tracker
        bounded = tracker.budget != Budget() and monotonic() - self._looked >= LOOKED_UP
        # Calls in flight are settled on what is known; between them the log knows all.
        if bounded and not tracker.reserved.calls:
            tracker.spent = self._log.spent()
            self._looked = monotonic()

    def close(self) -> None:
        """Ends threads and processes, and closes connections and the log."""
        if os.getpid() != self._process:
            return
        self._loop.run(self._models.aclose())
        self._loop.close()
        self._comparisons.close()
        self._log.close()


class Reward:
    """What `trl` and `verl` give. Safe to call from several threads; a copy in another process
    opens the same cache. Closed by `close`, at the end of `with`, or with the process."""

    def __init__(self, how: RewardOptions) -> None:
        self._how = how
        with Ledger.open(RunFolder(how.cache).fresh().path) as ledger:
            if ledger.runs():
                raise RewardError(
                    f"{how.cache} holds a run, whose calls rewards would mix with; name another "
                    "folder as cache"
                )
        self._scorer = _Scorer(how)
        self._told = set[str]()
        self._close = finalize(self, self._scorer.close)

    def __reduce__(self) -> tuple[type[Self], tuple[RewardOptions]]:
        return type(self), (self._how,)

    @property
    def counts(self) -> RewardCounts:
        """What was scored so far, and what it took; live."""
        return self._scorer.counts

    def close(self) -> None:
        """Closes the cache and the connections; nothing is scored afterwards."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _scores(self, asked: Sequence[StudentAnswer]) -> list[Reached]:
        if not self._close.alive:
            raise RewardError("this reward is closed; make another one")
        return self._scorer.scores(asked)

    def _judged_by_others(self, task: Task, meta: Any) -> None:
        """Warn, once, where the rows were scored under other locked prompts than are at hand."""
        pinned = (meta.get("locked_revision") if isinstance(meta, Mapping) else None) or ""
        if pinned in ("", locked_revision(task.name)) or pinned in self._told:
            return
        self._told.add(pinned)
        if not unchanged_since(pinned, task.name):
            warnings.warn(
                f"the rows' answers were scored under {pinned}, and this version of autodata has "
                f"{locked_revision(task.name)}: rewards may differ from the scores in the rows",
                stacklevel=4,
            )


class TrlReward(Reward):
    """A reward function of TRL's GRPOTrainer, over the columns of a `trl-grpo` export."""

    __name__ = "autodata"  # by which TRL logs its mean

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """A reward per completion, 0 … 1, or None: no reward for this sample.

        Raises RewardError where a column is missing, Paused when the judge cannot be asked now.
        """
        names = [*SCORED_BY, "reference_answer"]
        if lacking := [name for name in names if name not in columns]:
            raise RewardError(_lacking(lacking, "trl-grpo"))
        metas = columns.get("meta") or [None] * len(completions)
        asked = []
        for at, completion in enumerate(completions):
            ids = completion_ids[at] if completion_ids and self._how.eos else ()
            cut = len(ids) > 0 and int(ids[-1]) not in self._how.eos
            row = {name: columns[name][at] for name in names}
            asked.append(_asked(row, row["reference_answer"], _text(completion), cut))
            self._judged_by_others(asked[-1].task, metas[at])
        found = self._scores(asked)
        if found and (log := columns.get("log_metric")):
            log("autodata/unscored", sum(one.score is None for one in found) / len(found))
        return [one.score for one in found]


class VerlReward(Reward):
    """A `compute_score` of verl, over the rows of a `verl` export."""

    __name__ = "compute_score"

    def __call__(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: str,
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> float:
        """The reward of one answer, 0 … 1. Raises RewardError where `extra_info` lacks what an
        answer is scored by, or where there is no score and no `unscored` to take its place; Paused
        when the judge cannot be asked now."""
        [found] = self.batch([data_source], [solution_str], [ground_truth], [extra_info])
        return found

    def batch(
        self,
        data_sources: Sequence[str],
        solution_strs: Sequence[str],
        ground_truths: Sequence[str],
        extra_infos: Sequence[Mapping[str, Any] | None],
        **_: Any,
    ) -> list[float]:
        """The rewards of many answers, judged at once: for verl's reward manager `batch`. Raises
        as a call."""
        asked = []
        for answer, wanted, info in zip(solution_strs, ground_truths, extra_infos, strict=True):
            row = info or {}
            if lacking := [name for name in SCORED_BY if name not in row]:
                raise RewardError(_lacking([f"extra_info.{name}" for name in lacking], "verl"))
            asked.append(_asked(row, wanted, answer, cut=False))
            self._judged_by_others(asked[-1].task, row)
        found = self._scores(asked)
        return [
            self._number(one, of.candidate.question) for one, of in zip(found, asked, strict=True)
        ]

    def _number(self, found: Reached, question: str) -> float:
        value = self._how.unscored if found.score is None else found.score
        if value is None:
            raise RewardError(
                f"an answer to “{question[:60]}” has no score: {found.why}. verl knows no missing "
                "reward; state one, such as rewards.verl(…, unscored=0.0)"
            )
        return value


def trl(
    config: Config = None,
    *,
    cache: str | Path = CACHE,
    budget_usd: float | None = None,
    budget_calls: int | None = None,
    budget_tokens: int | None = None,
    eos: int | Collection[int] = (),
    stop: bool = True,
    wait: bool = False,
) -> TrlReward:
    """A reward function for TRL's GRPOTrainer and the columns of a `trl-grpo` export.

    `config` is a configuration file, what it would hold, or a run folder, whose judge is asked
    then; ./autodata.yaml if there is one, else the judge is simulated. Only the judge (or whom it
    falls back to) need be configured. `cache` is a folder of its own, which keeps every judgement:
    the same answer to the same question is not paid for again, by any later process either.

    Budgets are upper bounds for the cache as a whole, in US dollars, answered calls, and tokens in
    and out; those of the configuration unless stated. At the next call that could exceed one,
    training stops with BudgetReached; with `stop=False` each answer that would need one gets None.
    A judge's reply that stays malformed, and an answer that the judge's endpoint refuses, get None,
    too: TRL leaves such a completion out of its group's mean and gives it no advantage.
    `eos` are the ids of the tokens that end a completion: one that ends in none was cut off. It
    scores 0 without a call, and so does an empty one. With `wait` an endpoint that is down is
    waited for; else EndpointDown stops the training.

    Raises SettingsError, UnknownRole, UnknownPrice, RunFolderError, LedgerError, or RewardError
    where `cache` holds a run.
    """
    ends = frozenset([eos] if isinstance(eos, int) else eos)
    settings = _settings(config, usd=budget_usd, calls=budget_calls, tokens=budget_tokens)
    return TrlReward(RewardOptions(settings, Path(cache).absolute(), wait, stop=stop, eos=ends))


def verl(
    config: Config = None,
    *,
    cache: str | Path = CACHE,
    budget_usd: float | None = None,
    budget_calls: int | None = None,
    budget_tokens: int | None = None,
    unscored: float | None = None,
    wait: bool = False,
) -> VerlReward:
    """A `compute_score` for verl and the rows of a `verl` export; its `batch` is one for verl's
    reward manager of that name, and judges the answers of a step at once.

    Configuration, cache and budgets are as in `trl`. verl needs a number for every answer: where
    the judge's reply stays malformed or its endpoint refuses the answer, it gets `unscored`, and
    RewardError stops the training unless that is stated. BudgetReached always stops it. verl does
    not say whether an answer was cut off; an empty one scores 0 without a call. Raises as `trl`.
    """
    settings = _settings(config, usd=budget_usd, calls=budget_calls, tokens=budget_tokens)
    return VerlReward(RewardOptions(settings, Path(cache).absolute(), wait, unscored=unscored))


def _settings(config: Config, **budget: float | None) -> Settings:
    """The configuration with the judge as its only model, and this budget over its own. Raises
    SettingsError, UnknownRole."""
    bounds = [Override(f"budget.{kind}", most, f"budget_{kind}={most!r}")
              for kind, most in budget.items() if most is not None]  # fmt: skip
    nobody = ModelConfig(endpoint=SIMULATED, model=NOBODY)
    others = {"models": dict.fromkeys(ROLES_OF_A_RUN, nobody.model_dump(mode="json"))}
    if isinstance(config, str | Path) or config is None:
        read_whole = read_over(others, "the configuration", _file(config), bounds)
    else:
        stated = config.plain() if isinstance(config, Settings) else config
        models = {**others["models"], **(stated.get("models") or {})}
        read_whole = read({**stated, "models": models}, "config", bounds)
    given = {role: model for role, model in read_whole.models.items() if model.model != NOBODY}
    if read_whole.endpoints and not given:
        raise SettingsError("endpoints are configured but no judge; add models.judge")
    judge = resolve("judge", given)
    if judge.model.startswith(SIMULATED):
        warnings.warn(f"the judge is simulated, and so is every reward. {NOTICE}", stacklevel=3)
    if judge.repeats and "judge" not in given:
        judge = judge.model_copy(update={"repeats": None})
    seed = read_whole.run.seed
    if seed is None and judge.model.startswith(SIMULATED):
        seed = 0
    run = read_whole.run.model_copy(update={"seed": seed, "batch": False})
    return read_whole.model_copy(update={"models": {"judge": judge} if given else {}, "run": run})


def _file(config: str | Path | None) -> Path | None:
    """The file of a configuration; of a run folder the one that it keeps. Raises RunFolderError."""
    if config is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    path = Path(config)
    return RunFolder(path).existing().config if path.is_dir() else path


def _asked(row: Mapping[str, Any], wanted: str, answer: str, cut: bool) -> StudentAnswer:
    """The question of a row, and an answer as a solver's is read: without hidden reasoning."""
    task = TASKS.get(row["task"])
    if task is None:
        raise RewardError(
            f"a row is of the task {row['task']!r}, and here are {', '.join(TASKS)}; install the "
            "package that adds it"
        )
    try:
        lines = [(str(line["criterion"]), int(line["weight"])) for line in row["rubric"]]
    except (TypeError, KeyError, ValueError) as error:
        raise RewardError(
            f"the rubric of “{row['question'][:60]}” is no list of criteria with weights, as an "
            "export has it; where it became a text, hand over what json.loads reads from it"
        ) from error
    candidate = Candidate(
        context=row["context"],
        question=row["question"],
        reference_answer=wanted,
        rubric=tuple(Criterion(criterion=said, weight=weight) for said, weight in lines),
        question_type=row["question_type"] or "",
    )
    if not any(line.weight > 0 for line in candidate.rubric):
        raise RewardError(
            f"the rubric of “{candidate.question[:60]}” has no positive weight, and cannot be "
            "scored; leave the row out"
        )
    return StudentAnswer(task, candidate, split_thinking(clean(answer))[1], cut)


def _text(completion: Any) -> str:
    """The words of a completion: a text, or messages, of which the last is the answer."""
    if isinstance(completion, str):
        return completion
    return words(completion[-1].get("content")) if completion else ""


def _lacking(names: Iterable[str], format: str) -> str:
    return (
        f"the rows have no {', '.join(names)}, by which an answer is scored; write them anew with "
        f"`autodata export RUN --format {format}`, and keep these columns"
    )
