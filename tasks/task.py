"""What a task is: one domain's policy, checks and numbers, in one frozen value."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module

from autodata.tasks.acceptance import Acceptance, Policy
from autodata.tasks.rubric import LEAST, RubricPolicy
from autodata.tasks.types import Candidate, Criterion, Document, Objection

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
class Task:
    """One domain. Attempts and rounds are the paper's defaults; the configuration may change them.

    `policy` takes the configured acceptance and the attempts planned for the weak and the strong
    side; it raises ValueError where nothing could be accepted. The hooks are pure:

    - `screen`: the domain's own code checks of a candidate, run before anything is paid for.
    - `make_criteria`: where challengers write no rubric, the criteria that follow from the
      reference answer.
    - `compare`: an answer and its candidate. True or False settles whether the answer is right,
      None asks the judge, a Comparison is carried out elsewhere and says one of the three.

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
    compare: Callable[[str, Candidate], bool | Comparison | None] = lambda answer, candidate: None
    prompts: str = "autodata.prompt_store"

    @property
    def has_rubric(self) -> bool:
        """Whether challengers write the criteria."""
        return self.make_criteria is None


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
