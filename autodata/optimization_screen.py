"""What an optimization shows: a line per iteration while it works, and what it found."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.text import Text

from autodata.ledger.iterations import Final, Iteration, finals, iterations
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.optimizer.acceptance import FinalVerdict, verdict
from autodata.optimizer.context import OptimizationContext
from autodata.optimizer.evidence import percent
from autodata.progress import tell_now_and_then
from autodata.prompt_store.store import champion_ref
from autodata.screen import NOTICE, cost
from autodata.tasks.measurement import MIN_PAIRS

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
    started = time.monotonic()

    models = context.evaluator.models

    def line() -> Text:
        spent = models.budget_tracker.spent
        rate = spent.calls / max(time.monotonic() - started, 1e-3)
        return Text(
            f"… {spent.calls:,} calls ({rate:.0f}/s), {spent.tokens:,} tokens, "
            f"{cost(spent.usd, context.evaluator.run.models.values())}",
            style="dim",
        )

    ticker = asyncio.create_task(tell_now_and_then(console, models, EVERY, line))
    try:
        yield
    finally:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker


def iteration_line(i: Iteration) -> Text:
    """One iteration: decision, score against the parent's, what the edit says or why not."""
    line = Text(f"{i.number:>4}  ", style="bold").append(
        f"{i.decision:<10} ", ITERATION_STYLES[i.decision]
    )
    against = f"{percent(i.score)} against {percent(i.parent_score)}" if i.parent_score else ""
    line.append(f"{against or percent(i.score):<22} ")
    said = i.subject or i.reason
    why = f" ({i.reason})" if i.decision in ("invalid", "indecisive") else ""
    return line.append(f"{said}{why}")


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
    named = f", winner (iteration {winner.number}) {_scored(winner)}"
    lines.append(
        f"validation: start {_scored(start)}"
        f"{named if winner.number else ''}, {winner.evaluations} evaluations each"
    )
    if winner.number and winner.test_decided and start.test_decided:
        lines.append(
            f"sealed test: start {counts(start.test_accepted or 0, start.test_decided)}, "
            f"winner {counts(winner.test_accepted or 0, winner.test_decided)}, once"
            f"{'' if winner.confirmed is None else ', by confirmed documents'}"
        )
        if winner.test_seen:
            lines.append(
                f"These test documents were used before, by {winner.test_seen}: whoever saw that "
                "may have chosen by it, and what they say now flatters."
            )
    return [*lines, sentence(verdict(final))]


def _scored(final: Final) -> str:
    return counts(final.accepted, final.decided, final.confirmed)


def counts(accepted: int, decided: int, confirmed: float | None = None) -> str:
    """A score with the counts behind it, and what they count for where that is less."""
    counting = accepted if confirmed is None else confirmed
    certain = "" if confirmed is None else f" accepted, counting for {confirmed:.1f}"
    return f"{percent(counting / decided if decided else 0.0)} ({accepted} of {decided}{certain})"


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
            f"it takes {MIN_PAIRS}, and about 100 to see a gain of 20 points."
        )
    words = f"{said.gain:+.1%} on the sealed test ({evidence(said)})"
    if said.finding == "better":
        return f"The gain is real: {words}; the validation documents showed {shown}."
    if said.finding == "worse":
        return (
            f"The winner is worse than the start: {words}, where the validation documents showed "
            f"{shown}. It is not offered."
        )
    return f"The validation gain of {shown} is not shown to be real: {words} is within noise."


def evidence(said: FinalVerdict) -> str:
    """The figures behind a verdict: interval, and the exact test where documents were paired."""
    low, high = said.interval
    figures = f"{said.documents} documents, 95 % interval {low:+.1%} to {high:+.1%}"
    if said.chance is None:
        return figures
    chance = "p < 0.001" if said.chance < 0.001 else f"p = {said.chance:.3f}"
    return f"{figures}, exact paired test {chance}"
