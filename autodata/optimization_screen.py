"""What an optimization shows: a line per iteration while it works, and what it found."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.text import Text

from autodata.ledger.iterations import Iteration, finals, iterations
from autodata.ledger.ledger import Ledger
from autodata.ledger.reviews import waiting_edits
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import NOTICE, waiting_line
from autodata.optimizer.acceptance import verdict
from autodata.optimizer.context import OptimizationContext
from autodata.optimizer.finals import findings, parent_score_of, score_of
from autodata.progress import spent, tell_now_and_then
from autodata.prompt_store.store import champion_ref

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
    if i.review:
        why = f" ({': '.join(filter(None, (i.review.said, i.review.reason)))})"
    return line.append(f"{said}{why}")


def print_result(console: Console, ledger: Ledger, run: RunRow, status: str) -> None:
    """What the optimization found so far, and what to do with it."""
    made, final = iterations(ledger, run.id), finals(ledger, run.id)
    console.print()
    console.print(Text(f"{run.task} optimization {run.id}: {status}", style="bold"))
    for line in findings(made, final):
        console.print(line, soft_wrap=True)
    if waiting := len(waiting_edits(ledger, run.id)):
        asks = f"{waiting_line(waiting)}; `autodata review` asks you about each"
        console.print(asks, soft_wrap=True)
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
