"""What an optimization shows: a line per iteration while it works, and what it found."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import sqrt

from rich.console import Console
from rich.text import Text

from autodata.ledger.iterations import Final, Iteration, finals, iterations
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.optimizer.context import OptimizationContext
from autodata.optimizer.evidence import percent
from autodata.progress import tell_now_and_then
from autodata.prompt_store.store import champion_ref
from autodata.screen import SIMULATED, cost

EVERY = 10.0  # seconds between two lines about calls
STYLES = {
    "start": "bold",
    "kept": "green",
    "rejected": "dim",
    "invalid": "red",
    "indecisive": "yellow",
}
Z = 1.96  # of a 95 % interval


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
    line = Text(f"{i.number:>4}  ", style="bold").append(f"{i.decision:<10} ", STYLES[i.decision])
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
        console.print(SIMULATED, style="yellow", soft_wrap=True)
    if any(f.place == 1 and f.number for f in final):
        store = run.config["prompts"]["path"]
        branch = champion_ref(run.id).removeprefix("refs/heads/")
        console.print(
            f"Review it with: autodata prompts log --store {store}\n"
            f"                autodata prompts diff main {branch} --store {store}\n"
            f"Adopt it with:  autodata prompts adopt {branch} --store {store}",
            soft_wrap=True,
        )


def findings(made: list[Iteration], final: list[Final]) -> list[str]:
    """What an optimization came to, in sentences."""
    tried = [i for i in made if i.decision != "start"]
    counted = ", ".join(
        f"{n} {decision}"
        for decision in ("kept", "rejected", "invalid", "indecisive")
        if (n := sum(i.decision == decision for i in tried))
    )
    number = f"{len(tried)} iteration{'' if len(tried) == 1 else 's'}"
    lines = [f"{number}: {counted or 'none yet'}"]
    winner = next((f for f in final if f.place == 1), None)
    if winner is None:
        return lines
    start = next((f for f in final if f.number == 0), winner)
    lines.append(
        f"validation: start {counts(start.accepted, start.decided)}, "
        f"winner (iteration {winner.number}) {counts(winner.accepted, winner.decided)}, "
        f"{winner.evaluations} evaluations each"
    )
    if winner.test_decided and start.test_decided:
        lines.append(
            f"sealed test: start {counts(start.test_accepted or 0, start.test_decided)}, "
            f"winner {counts(winner.test_accepted or 0, winner.test_decided)}, once"
        )
        lines.append(verdict(start, winner))
    else:
        lines.append("No test documents were given, so nothing says whether the gain is real.")
    return lines


def counts(accepted: int, decided: int) -> str:
    """A pass rate with the counts behind it."""
    return f"{percent(accepted / decided if decided else 0.0)} ({accepted} of {decided})"


def verdict(start: Final, winner: Final) -> str:
    """Whether the gain on validation documents is there on documents that nobody saw."""
    if winner.number == 0:
        return "No edit beat the prompts that the run started from."
    gain, low, high = test_gain(start, winner)
    shown = rate(winner.accepted, winner.decided) - rate(start.accepted, start.decided)
    words = f"{gain:+.1%} on the sealed test (95 % interval {low:+.1%} to {high:+.1%})"
    if low <= 0:
        return (
            f"The validation gain of {shown:+.1%} is not shown to be real: {words} is within noise."
        )
    return f"The gain is real: {words}; the validation documents showed {shown:+.1%}."


def test_gain(start: Final, winner: Final) -> tuple[float, float, float]:
    """Gain on the test documents with its 95 % interval (normal, of two shares), −1 … 1."""
    pairs = [(f.test_accepted or 0, f.test_decided or 1) for f in (winner, start)]
    shares = [a / n for a, n in pairs]
    spread = sqrt(sum(p * (1 - p) / n for p, (_, n) in zip(shares, pairs, strict=True)))
    gain = shares[0] - shares[1]
    return gain, gain - Z * spread, gain + Z * spread


def rate(accepted: int, decided: int) -> float:
    """A share, 0 … 1."""
    return accepted / decided if decided else 0.0
