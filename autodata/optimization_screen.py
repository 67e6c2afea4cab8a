"""What an optimization shows: a line per iteration while it works, and what it found."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.text import Text

from autodata.ledger.iterations import Final, Iteration, finals, iterations
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import NOTICE, would_show
from autodata.optimizer.acceptance import FinalVerdict, PassCount, verdict
from autodata.optimizer.context import OptimizationContext
from autodata.optimizer.finals import tested, validated
from autodata.progress import spent, tell_now_and_then
from autodata.prompt_store.store import champion_ref
from autodata.tasks.measurement import MIN_PAIRS, in_percent

EVERY = 10.0  # seconds between two lines about calls
ITERATION_STYLES = {
    "start": "bold",
    "kept": "green",
    "rejected": "dim",
    "invalid": "red",
    "indecisive": "yellow",
}


@asynccontextmanager
async def watched(console: Console, context: OptimizationContext) -> AsyncIterator[None]:
    """Tells now and then how many calls were made, until the block ends."""
    models = context.evaluator.models

    def line() -> Text:
        used = models.budget_tracker.spent
        worded = spent(used.calls, used.usd, context.evaluator.run.models.values())
        return Text(f"… {worded}, {used.tokens:,} tokens", style="dim")

    ticker = asyncio.create_task(tell_now_and_then(console, models, EVERY, line))
    try:
        yield
    finally:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker


def iteration_line(i: Iteration, documents: int) -> Text:
    """One iteration over so many documents: decision, score against the parent's, what the edit
    says or why not."""
    line = Text(f"{i.number:>4}  ", style="bold").append(
        f"{i.decision:<10} ", ITERATION_STYLES[i.decision]
    )
    own = score_of(i, documents)
    against = f"{own} against {parent_score_of(i, documents)}" if i.parent_score else ""
    line.append(f"{against or own:<34} ")
    said = i.subject or i.reason
    why = f" ({i.reason})" if i.decision in ("invalid", "indecisive") else ""
    return line.append(f"{said}{why}")


def score_of(i: Iteration, documents: int) -> str:
    """`52 % (33–70)`: the score of an iteration with its interval for so many documents."""
    return _rate(i.score, i.pass_count, documents)


def parent_score_of(i: Iteration, documents: int) -> str:
    """The same of its parent, which was evaluated several times on the same documents."""
    return _rate(i.parent_score, i.parent_pass_count, documents)


def _rate(score: float | None, count: Mapping[str, int | float], documents: int) -> str:
    if score is None:
        return ""
    interval = PassCount.model_validate(count).interval(documents)
    return f"{100 * score:.0f} %{f' ({in_percent(interval)})' if interval else ''}"


def print_result(console: Console, ledger: Ledger, run: RunRow, status: str) -> None:
    """What the optimization found so far, and what to do with it."""
    made, final = iterations(ledger, run.id), finals(ledger, run.id)
    console.print()
    console.print(Text(f"{run.task} optimization {run.id}: {status}", style="bold"))
    for line in findings(made, final):
        console.print(line, soft_wrap=True)
    if run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)
    if verdict(final).offers:
        store = run.config["prompts"]["path"]
        branch = champion_ref(run.id).removeprefix("refs/heads/")
        console.print(
            f"Review it with: autodata prompts log --store {store}\n"
            f"                autodata prompts diff main {branch} --store {store}\n"
            f"Adopt it with:  autodata prompts adopt {branch} --store {store}",
            soft_wrap=True,
        )


def findings(made: Sequence[Iteration], final: Sequence[Final]) -> list[str]:
    """What an optimization came to, in sentences; the last one is the verdict, if there is one."""
    tried = [i for i in made if i.decision != "start"]
    counted = ", ".join(
        f"{n} {decision}"
        for decision in ("kept", "rejected", "invalid", "indecisive")
        if (n := sum(i.decision == decision for i in tried))
    )
    number = f"{len(tried)} iteration{'' if len(tried) == 1 else 's'}"
    lines = [f"{number}: {counted or 'none yet'}"]
    start = next((f for f in final if f.number == 0), None)
    winner = next((f for f in final if f.place == 1), None)
    if start is None or winner is None:
        return lines
    lines.append(f"validation, {winner.evaluations} times: start {validated(start)}")
    if winner.number:
        lines.append(
            f"validation, {winner.evaluations} times: winner {validated(winner)}, "
            f"iteration {winner.number}"
        )
    if winner.number and winner.test_decided and start.test_decided:
        confirmed = "" if winner.confirmed is None else ", confirmed documents"
        lines += [
            f"sealed test, once{confirmed}: {name} {tested(final)}"
            for name, final in (("start", start), ("winner", winner))
        ]
        if winner.test_seen:
            lines.append(
                f"These test documents were used before, by {winner.test_seen}: whoever saw that "
                "may have chosen by it, and what they say now flatters."
            )
    return [*lines, sentence(verdict(final))]


def sentence(said: FinalVerdict) -> str:
    """A verdict in words, the same wherever it is shown."""
    shown = f"{said.validation_gain:+.1%}"
    if said.finding == "no winner":
        return "No edit beat the prompts that the run started from, so there is nothing to adopt."
    if said.finding == "untested":
        return (
            f"No test documents were given, so nothing says whether the validation gain of {shown} "
            "is real."
        )
    if said.finding == "too few":
        one = said.documents == 1
        tried = f"{said.documents} test document{' is' if one else 's are'}"
        return (
            f"No verdict: {tried} too few to say whether the validation gain of {shown} is real; "
            f"it takes {MIN_PAIRS}, and about 100 to see a gain of 20 points; "
            f"{would_show(said.before, said.documents)}."
        )
    words = f"{said.gain:+.1%} on the sealed test ({evidence(said)})"
    if said.finding == "better":
        return f"The gain is real: {words}; the validation documents showed {shown}."
    if said.finding == "worse":
        return (
            f"The winner is worse than the start: {words}, where the validation documents showed "
            f"{shown}. It is not offered."
        )
    return (
        f"The validation gain of {shown} is not shown to be real: {words} is within noise, and "
        f"{would_show(said.before, said.documents)}."
    )


def evidence(said: FinalVerdict) -> str:
    """The figures behind a verdict: interval, and the exact test where documents were paired."""
    low, high = said.interval
    figures = f"{said.documents} documents, 95 % interval {low:+.1%} to {high:+.1%}"
    if said.chance is None:
        return figures
    chance = "p < 0.001" if said.chance < 0.001 else f"p = {said.chance:.3f}"
    return f"{figures}, exact paired test {chance}"
