"""What a task is: one domain in one frozen value, and the locked checks that its examples pass."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module

from autodata.tasks.acceptance import Acceptance, Policy, missing
from autodata.tasks.rubric import LEAST, RubricPolicy, consistent, score
from autodata.tasks.types import (
    Attempt,
    Candidate,
    Criterion,
    Document,
    Objection,
    Round,
    Verdict,
)

# Final filters (paper, section 1). They are locked: no prompt set can loosen them.
CONTEXT_MIN_CHARACTERS = 80
LOCKED_RUBRIC = RubricPolicy(**LEAST, items_max=40, negatives_min=0, negatives_max=20)
LEAK_NGRAM_WORDS = 8
LEAK_SHARE = 0.5

_SOURCE_WORDS = re.compile(
    r"\b(?:(?:this|the|said|above|given|source|accompanying|provided)\s+"
    r"(?:paper|document|article|passage|excerpt|text|chapter|textbook|proposal|opinion)"
    r"(?!\s+(?:editor|area|field|file|store|box|index|database|format|length))"
    r"|the authors?\b|according to the (?:paper|document|text|author))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Comparison:
    """A comparison of two texts that may take long: it runs in a process with limits.

    `decide` and `load` are functions of a module, so that another process finds them by name.
    `decide(answer, reference)` is pure; `load` imports what it needs, once per process and before
    its time is taken.
    """

    decide: Callable[[str, str], bool | None]
    answer: str
    reference: str
    load: Callable[[], object]


@dataclass(frozen=True)
class Unreadable:
    """What a comparison finds where an answer has no final answer to compare, and why."""

    why: str


Worked = tuple[str, str, str]  # context and question of a solved item, and how it is answered


@dataclass(frozen=True)
class Procedure:
    """A challenger that is code, and the checks of what it makes. Every function is pure.

    They take the document's text and its finished rounds, so that a run that goes on makes the same
    again:

    - `challenge`: the candidate of the next round, or UNSUITABLE for a document it can do nothing
      with.
    - `instruct`: what it does next and why, in words for people.
    - `problems`: what is wrong with a candidate, worked out anew from its text; nobody else checks.
    - `worked`: so many solved items like the next one, for a side that is shown examples.
    """

    challenge: Callable[[str, Sequence[Round]], Candidate | Objection]
    instruct: Callable[[str, Sequence[Round]], str]
    problems: Callable[[str, Candidate], tuple[str, ...]]
    worked: Callable[[str, Sequence[Round], int], tuple[Worked, ...]]

    def verdict(self, document: Document, candidate: Candidate) -> Verdict:
        """The verdict that follows from `problems`, on exactly this candidate."""
        found = self.problems(document.text, candidate)
        return Verdict(passed=not found, problems=found, fingerprint=candidate.fingerprint)


@dataclass(frozen=True)
class Task:
    """One domain. Attempts and rounds are the paper's defaults; the configuration may change them.

    `policy` takes the configured acceptance and the attempts planned for the weak and the strong
    side; it raises ValueError where nothing could be accepted. The hooks are pure:

    - `screen`: the domain's own code checks of a candidate, run before anything is paid for.
    - `make_criteria`: where challengers write no rubric, the criteria that follow from the
      reference answer.
    - `compare`: an answer and its candidate. True or False settles whether the answer is right,
      None asks the judge, a Comparison is carried out elsewhere and says one of the three, an
      Unreadable answer is wrong by its form.
    - `procedure`: where code makes and checks the candidates, and no model is asked to.

    `prompts` is the package that ships the folders `seed/<name>/` and `locked/<name>/`.
    """

    name: str
    title: str
    weak_attempts: int
    strong_attempts: int
    rounds: int
    policy: Callable[[Acceptance, int, int], Policy]
    challengers: int = 1
    extracts: bool = False
    judged_by_loop: bool = False
    screen: Callable[[Candidate], tuple[Objection, ...]] = lambda candidate: ()
    make_criteria: Callable[[str], tuple[Criterion, ...]] | None = None
    compare: Callable[[str, Candidate], bool | Comparison | Unreadable | None] = (
        lambda answer, candidate: None
    )
    procedure: Procedure | None = None
    prompts: str = "autodata.prompt_store"

    @property
    def has_rubric(self) -> bool:
        """Whether challengers write the criteria."""
        return self.make_criteria is None

    def unread(self, acceptance: Acceptance) -> list[str]:
        """The changed keys of `acceptance` that its policy decides without: another value there
        makes the same policy. Raises as `policy`."""
        weak, strong = self.weak_attempts, self.strong_attempts
        policy, unread = self.policy(acceptance, weak, strong), []
        for name, field in Acceptance.model_fields.items():
            value = getattr(acceptance, name)
            if value == field.default or name in ("preset", "confirm"):
                continue
            others = [field.default] if isinstance(value, str) else [field.default, value / 2]
            try:
                made = [
                    self.policy(acceptance.model_copy(update={name: other}), weak, strong)
                    for other in others
                ]
            except ValueError:  # nobody could keep the other one: it is read
                continue
            if all(other == policy for other in made):
                unread.append(name)
        return unread

    def asks(self, role: str) -> bool:
        """Whether a run asks this role anything."""
        return self.procedure is None or role.endswith("_solver")


GROUP = "autodata.tasks"  # of the entry points by which other packages add domains


class TaskError(ImportError):
    """A domain that cannot be loaded: the message names it and says why."""


class Registry(Mapping[str, Task]):
    """Every domain by its name: those of the given modules, then those of other packages.

    Each module holds a TASK. They are loaded when the first is asked for, so that a domain may
    import from here. Raises TaskError then.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    @cached_property
    def _tasks(self) -> Mapping[str, Task]:
        from importlib.metadata import entry_points  # takes as long as the rest of this room

        tasks: dict[str, Task] = {}
        for module in self._modules:
            task = import_module(module).TASK
            tasks[task.name] = task
        for entry in entry_points(group=GROUP):
            said = f"entry point {entry.name} = {entry.value} of {entry.dist and entry.dist.name}"
            try:
                task = entry.load()
            except (ImportError, AttributeError) as error:
                raise TaskError(f"{said}: it cannot be loaded: {error}") from error
            if not isinstance(task, Task) or task.name in tasks:
                wrong = "its task has a name that is taken" if isinstance(task, Task) else "no Task"
                raise TaskError(f"{said}: {wrong}; there are {', '.join(tasks)}")
            tasks[task.name] = task
        return tasks

    def __getitem__(self, name: str) -> Task:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def screen(task: Task, candidate: Candidate, rubric: RubricPolicy | None) -> tuple[Objection, ...]:
    """The checks by code before the verifier is asked: the rubric policy, then the domain's own."""
    problems = rubric.problems(candidate.rubric) if rubric and task.has_rubric else []
    malformed = tuple(Objection(code="MALFORMED", message=p) for p in problems)
    return malformed + task.screen(candidate)


def final_filters(task: Task, candidate: Candidate, document: Document) -> tuple[Objection, ...]:
    """The locked filters on a frozen candidate: identity, leak, short context, broken rubric."""
    asked = f"{candidate.context}\n{candidate.question}"
    found = []
    if identity := _identity(asked, document):
        message = f"“{identity}” gives the source away; solvers never see it, so do not mention it"
        found.append(Objection(code="LEAK", message=message))
    if leaked_share(candidate.reference_answer, asked) >= LEAK_SHARE:
        message = "the context or question repeats the reference answer nearly word for word"
        found.append(Objection(code="LEAK", message=message))
    if task.has_rubric and len(candidate.context.strip()) < CONTEXT_MIN_CHARACTERS:
        length = len(candidate.context.strip())
        message = f"the context has {length} characters, at least {CONTEXT_MIN_CHARACTERS} needed"
        found.append(Objection(code="QUALITY", message=message))
    if task.has_rubric:
        problems = LOCKED_RUBRIC.problems(candidate.rubric)
        found += [Objection(code="MALFORMED", message=p) for p in problems]
    return tuple(found)


def _identity(asked: str, document: Document) -> str | None:
    """The words by which the text gives its source document away, or None."""
    if phrase := _SOURCE_WORDS.search(asked):
        return phrase.group(0)
    title = str(document.meta.get("title", ""))
    distinctive = len(title.split()) >= 3 and title.casefold() in asked.casefold()
    return title if distinctive else None


def leaked_share(reference: str, asked: str) -> float:
    """Share (0 … 1) of the reference answer's 8-word sequences that stand in the text asked."""
    answer, text = _words(reference), _words(asked)
    size = LEAK_NGRAM_WORDS
    if len(answer) < size:
        return 0.0
    seen = {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}
    grams = [tuple(answer[i : i + size]) for i in range(len(answer) - size + 1)]
    return sum(g in seen for g in grams) / len(grams)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def objections_on_record(
    task: Task, policy: Policy, document: Document, round: Round, answers: Mapping[int, str]
) -> tuple[Objection, ...]:
    """Every reason why what is on record does not bear out an acceptance; empty when it does.

    Both verdicts passed this very candidate, each score follows from marks on its rubric, each
    answer is one that its solver gave (`answers`: call id → text), no attempt is missing, and
    neither the locked filters nor the policy object.
    """
    if round.candidate is None:
        return (Objection(code="MALFORMED", message="there is no candidate"),)
    wrong = [*unverified(round), *unscored_by_us(round), *_unheard(round, answers)]
    if task.procedure:
        wrong += task.procedure.verdict(document, round.candidate).problems
    if not wrong and task.judged_by_loop and round.judgement is None:
        wrong = ["the loop judge did not read the round"]
    objections = tuple(Objection(code="MALFORMED", message=reason) for reason in wrong)
    objections += final_filters(task, round.candidate, document) + policy.objections(round)
    if not objections and (lacking := missing(policy, round)):
        objections = (Objection(code="MALFORMED", message=lacking),)
    return objections


def objections_to_one_shot(
    task: Task, document: Document, round: Round, answers: Mapping[int, str]
) -> tuple[Objection, ...]:
    """As `objections_on_record`, of a baseline's round: nothing was verified before it was
    attempted, and no policy decides. The final verdict, the attempts and the filters stand."""
    if round.candidate is None:
        return (Objection(code="MALFORMED", message="there is no candidate"),)
    unsaid = unverified(round, final=True)
    wrong = [*unsaid, *unscored_by_us(round), *_unheard(round, answers)]
    objections = tuple(Objection(code="MALFORMED", message=reason) for reason in wrong)
    return objections + final_filters(task, round.candidate, document)


def unverified(round: Round, *, final: bool = False) -> Iterator[str]:
    """Both verdicts, or the `final` one alone, must be there, passed, and about this very
    candidate."""
    asked = round.candidate.fingerprint if round.candidate else ""
    verdicts = (("verifier", round.verdict), ("final verifier", round.final_verdict))
    for who, verdict in verdicts[1:] if final else verdicts:
        if verdict is None or not verdict.passed:
            yield f"the {who} did not pass it"
        elif verdict.fingerprint != asked:
            yield f"the {who} passed another candidate"


def unscored_by_us(round: Round) -> Iterator[str]:
    """Each side was attempted, and scores follow from marks on the candidate's rubric."""
    for side, attempts in (("weak", round.weak), ("strong", round.strong)):
        if [(a.solver, a.number) for a in attempts] != [
            (side, number) for number in range(1, len(attempts) + 1)
        ]:
            yield f"the {side} attempts are not numbered as they were made"
        if not attempts:
            yield f"there is no {side} attempt"
    for attempt in round.attempts:
        name = f"{attempt.solver} attempt {attempt.number}"
        if attempt.score is None or not attempt.marks:
            yield f"{name} has no marks"
        elif [(mark.criterion, mark.weight) for mark in attempt.marks] != _agreed(round.candidate):
            yield f"{name} was marked by another rubric"
        elif not consistent(attempt.marks):
            yield f"{name} has marks that its judgements do not bear out"
        elif attempt.score != float(score(attempt.marks)):
            yield f"{name} scored {attempt.score}, its marks come to another score"


def _agreed(candidate: Candidate | None) -> list[tuple[str, int]]:
    return [(c.criterion, c.weight) for c in candidate.rubric] if candidate else []


def _unheard(round: Round, answers: Mapping[int, str]) -> Iterator[str]:
    """Answers that no solver's recorded call gave; a lone surrogate is recorded as a `?`."""
    attempt: Attempt
    for attempt in round.attempts:
        given = attempt.answer.encode("utf-8", "replace").decode()
        if attempt.call_id is None or answers.get(attempt.call_id) != given:
            yield f"{attempt.solver} attempt {attempt.number} is not an answer on record"
