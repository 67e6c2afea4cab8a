"""What the graph carries: the typed state of one document, and the choices of a run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from autodata.tasks import TASKS, Task
from autodata.tasks.acceptance import (
    Acceptance,
    Policy,
    ThresholdPolicy,
    Thresholds,
    mean,
    scores,
    summary,
    thresholds,
)
from autodata.tasks.measured import MeasuredPolicy, around, measured
from autodata.tasks.measurement import Prior, Sides
from autodata.tasks.types import (
    Attempt,
    Candidate,
    Decision,
    Frozen,
    Judgement,
    Objection,
    Review,
    Round,
    Side,
    Verdict,
)

T = TypeVar("T")

LINE = 160  # characters of a text in the story of a document
LONGEST_TEXT = 1_000_000
"""Characters of a document: a book of 150,000 words, as for a row of a table. It is read whole in
every call that shows it, and twenty times as much kept this process busy for half a minute."""
LONGEST_NAME = 300  # characters


def nearest(name: str, known: Iterable[str], all_of_them: str) -> str:
    """`; did you mean x?` where a known name is near, else `; the … are x, y, z`."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; {all_of_them} are {', '.join(names)}"


def _known(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}{nearest(name, TASKS, 'the tasks')}")
    return name


def _written(text: str) -> str:
    if not any(map(str.isalnum, text)):
        what = "has no letter and no digit" if text.strip() else "is blank"
        raise ValueError(f"the document's text {what}; a document needs text to ask about")
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            f"the document's text has {len(text):,} characters, of at most {LONGEST_TEXT:,}; send "
            "parts of it as documents of their own"
        )
    return text


FIRST_TASK = next(iter(TASKS))  # where nobody says which

DocumentText = Annotated[
    str,
    AfterValidator(_written),
    Field(json_schema_extra={"minLength": 1, "maxLength": LONGEST_TEXT}),
]

# A name in the registry, so that a new domain needs no second line here; Studio offers the names.
TaskName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(TASKS)})]
Attempts = Literal["early", "parallel", "all"]
# On the command line words are joined by a hyphen.
Hyphened = BeforeValidator(lambda said: said.replace("-", "_") if isinstance(said, str) else said)
Reviewed = Annotated[Literal["before_accept"], Hyphened]
Baseline = Literal["cot", "self-instruct", "evol"]
AnyReview = Annotated[Literal["before_accept", "before_keep"], Hyphened]


class LoopChoices(BaseModel):
    """How a document is worked on. None means the task's own number (paper, section 2).

    The `run` section of the configuration and the form of Studio both take these from here.
    """

    rounds: int | None = Field(None, ge=1, le=100, description="round budget of one document")
    challengers: int | None = Field(None, ge=1, le=5, description="candidates written per round")
    attempts: Attempts = Field(
        "early",
        description="early: ask only while an attempt can change the decision; parallel: a whole "
        "side at once; all: both sides in full, whatever the weak side scored",
    )
    review: AnyReview | None = Field(
        None,
        exclude_if=lambda asked: asked is None,
        description="before_accept: a person accepts, edits or sends back what passed the gate; "
        "before_keep: a person keeps or turns down a prompt edit that would be kept",
    )
    diversity: bool = Field(
        False,
        exclude_if=lambda on: not on,
        description="object to questions that were nearly asked before, of the document or by an "
        "accepted example of the run, and tell the challenger what was asked of the document",
    )


class RunChoices(LoopChoices, Acceptance):
    """How a document is worked on. What is null, or not stated, is the configuration's choice, else
    the task's own number; the assistants for one task show these."""

    task: TaskName | None = Field(
        None,
        exclude_if=lambda task: task is None,
        description="what to make examples of, whatever the input says; the assistants for one "
        "task state it",
    )
    review: Reviewed | None = Field(
        None,
        exclude_if=lambda asked: asked is None,
        description="before_accept: a person accepts, edits or sends back what passed the gate",
    )
    weak_attempts: int | None = Field(None, ge=1, le=32, description="weak attempts per question")
    strong_attempts: int | None = Field(None, ge=1, le=32, description="strong attempts likewise")
    weak_examples: int | None = Field(
        None,
        ge=0,
        le=32,
        description="worked examples shown to the weak solver, where there are some",
    )
    strong_examples: int | None = Field(
        None, ge=0, le=32, description="worked examples shown to the strong solver likewise"
    )
    judge_repeats: int | None = Field(
        None, ge=1, le=9, description="how often the judge is asked about each answer; null: once"
    )

    def stated_over(self, stated: "RunChoices | None") -> "RunChoices":
        """These choices with what a caller stated, and nothing but that, in their place."""
        names = stated.model_fields_set if stated else ()
        return self.model_copy(update={name: getattr(stated, name) for name in names})


class SourceText(Frozen):
    """A document as the service takes it."""

    name: str = Field(
        "document", max_length=LONGEST_NAME, description="how the document is called in records"
    )
    text: DocumentText = Field(description="its plain text or Markdown")


class InWords(BaseModel):
    """Raises InvalidUpdateError instead of ValidationError: LangGraph shows it to whoever asked,
    and takes it for a bad request. Of a ValueError Pydantic would make an error of its own."""

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, given: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return read(given)
        except ValidationError as error:
            from langgraph.errors import InvalidUpdateError  # commands need not wait for it

            raise InvalidUpdateError("; ".join(input_faults(error))) from error


def input_faults(error: ValidationError) -> Iterator[str]:
    """Each fault with its place, in words."""
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(map(str, fault["loc"]))
        said = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        yield f"{where}: {WORDED.get(fault['type'], said)}"


WORDED = {  # faults, by Pydantic's types
    "missing": "is missing",
    "model_type": "must be an object",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}


class Input(InWords):
    """One document in: its text, or the id of one that the ledger already holds."""

    document: SourceText | None = Field(None, description="a document, by its text")
    document_id: str = Field("", description="or the id of one that is on record here")
    task: TaskName | None = Field(
        None,
        description=f"what to make examples of; null: what the assistant is for, else {FIRST_TASK}",
    )


_ROUNDS = TypeAdapter(list[Round])


def kept(rounds: list[Round], found: list[Any]) -> list[Round]:
    """The reducer of `rounds`: a round takes the place of one with its number, nothing begins anew.

    `found` may hold plain values, as a caller sends them who edits the state over HTTP.
    Raises ValueError at what are no rounds.
    """
    if not isinstance(found, list | tuple):
        raise ValueError("rounds: must be a list")
    numbered = {round.number: round for round in _ROUNDS.validate_python([*rounds, *found])}
    return [numbered[number] for number in sorted(numbered)] if found else []


def _newest(known: T, found: T) -> T:
    """The reducer of what every node says: of two sides that work at once, who ends last; the next
    node tells both."""
    return found


class State(Input):
    """One document on its way. Texts of documents stay in the ledger; ids travel.

    The fields from `candidates` to `review` belong to the round in progress; finished rounds
    are kept in `rounds`. `decision` is None while a round is open. `summary` tells all of it in
    lines for people.
    """

    model_config = ConfigDict(extra="forbid")

    task: Annotated[TaskName, BeforeValidator(lambda said: said or FIRST_TASK)] = FIRST_TASK
    choices: RunChoices = RunChoices()
    prompts_revision: str = ""
    prior: Prior | None = None
    case_file: str = ""
    instruction: str = ""
    number: Annotated[int, _newest] = 1
    candidates: tuple[Candidate, ...] = ()
    candidate: Candidate | None = None
    verdict: Verdict | None = None
    weak: tuple[Attempt, ...] = ()
    strong: tuple[Attempt, ...] = ()
    judgement: Judgement | None = None
    fresh: tuple[Attempt, ...] = ()
    final_verdict: Verdict | None = None
    review: Review | None = None
    objections: tuple[Objection, ...] = ()
    decision: Decision | None = None
    rounds: Annotated[list[Round], kept] = Field(default_factory=list)
    summary: Annotated[str, _newest] = ""


FRESH_ROUND: dict[str, object] = {
    name: State.model_fields[name].default
    for name in (
        "candidates",
        "candidate",
        "verdict",
        "weak",
        "strong",
        "judgement",
        "fresh",
        "final_verdict",
        "review",
        "objections",
        "decision",
    )
}

# All that a thread still knows of the document before, when the next one comes in.
FRESH_DOCUMENT: dict[str, object] = {
    **FRESH_ROUND,
    **{name: State.model_fields[name].default for name in ("case_file", "instruction", "number")},
    "rounds": [],
}


def task_of(state: State) -> Task:
    """The domain of the document."""
    return TASKS[state.task]


def one_shot_choices(choices: RunChoices) -> RunChoices:
    """The choices of a run as a baseline has them: one round, one challenger, both sides in full,
    and neither fresh attempts nor a person to choose."""
    only = {"rounds": 1, "challengers": 1, "attempts": "all", "confirm": None, "review": None}
    return choices.model_copy(update=only)


def with_examples_of(task: Task, choices: RunChoices) -> RunChoices:
    """The choices, if the task has the worked examples that they ask for. Raises ValueError."""
    if task.procedure is None and (choices.weak_examples or choices.strong_examples):
        raise ValueError(
            f"{task.name} has no worked examples to show; leave out weak_examples and "
            "strong_examples (in a configuration, `examples` of a solver)"
        )
    if task.procedure and choices.diversity:
        raise ValueError(
            f"{task.name} makes its items of one template, each with other numbers, which "
            "diversity objects to; leave out diversity"
        )
    return choices


def spelled_out(task: Task, choices: RunChoices) -> RunChoices:
    """The choices with the task's own numbers where they state none, as a form shows them. Where
    none applies (a task that counts has no threshold of a mean) null is left."""
    own: dict[str, object] = {
        "rounds": task.rounds,
        "challengers": task.challengers,
        "weak_attempts": task.weak_attempts,
        "strong_attempts": task.strong_attempts,
        "weak_examples": 0,
        "strong_examples": 0,
        "judge_repeats": judgements(choices),
    }
    plain = Acceptance(preset=choices.preset)
    policy = task.policy(plain, task.weak_attempts, task.strong_attempts)
    by_mean = isinstance(policy, MeasuredPolicy) and policy.noise == "scores"
    if by_mean or isinstance(policy, ThresholdPolicy):
        gate = thresholds(choices).model_dump()
        own |= {name: gate[name] for name in RunChoices.model_fields if name in gate}
    return choices.model_copy(
        update={name: number for name, number in own.items() if getattr(choices, name) is None}
    )


def usual_values(task: Task, choices: RunChoices) -> dict[str, tuple[float, ...]]:
    """Values around the thresholds of the weak and the strong side, by key; none where the task
    decides without."""
    own = spelled_out(task, choices)
    if own.weak_max is not None and own.strong_min is not None:
        return {"weak_max": around(own.weak_max), "strong_min": around(own.strong_min)}
    keys = ("weak_correct_max", "strong_correct_min")
    if {*keys} & {*task.unread(choices.model_copy(update=dict.fromkeys(keys, 2)))}:
        return {}
    weak = choices.weak_attempts or task.weak_attempts
    strong = choices.strong_attempts or task.strong_attempts
    counts = range(min(weak, 5)), range(max(strong - 4, 1), strong + 1)
    return dict(zip(keys, map(tuple, counts), strict=True))


def as_configured(task: Task, choices: RunChoices, configured: RunChoices) -> RunChoices:
    """The choices with what is configured in place of all that comes to the same: it makes no other
    run whether a caller states a number that is in force anyway."""
    known = spelled_out(task, configured.model_copy(update={"preset": choices.preset}))
    same = {
        name: getattr(configured, name)
        for name in RunChoices.model_fields
        if getattr(choices, name) == getattr(known, name)
    }
    return choices.model_copy(update={**same, "preset": choices.preset, "task": None})


def of_one_preset(task: Task, choices: RunChoices, configured: RunChoices) -> RunChoices:
    """The choices, unless they are a form in which the preset alone was changed: its thresholds are
    still those of the configured one. Raises ValueError."""
    if choices.preset == configured.preset:
        return choices
    form = spelled_out(task, configured)
    other = spelled_out(task, RunChoices(preset=choices.preset))
    numbers = [name for name in Thresholds.model_fields if getattr(form, name, None) is not None]
    kept = all(getattr(choices, name) == getattr(form, name) for name in numbers)
    if kept and any(getattr(other, name) != getattr(form, name) for name in numbers):
        raise ValueError(
            f"preset is {choices.preset}, and all thresholds are stated, and still those of "
            f"{configured.preset}: leave out {', '.join(numbers)} to have those of {choices.preset}"
        )
    return choices


def in_force(
    task: str | None, configured: RunChoices, stated: RunChoices | None
) -> tuple[Task, RunChoices]:
    """The task and the choices of a request: its own over those of the configuration. Raises
    ValueError at choices that its task does not have."""
    found = configured.stated_over(stated)
    own = TASKS[found.task or task or FIRST_TASK]
    choices = with_examples_of(own, found.model_copy(update={"task": None}))
    return own, of_one_preset(own, choices, configured)


def judgements(choices: RunChoices) -> int:
    """How often the judge is asked about each answer that it marks."""
    return choices.judge_repeats or 1


def planned(state: State) -> tuple[int, int]:
    """Attempts planned per question: (weak, strong)."""
    task, choices = task_of(state), state.choices
    return (
        choices.weak_attempts or task.weak_attempts,
        choices.strong_attempts or task.strong_attempts,
    )


def policy_of(state: State) -> Policy:
    """The acceptance policy in force."""
    policy = _policy(state.task, state.choices, *planned(state))
    if state.prior and isinstance(policy, MeasuredPolicy):
        own = tuple(round.scored for round in earlier(state))
        return _learned(policy.model_copy(update={"prior": state.prior}), own)
    return policy


def measuring(state: State) -> MeasuredPolicy:
    """What says how likely the thresholds in force truly hold, whatever policy that is."""
    policy = policy_of(state)
    if isinstance(policy, ThresholdPolicy):
        return measured(policy.gate, state.choices)
    choices = state.choices.model_copy(update={"preset": "measured"})
    found = policy_of(state.model_copy(update={"choices": choices}))
    if isinstance(found, MeasuredPolicy):
        return found
    own = measured(thresholds(choices), choices)
    return own.model_copy(update={"prior": state.prior}) if state.prior else own


@lru_cache(maxsize=256)
def _policy(task: str, choices: RunChoices, weak: int, strong: int) -> Policy:
    return TASKS[task].policy(choices, weak, strong)


@lru_cache(maxsize=256)
def _learned(policy: MeasuredPolicy, rounds: tuple[Sides, ...]) -> MeasuredPolicy:
    return policy.after(rounds)


def sides_together(state: State) -> bool:
    """True when both solvers are asked whatever the weak side scores."""
    return state.choices.attempts == "all" or policy_of(state).both_sides


def earlier(state: State) -> list[Round]:
    """The finished rounds before the one in progress."""
    return [round for round in state.rounds if 0 < round.number < state.number]


def attempts_wanted(
    state: State, side: Side, weak: Sequence[Attempt], strong: Sequence[Attempt]
) -> int:
    """How many attempts of a side come next, after those that were made of both."""
    policy = policy_of(state)
    if state.choices.attempts == "early":
        return policy.batch(side, scores(weak), scores(strong))
    if side == "weak":
        return policy.weak_planned - len(weak)
    return policy.strong_planned - len(strong)


def next_side(state: State) -> Side | None:
    """Whose attempt comes next; None where the attempts on record are to be decided on."""
    if any(a.score is None for a in (*state.weak, *state.strong)):
        return None
    sides: tuple[Side, ...] = ("strong", "weak")
    wanted = (s for s in sides if attempts_wanted(state, s, state.weak, state.strong) > 0)
    return next(wanted, None)


def round_so_far(state: State) -> Round:
    """The round in progress as a value that policies decide on."""
    return Round(
        number=state.number,
        instruction=state.instruction,
        candidate=state.candidate,
        verdict=state.verdict,
        weak=state.weak,
        strong=state.strong,
        judgement=state.judgement,
        fresh=state.fresh,
        final_verdict=state.final_verdict,
        review=state.review,
    )


def closed(state: State, objections: tuple[Objection, ...], **found: object) -> dict[str, object]:
    """The update that ends the round: what was found goes on record, the decision says what next.

    No objection accepts; otherwise the document is revised while rounds are left.
    """
    out_of_rounds = state.number >= (state.choices.rounds or task_of(state).rounds)
    decision: Decision = "revise"
    if not objections:
        decision = "accepted"
    elif out_of_rounds:
        decision = "rejected"
    ended = round_so_far(state).model_copy(
        update={**found, "objections": objections, "decision": decision}
    )
    return {**found, "objections": objections, "decision": decision, "rounds": [ended]}


def told(state: State, found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The story of the document once a node has `found` what it did, and what of it is new."""
    known = state.summary.splitlines()
    rounds = kept(state.rounds, found["rounds"]) if "rounds" in found else state.rounds
    lines = story(state.model_copy(update={**found, "rounds": rounds}))
    return lines, [line for line in lines if line not in known]


def story(state: State) -> list[str]:
    """The document so far, one line for each thing that was found out about it."""
    ended = [round for round in state.rounds if round.number <= state.number]
    lines = [line for round in ended for line in _round_lines(round)]
    if state.number in (round.number for round in ended) or state.decision:
        return lines
    asked = [f"round {state.number} · asked for: {shortened(state.instruction)}"]
    written = state.candidates if state.candidate is None else ()
    lines += asked if state.instruction else []
    lines += [f"round {state.number} · question: {shortened(c.question)}" for c in written]
    return lines + _round_lines(round_so_far(state).model_copy(update={"instruction": ""}))


def _round_lines(round: Round) -> list[str]:
    """A round as the storyboard has it."""
    found = [f"asked for: {shortened(round.instruction)}"] if round.instruction else []
    if round.candidate:
        found.append(f"question: {shortened(round.candidate.question)}")
    if round.verdict:
        found.append(f"verifier: {'passed' if round.verdict.passed else 'failed'}")
    found += [_side(side, made) for side, made in round.sides]
    if (gap := summary(round)["gap"]) is not None:
        found.append(f"gap {gap:+.2f}")
    if round.judgement:
        verdict, reason = round.judgement.verdict, round.judgement.verdict_reason
        found.append(f"loop judge: {verdict}, {shortened(reason)}")
    found += [f"afresh {_side(side, made)}" for side, made in round.fresh_sides]
    if round.final_verdict:
        found.append(f"final check: {'passed' if round.final_verdict.passed else 'failed'}")
    if round.review:
        found.append(f"review: {round.review.said}")
    objections = "; ".join(f"{o.code}: {shortened(o.message)}" for o in round.objections)
    if round.decision == "accepted" and objections:  # of a baseline, which no threshold chooses
        found.append(f"accepted unasked by the thresholds · {objections}")
    elif round.decision:
        found.append(f"{round.decision} · {objections}" if objections else round.decision)
    head = f"round {round.number}" if round.number else "before the first round"
    return [f"{head} · {line}" for line in found]


def _side(side: Side, made: Sequence[Attempt]) -> str:
    """`weak 0.41 (0.38, 0.44, 0.41)`."""
    found = mean(scores(made))
    total = "not scored" if found is None else f"{float(found):.2f}"
    return f"{side} {total} ({', '.join(attempt.said for attempt in made)})"


def shortened(text: str, most: int = LINE) -> str:
    """A text on one line, at most so many characters of it; cut between words."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most].rsplit(' ', 1)[0]} …"
