"""What the pages show, as values read from run.db, and of which folders; how it looks is told by
the templates."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlencode

from autodata.ledger.database import LedgerError
from autodata.ledger.iterations import Iteration
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.listing import ReviewKey, asked_about_edit, asked_review
from autodata.ledger.measurements import measured, remeasurements
from autodata.ledger.reviews import WaitingEdit, WaitingRound
from autodata.ledger.rows import Example, RunRow
from autodata.ledger.summary import harmless
from autodata.prompt_store.store import Store, StoreError
from autodata.tasks import TASKS
from autodata.tasks.acceptance import (
    Acceptance,
    CountPolicy,
    Policy,
    ThresholdPolicy,
    summary,
)
from autodata.tasks.judge_noise import AuditedExample
from autodata.tasks.measured import MeasuredPolicy, Measurement
from autodata.tasks.review import EditReview
from autodata.tasks.rubric import RubricFinding, lint_rubric, met_by
from autodata.tasks.types import Candidate, Document, Review, Round

PATIENCE = 20  # what is worked out stays as it is for so many times the time that it took
COMPARED = 1_000  # pieces of a text, at most, whose changes are shown one by one
EDITED_AT_MOST = 100_000  # characters of a text that a form holds; longer ones are edited by file
_BORDERS = {
    "question": re.compile(r"(?<=\s)"),
    "context": re.compile(r"(?<=[.!?;:]\s)|(?<=\n)"),
    "reference_answer": re.compile(r"(?<=[.!?;:]\s)|(?<=\n)"),
}

T = TypeVar("T")
Difference = Literal["same", "gone", "new"]


class Gate(NamedTuple):
    """The thresholds that a run's rounds had to keep, in words; and 0 … 1 where there is one to
    draw, with what is wanted of each side."""

    words: str
    weak_max: float | None = None
    strong_min: float | None = None
    strong_max: float | None = None
    weak_wanted: str = ""
    strong_wanted: str = ""


class Change(NamedTuple):
    """What a round has otherwise than the one before it: pieces of the text, each with whether it
    stayed, went or came."""

    of: str
    pieces: Sequence[tuple[Difference, str]]


class CriterionCount(NamedTuple):
    """How many answers of each side met one criterion; a side that was not marked has no count."""

    criterion: str
    weight: int
    weak: str
    strong: str


@dataclass(frozen=True)
class RoundPage:
    """A round, what it changed, and where its gap comes from."""

    round: Round
    means: Mapping[str, float | None]
    changes: Sequence[Change]
    criteria: Sequence[CriterionCount]
    findings: Sequence[RubricFinding]


@dataclass(frozen=True)
class FreshLine:
    """What fresh attempts showed of an example, and whose they were."""

    who: str
    found: Measurement


@dataclass(frozen=True)
class Story:
    """Everything on record about one document of a run."""

    document: Document
    rounds: Sequence[RoundPage]
    example: Example | None
    afresh: Sequence[FreshLine]
    unreadable: Sequence[tuple[str, str, str]]

    @property
    def outcome(self) -> str:
        """What became of it."""
        return (self.rounds[-1].round.decision if self.rounds else None) or "undecided"


@dataclass(frozen=True)
class Paging:
    """One page of a list: its number from 1, how many rows there are, and how many to a page."""

    number: int
    total: int
    size: int

    @property
    def last(self) -> int:
        """The number of the last page."""
        return max(-(-self.total // self.size), 1)

    @property
    def offset(self) -> int:
        """How many rows come before this page."""
        return (self.number - 1) * self.size

    @property
    def words(self) -> str:
        """`51–100 of 10,000`."""
        end = min(self.offset + self.size, self.total)
        return f"{self.offset + 1:,}–{end:,} of {self.total:,}" if self.total else "none"


def gate_of(task: str, config: Mapping[str, Any]) -> Gate:
    """The thresholds in force under a run's configuration. Where this autodata does not know the
    task or cannot read the configuration, nothing is drawn."""
    policy = _policy(task, config)
    if isinstance(policy, ThresholdPolicy):
        g = policy.gate
        weak = f"{'at most' if g.weak_max_inclusive else 'below'} {g.weak_max:.2f}"
        below = "" if g.strong_max is None else f" and below {g.strong_max:.2f}"
        strong = f"at least {g.strong_min:.2f}{below}"
        words = f"weak {weak}, strong {strong}, gap at least {g.gap_min:.2f}"
        return Gate(words, g.weak_max, g.strong_min, g.strong_max, weak, strong)
    if isinstance(policy, MeasuredPolicy):
        b = policy.bounds
        weak, strong = f"below {b.weak_max:.2f}", f"at least {b.strong_min:.2f}"
        words = (
            f"true scores: weak {weak}, strong {strong}, gap at least {b.gap_min:.2f}, "
            f"with a probability of {policy.certainty:.2f}"
        )
        return Gate(words, b.weak_max, b.strong_min, None, weak, strong)
    if isinstance(policy, CountPolicy):
        weak = f"at most {policy.weak_correct_max} of {policy.weak_planned}"
        strong = f"at least {policy.strong_correct_min} of {policy.strong_planned}"
        most = policy.weak_correct_max / policy.weak_planned
        least = policy.strong_correct_min / policy.strong_planned
        return Gate(f"weak {weak} correct, strong {strong}", most, least, None, weak, strong)
    return Gate("the loop judge decides" if policy else "the thresholds are not known here")


def _policy(name: str, config: Mapping[str, Any]) -> Policy | None:
    task = TASKS.get(name)
    if task is None:
        return None
    models: Mapping[str, Any] = config.get("models") or {}
    weak, strong = (
        (models.get(f"{side}_solver") or {}).get("attempts") or planned
        for side, planned in (("weak", task.weak_attempts), ("strong", task.strong_attempts))
    )
    try:
        acceptance = Acceptance.model_validate(config.get("acceptance") or {})
        return task.policy(acceptance, weak, strong)
    except (ValueError, TypeError):
        return None


def story(ledger: Ledger, run: RunRow, document_id: str) -> Story:
    """Everything on record about one document. Raises LedgerError when there is none."""
    document = ledger.document(document_id)
    rounds = ledger.rounds(run.id, document_id)
    example = ledger.example(run.id, document_id)
    return Story(
        document=document,
        rounds=list(told(rounds)),
        example=example,
        afresh=list(_afresh(ledger, run, document_id)) if example else (),
        unreadable=ledger.unreadable(document_id),
    )


def told(rounds: Sequence[Round]) -> Iterator[RoundPage]:
    """Rounds of one document as they are shown, each with what it has otherwise than the last."""
    asked: list[Candidate | None] = [None]
    for round in rounds:
        asked.append(round.candidate or asked[-1])
    for round, (before, after) in zip(rounds, pairwise(asked), strict=True):
        changed = changes(before, after) if before and round.candidate and after else ()
        counted = tuple(_criteria(round))
        rubric = round.candidate.rubric if round.candidate and len(counted) > 1 else ()
        yield RoundPage(round, summary(round), tuple(changed), counted, lint_rubric(rubric))


def changes(before: Candidate, after: Candidate) -> Iterator[Change]:
    """What differs between two candidates: the question by word, longer texts by sentence, the
    rubric by criterion."""
    for name, borders in _BORDERS.items():
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield Change(name.replace("_", " "), _pieces(borders.split(old), borders.split(new)))
    rubrics = [[f"{c.weight:+d}  {c.criterion}\n" for c in one.rubric] for one in (before, after)]
    if rubrics[0] != rubrics[1]:
        yield Change("rubric", _pieces(*rubrics))


def _pieces(old: Sequence[str], new: Sequence[str]) -> list[tuple[Difference, str]]:
    if max(len(old), len(new)) > COMPARED:
        return [("gone", "".join(old)), ("new", "".join(new))]
    found: list[tuple[Difference, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(("same", "".join(old[a:b])))
            continue
        found += [("gone", "".join(old[a:b]))] if a < b else []
        found += [("new", "".join(new[c:d]))] if c < d else []
    return found


def _criteria(round: Round) -> Iterator[CriterionCount]:
    if round.candidate is None or not round.weak:
        return
    for at, criterion in enumerate(round.candidate.rubric):
        counted = (met_by(side, at) for side in (round.weak, round.strong))
        weak, strong = (f"{n} of {of}" if of else "–" for n, of in counted)
        yield CriterionCount(criterion.criterion, criterion.weight, weak, strong)


def said_before(
    ledger: Ledger, run: RunRow, asked: str | None
) -> tuple[str, Review | EditReview] | None:
    """The name of a document, or of an iteration, and what was said of it, where its review is
    asked for as addresses name it, and somebody has answered."""
    document, number, last = ("", "", *(asked or "").split("/"))[-3:]
    if not re.fullmatch("[0-9]{1,9}", number):
        return None
    try:
        if document:
            name = ledger.document(document).name or document
            said = asked_review(ledger, run.id, (document, int(number), last)).review
            return (name, said) if said else None
        about = asked_about_edit(ledger, run.id, (int(number), last)).review
        return (f"Iteration {number}", about) if about else None
    except LedgerError:
        return None


@dataclass(frozen=True)
class Draft:
    """What stands in the form of a reply: the reviewer's own words where something was sent, else
    what waits, as it is shown. `fields` are those that can be edited here, by their names; the
    rubric has rows of a criterion and its weight."""

    by: str
    reason: str
    fields: Mapping[str, str]
    rubric: Sequence[tuple[str, str]]
    opened: bool = False


def draft_of(task: str, candidate: Candidate | None, by: str) -> Draft:
    """A form in which nothing is said yet; nothing can be edited in it that code has made, nor an
    edit of the prompts."""
    known = TASKS.get(task)
    if candidate is None or known is None or known.procedure:
        return Draft(by, "", {}, ())
    texts = {name: as_sent(getattr(candidate, name)) for name in _BORDERS}
    short = {name: text for name, text in texts.items() if len(text) <= EDITED_AT_MOST}
    rubric = () if known.make_criteria else _rubric_rows(candidate)
    return Draft(by, "", short, rubric)


def _rubric_rows(candidate: Candidate) -> list[tuple[str, str]]:
    return [(as_sent(c.criterion), str(c.weight)) for c in candidate.rubric]


def as_sent(text: str) -> str:
    """A text as a form holds it, and sends it back where nobody changed it."""
    return harmless(text.encode("utf-8", "replace").decode())


def reply_of(
    form: Mapping[str, Sequence[str]], candidate: Candidate | None, before: Draft
) -> tuple[dict[str, Any], Draft]:
    """The reply that a sent form comes to, with the fields that are not as they were `before`, and
    the form as it was filled in."""
    sent = {name: [_unix(text) for text in texts] for name, texts in form.items()}
    one = {name: (texts or [""])[0] for name, texts in sent.items()}
    fields = {name: one.get(name, text) for name, text in before.fields.items()}
    changed: dict[str, Any] = {
        name: text for name, text in fields.items() if text != before.fields[name]
    }
    rows = list(zip(sent.get("criterion", ()), sent.get("weight", ()), strict=False))
    rubric = rows if before.rubric and rows else list(before.rubric)
    if candidate and [row for row in rubric if row[0].strip()] != list(before.rubric):
        changed["rubric"] = list(_criteria_of(rubric, candidate))
    reply: dict[str, Any] = {name: one.get(name, "") for name in ("decision", "reason", "by")}
    if changed or reply["decision"] == "edit":
        reply["candidate"] = changed
    filled = [row for row in rubric if row[0].strip()]
    return reply, Draft(reply["by"], reply["reason"], fields, filled, bool(changed))


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _criteria_of(rows: Sequence[tuple[str, str]], candidate: Candidate) -> Iterator[dict[str, Any]]:
    """The rubric in these rows, what is not shown of a criterion kept; a blank one is left out."""
    for at, (criterion, weight) in enumerate(rows):
        if criterion.strip():
            kept = candidate.rubric[at].model_dump() if at < len(candidate.rubric) else {}
            yield {**kept, "criterion": criterion, "weight": weight.strip().replace("−", "-")}


def _afresh(ledger: Ledger, run: RunRow, document_id: str) -> Iterator[FreshLine]:
    for other in remeasurements(ledger, run.id):
        for one in measured(ledger, other.id, document_id):
            if one.fresh.holds is not None:
                models = ", ".join(dict.fromkeys(other.models.values()))
                attempts = max(one.fresh.weak_attempts, one.fresh.strong_attempts)
                yield FreshLine(f"{attempts} attempts a side by {models}", one.fresh)


def marked_again_by(ledger: Ledger, run_id: str, audit_id: str) -> dict[str, AuditedExample]:
    """What one audit of a run says of each example, by its id."""
    found = ledger.audited(run_id).items()
    return {one.example_id: one for who, each in found if who[0] == audit_id for one in each}


def config_of(ledger: Ledger, run: RunRow) -> Mapping[str, Any]:
    """The configuration of a run; an evaluation has that of its optimization."""
    if run.kind != "evaluation":
        return run.config
    owners = (other for other in ledger.runs() if other.kind == "optimization")
    return next((owner.config for owner in owners), {})


def prompt_diff(run: RunRow, old: str, new: str) -> tuple[str, str]:
    """What an edit changed in the prompts, or why nobody can say."""
    try:
        return Store.open(Path(run.config["prompts"]["path"])).diff(old, new), ""
    except (KeyError, TypeError):
        return "", "this optimization does not say where its prompt store is"
    except (StoreError, OSError) as error:
        return "", str(error)


def bounded(asked: str | None, otherwise: int, most: int) -> int:
    """A whole number from 1 that somebody wrote into an address."""
    if not asked or not re.fullmatch(r"[0-9]{1,9}", asked):
        return otherwise
    return min(max(int(asked), 1), most)


def diff_lines(diff: str) -> list[tuple[str, str]]:
    """The lines of a unified diff, each with what it is: file, place, new, gone or same."""
    return [(_kind(line), line) for line in diff.splitlines()]


def _kind(line: str) -> str:
    heads: tuple[tuple[str, str], ...] = (
        ("diff ", "file"), ("index ", "file"), ("--- ", "file"), ("+++ ", "file"),
        ("@@", "place"), ("+", "new"), ("-", "gone"),
    )  # fmt: skip
    return next((kind for head, kind in heads if line.startswith(head)), "same")


Html = str  # escaped already
Linked = Callable[[int], str]  # the address of an iteration's page, empty where it has none


@dataclass(frozen=True)
class Door:
    """What the board is told by the door, which knows processes and optimizations.

    - `stands`: how a run of a folder stands, in words.
    - `optimization`: what an optimization found, as parts of a page.
    - `iteration`: one of its iterations, as rows of a name and what is said of it.
    - `reviewer`: who a reviewer is taken to be; empty where that is not known.
    - `goes_on`: when an answer takes effect in a run, in words, and by which command, if by one.
    - `answer`: files a reply to what waits in a folder; returns the review on record, and whether
      it is that one. Raises ReviewError where the reply cannot be taken.
    """

    stands: Callable[[Path, RunRow], str]
    optimization: Callable[[Ledger, RunRow, Linked], Sequence[Html]]
    iteration: Callable[[RunRow, Iteration], Sequence[tuple[str, str]]]
    reviewer: Callable[[], str]
    goes_on: Callable[[Path, RunRow], tuple[str, str]]
    answer: Callable[
        [Path, WaitingRound | WaitingEdit, Mapping[str, Any]], tuple[Review | EditReview, bool]
    ]


@dataclass(frozen=True)
class Links:
    """The addresses of a run's pages. On a page that is read offline there are only its anchors."""

    base: str
    offline: bool = False

    def page(self, name: str = "", **query: str | int) -> str:
        """A page of the run; what is asked for there may be empty."""
        said = urlencode({key: value for key, value in query.items() if value})
        return f"{self.base}{f'/{name}' if name else ''}{f'?{said}' if said else ''}"

    def document(self, id: str) -> str:
        """The story of a document."""
        return f"#{id}" if self.offline else f"{self.base}/documents/{id}"

    def review(self, key: ReviewKey) -> str:
        """What a person is asked."""
        return f"{self.base}/review/{'/'.join(map(str, key))}"

    def iteration(self, number: int) -> str:
        """What an iteration of an optimization did."""
        return "" if self.offline else f"{self.base}/iterations/{number}"


class ShownFolder:
    """A run folder that is read and never written; usable from several threads."""

    def __init__(self, key: str, path: Path) -> None:
        """`key` is its name in addresses."""
        self.key, self.path = key, path
        self._ledgers: dict[str, Ledger] = {}
        self._opening, self._making = threading.Lock(), threading.Lock()
        self._known: dict[object, tuple[int, float, Any]] = {}

    @property
    def name(self) -> str:
        """Where it is, from where the board was begun."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def ledger(self) -> Ledger:
        """What happened here. Raises LedgerError when it cannot be read."""
        return self._opened("pages")

    def _opened(self, purpose: str) -> Ledger:
        with self._opening:
            if purpose not in self._ledgers:
                self._ledgers[purpose] = Ledger.open(self.path, create=False).only_read()
            return self._ledgers[purpose]

    def version(self) -> int:
        """A number that changes when somebody writes to the folder's database."""
        [row] = self.ledger.query("pragma data_version")
        return int(row["data_version"])

    def known(self, key: object) -> bool:
        """Whether `kept` would answer at once."""
        found = self._known.get(key)
        return found is not None and (found[1] > time.monotonic() or found[0] == self.version())

    def kept(self, key: object, make: Callable[[Ledger], T]) -> T:
        """What `make` returns, made again when the database has changed, but not all the time. It
        reads through a connection of its own, so that no page waits for it."""
        with self._making:
            if not self.known(key):
                version, start = self.version(), time.monotonic()
                value = make(self._opened("figures"))
                end = time.monotonic()
                self._known[key] = version, end + PATIENCE * (end - start), value
            found: T = self._known[key][2]
            return found

    def close(self) -> None:
        """Let go of the database."""
        with self._opening:
            while self._ledgers:
                self._ledgers.popitem()[1].close()


class Folders:
    """The folders that were named. One that holds no run stands for the run folders in it."""

    def __init__(self, named: Iterable[Path]) -> None:
        self._named = [path.absolute() for path in named]
        self._shown: dict[Path, ShownFolder] = {}
        self._looking = threading.Lock()

    def all(self) -> list[ShownFolder]:
        """The run folders that are there now, in the order in which they were named."""
        with self._looking:
            there = list(dict.fromkeys(_found(self._named)))
            for path in there:
                if path not in self._shown:
                    self._shown[path] = ShownFolder(self._key(path), path)
            for path in self._shown.keys() - there:
                self._shown.pop(path).close()
            return [self._shown[path] for path in there]

    def one(self, key: str) -> ShownFolder:
        """The folder of this name. Raises LedgerError when there is none."""
        for folder in self.all():
            if folder.key == key:
                return folder
        raise LedgerError(f"no folder {key} is shown here")

    def close(self) -> None:
        """Let go of every database."""
        for folder in self._shown.values():
            folder.close()

    def _key(self, path: Path) -> str:
        """Its own name, and a number where another one has it."""
        taken = {folder.key for folder in self._shown.values()}
        names = [path.name or "run", *(f"{path.name}-{n}" for n in range(2, len(taken) + 3))]
        return next(name for name in names if name not in taken)


def _found(named: Iterable[Path]) -> Iterator[Path]:
    for path in named:
        if (path / FILE).is_file():
            yield path
        elif path.is_dir():
            yield from sorted(inner.parent for inner in path.glob(f"*/{FILE}"))
