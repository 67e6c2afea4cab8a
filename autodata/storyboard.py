"""The story of one document, to be read from top to bottom: rounds, scores, objections, changes."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from autodata.graph.state import shortened
from autodata.ledger.rows import Example, RunRow
from autodata.ledger.summary import NOTICE, estimate, number, one_line, rounds
from autodata.screen import DECISION_STYLES
from autodata.tasks import TASKS
from autodata.tasks.acceptance import summary
from autodata.tasks.rubric import lint_rubric, met_by
from autodata.tasks.types import Candidate, Document, Judgement, Round, Side, Verdict

LABEL = 13  # characters of the label column
WIDTH = 110  # characters, the widest a line of prose gets
BAR = 20  # characters of a score of 1
SHORT = 240  # characters of a text that is not told in full
SIDES: dict[Side, str] = {"weak": "cyan", "strong": "green"}

StoryRow = tuple[str, Text | str]


def tell(
    console: Console,
    run: RunRow,
    document: Document,
    story: Sequence[Round],
    example: Example | None = None,
    *,
    full: bool,
) -> None:
    """The document's rounds, and what is known of the example that it gave.

    With `full` no text is shortened and the answers are shown.
    """
    last = story[-1]
    outcome = last.decision or "undecided"
    title = Text(document.name, style="bold").append(f"  {outcome}", style=DECISION_STYLES[outcome])
    if outcome != "skipped":
        title.append(f" after {rounds(last.number)}")
    console.print(title, soft_wrap=True)
    console.print(f"document {document.id}, {run.task} run {run.id}", style="dim", soft_wrap=True)
    if run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)
    for round in story:
        _tell_round(console, run.task, round, full=full, last=round is last)
    if example:
        _tell_rows(console, _measured(example))


def tell_unreadable(
    console: Console, replies: Sequence[tuple[str, str, str]], *, full: bool
) -> None:
    """The replies that could not be read, each with its role, what was wrong and its words."""
    if not replies:
        return
    console.print()
    console.print(Text("Replies that could not be read", style="bold"))
    for role, problem, said in replies:
        head = Text(f"{role.replace('_', ' ')}: ", style="dim").append(one_line(problem), "red")
        console.print(head, soft_wrap=True)
        console.print(Text(said if full else _shortened(said, full)), soft_wrap=True)


def _tell_round(console: Console, task: str, round: Round, *, full: bool, last: bool) -> None:
    decision = round.decision or "undecided"
    name = f"Round {round.number}" if round.number else "Before the first round"
    heading = Text(f"{name}: ", style="bold").append(decision, style=DECISION_STYLES[decision])
    console.print()
    console.print(Rule(heading, align="left", style="dim"), width=min(console.width, WIDTH))
    _tell_rows(console, _lines(task, round, full=full, last=last))


def _tell_rows(console: Console, rows: Iterable[StoryRow]) -> None:
    width = min(console.width, WIDTH)
    for label, said in rows:
        text = said if isinstance(said, Text) else Text(said)
        indent = max(LABEL, len(label))
        for at, line in enumerate(text.wrap(console, width - indent)):
            line.rstrip()
            console.print(Text.assemble((f"{'' if at else label:<{indent}}", "dim"), line))


def _measured(example: Example) -> Iterator[StoryRow]:
    """What is known of an example's true scores."""
    e = example
    if e.certainty is not None:
        weak = estimate(e.weak_estimate, e.weak_low, e.weak_high)
        strong = estimate(e.strong_estimate, e.strong_low, e.strong_high)
        gap = estimate(e.gap_estimate, e.gap_low, e.gap_high)
        yield "true scores", f"weak {weak}, strong {strong}"
        yield "true gap", f"{gap}; the thresholds truly hold with P = {e.certainty:.2f}"


def _lines(task: str, round: Round, *, full: bool, last: bool) -> Iterator[StoryRow]:
    if round.instruction:
        yield "asked for", _shortened(round.instruction, full)
    if round.candidate:
        yield from _candidate(round.candidate, full=full or last, answered=full or last)
    if round.verdict:
        who = "checked" if TASKS[task].procedure else "verifier"
        yield who, _verdict(round.verdict, round)
    yield from _scores(round)
    if full:
        yield from _answers(round)
    if round.candidate and TASKS[task].has_rubric:
        if last and round.weak:
            yield from _criteria(round.candidate, round)
        findings = lint_rubric(round.candidate.rubric)
        yield from (("" if at else "lint", found.said) for at, found in enumerate(findings))
    if round.judgement:
        yield from _judgement(round.judgement)
    if round.final_verdict:
        yield "final check", _verdict(round.final_verdict, round)
    if round.review:
        why = f": {one_line(round.review.reason)}" if round.review.reason else ""
        yield "review", f"{round.review.said}, {round.review.at}{why}"
    for objection in round.objections:
        said = one_line(objection.message)
        who = "thresholds" if round.decision == "accepted" else "objection"  # of a baseline
        yield who, Text.assemble((f"{objection.code}  ", "bold"), said)


def _candidate(candidate: Candidate, *, full: bool, answered: bool) -> Iterator[StoryRow]:
    kind = f" ({candidate.question_type})" if candidate.question_type else ""
    if candidate.context:
        yield "context", _shortened(candidate.context, full)
    yield "question", Text.assemble((one_line(candidate.question), "bold"), (kind, "dim"))
    if answered:
        yield "reference", one_line(candidate.reference_answer)
    if candidate.angle:
        yield "angle", one_line(candidate.angle)


def _verdict(verdict: Verdict, round: Round) -> Text:
    """How it ended, and why where no objection says so below."""
    if verdict.passed:
        return Text("passed", style="green")
    problems = "; ".join(map(one_line, verdict.problems)) or "no reason given"
    if any(problems in one_line(objection.message) for objection in round.objections):
        return Text("failed", style="red")
    return Text("failed", style="red").append(f": {problems}", style="default")


def _scores(round: Round) -> Iterator[StoryRow]:
    """A bar for the mean of each side, and each attempt's score."""
    numbers = summary(round)
    for side, attempts in round.sides:
        mean = numbers[f"{side}_mean"]
        filled = int(BAR * (mean or 0.0) + 0.5)
        bar = Text("█" * filled, style=SIDES[side]).append("░" * (BAR - filled), style="dim")
        each = "  ".join(attempt.said for attempt in attempts)
        yield side, bar.append(f" {number(mean)} ", style="bold").append(f"  {each}", style="dim")
    if numbers["gap"] is not None:
        yield "gap", f"{numbers['gap']:+.2f}"


def _answers(round: Round) -> Iterator[StoryRow]:
    for side, attempts in round.sides:
        for attempt in attempts:
            yield f"{side} {attempt.number}", one_line(attempt.answer) or "(empty)"
            for mark in attempt.marks:
                met = Text(f"{mark.said:<9}", style="dim")
                evidence = f" — {one_line(mark.evidence)}" if mark.evidence else ""
                yield "", met.append(f"{mark.weight:+d}  {one_line(mark.criterion)}{evidence}")
            if attempt.note:
                yield "", one_line(attempt.note)


def _criteria(candidate: Candidate, round: Round) -> Iterator[StoryRow]:
    """How many answers of each side met each criterion: where the gap comes from."""
    yield "rubric", Text("weight   weak  strong", style="dim")
    for at, criterion in enumerate(candidate.rubric):
        counted = (met_by(attempts, at) for _, attempts in round.sides)
        met = "".join(f"{f'{n}/{of}' if of else '–':>8}" for n, of in counted)
        yield f"{'':{LABEL}}{criterion.weight:+6d}{met}   ", one_line(criterion.criterion)


def _judgement(judgement: Judgement) -> Iterator[StoryRow]:
    yield "loop judge", f"{judgement.verdict}, suitability {judgement.grpo_suitability}"
    yield "", one_line(judgement.verdict_reason)
    yield "", f"weak: {one_line(judgement.weak_pattern)}"
    yield "", f"strong: {one_line(judgement.strong_pattern)}"


def _shortened(text: str, full: bool) -> str:
    return one_line(text) if full else shortened(text, SHORT)
