"""What a session shows while it works: a live table in a terminal, plain lines elsewhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autodata.graph.context import RunContext
from autodata.graph.run import Batch, Outlook
from autodata.ledger.rows import Outcome
from autodata.ledger.summary import (
    cost,
    number,
    one_line,
    outcomes,
    rounds,
    waiting_line,
)
from autodata.models.client import Models
from autodata.models.limits import EndpointState
from autodata.models.registry import Usage
from autodata.screen import DECISION_STYLES
from autodata.tasks.types import Decision

PLAIN_EVERY = 5.0  # seconds between two lines where nothing can be redrawn
LOOK_EVERY = 0.5  # seconds between two looks whether an endpoint has begun to fail
REDRAWN = 4  # times per second in a terminal


@dataclass
class Progress:
    """Watches one batch. Rates and the time left are those of this session."""

    console: Console
    context: RunContext
    batch: Batch
    models: Mapping[str, str]  # role → endpoint/model
    decided_before: int = field(init=False)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.decided_before = len(self.batch.decided)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Shows the progress until the block ends."""
        if self.console.is_terminal or _in_notebook(self.console):
            with Live(
                get_renderable=self._table,
                console=self.console,
                refresh_per_second=REDRAWN,
                transient=True,
            ):
                yield
            return
        ticker = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticker.cancel()
            with suppress(asyncio.CancelledError):
                await ticker

    def outlook(self, outlook: Outlook | None) -> None:
        """One line beforehand about what the budget buys, unless it is enough."""
        if outlook and not outlook.enough:
            self.console.print(outlook_line(outlook), style="yellow", soft_wrap=True)

    def document(self, document_id: str, decision: Decision | None) -> None:
        """One line for a finished document: decision, rounds, name, and why; or that it waits."""
        [found] = outcomes(self.context.ledger, self.context.run_id, document_id)
        if decision is None:
            line = Text("waits     ", style=DECISION_STYLES["revise"]).append("for review  ", "dim")
            self.console.print(line.append(found.name, style="bold"), soft_wrap=True)
            return
        self.console.print(outcome_line(found), soft_wrap=True)

    async def _tick(self) -> None:
        await tell_now_and_then(
            self.console, self.context.models, PLAIN_EVERY, lambda: Text(self._line())
        )

    def _line(self) -> str:
        """How far the documents are, what they took, and how long the others will take."""
        total, decided = self._total(), list(self.batch.decided.values())
        usd = None if total.unpriced else total.usd
        left = self._time_left()
        return (
            f"… {len(decided)} of {len(self.batch.document_ids)} documents, "
            f"{decided.count('accepted')} accepted, {self._waiting()}"
            f"{spent(total.calls, usd, self.models.values(), total.estimated)}"
            f"{f', {left} left' if left else ''}"
        )

    def _table(self) -> RenderableType:
        """The live view: documents, then one row per role."""
        head = Table.grid(padding=(0, 2))
        done = len(self.batch.decided)
        head.add_row(
            ProgressBar(total=max(len(self.batch.document_ids), 1), completed=done, width=30),
            f"time left {self._time_left() or 'not known yet'}",
        )
        roles = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        roles.add_column("role", no_wrap=True)
        for name in ("calls", "calls/s", "in flight", "from log", "tokens in", "tokens out"):
            roles.add_column(name, justify="right")
        for role, usage in self.context.models.usage().items():
            roles.add_row(role, *self._cells(usage))
        roles.add_row("all", *self._cells(self._total()), style="bold")
        said = f"{self._counts()}, {self._cost()}"
        return Group(
            "", head, said, roles, *map(endpoint_line, self.context.models.endpoints_state())
        )

    def _cells(self, usage: Usage) -> Iterable[str]:
        return (
            f"{usage.calls:,}",
            f"{usage.calls / self._elapsed():.1f}",
            str(usage.in_flight),
            f"{usage.replayed:,}",
            f"{usage.input_tokens:,}",
            f"{usage.output_tokens:,}",
        )

    def _counts(self) -> str:
        decided = list(self.batch.decided.values())
        counts = ", ".join(
            f"{decided.count(decision)} {decision}"
            for decision in ("accepted", "rejected", "skipped")
        )
        counts = f"{counts}, {self._waiting()}".removesuffix(", ")
        return f"{len(decided)} of {len(self.batch.document_ids)} documents: {counts}"

    def _waiting(self) -> str:
        """`4 wait for review, `; nothing where none does."""
        return f"{waiting_line(len(self.batch.waiting))}, " if self.batch.waiting else ""

    def _total(self) -> Usage:
        total = Usage()
        for usage in self.context.models.usage().values():
            for name in Usage.__dataclass_fields__:
                setattr(total, name, getattr(total, name) + getattr(usage, name))
        return total

    def _cost(self) -> str:
        total = self._total()
        usd = None if total.unpriced else total.usd
        return cost(usd, self.models.values(), total.estimated)

    def _elapsed(self) -> float:
        return max(time.monotonic() - self.started, 1e-3)

    def _time_left(self) -> str:
        """`0:35:06`; nothing until it is known."""
        done = len(self.batch.decided) - self.decided_before
        if not done:
            return ""
        settled = len(self.batch.decided) + len(self.batch.waiting)
        left = len(self.batch.document_ids) - settled
        return str(timedelta(seconds=round(self._elapsed() / done * left)))


def _in_notebook(console: Console) -> bool:
    """Whether a notebook shows what is redrawn, which takes its widgets."""
    return console.is_jupyter and find_spec("ipywidgets") is not None


def spent(calls: int, usd: float | None, models: Iterable[str], estimated: int = 0) -> str:
    """What calls of these models cost or, where there is no price, how many there were: on a line
    that comes often. Which price is missing is said once, at the end."""
    worded = cost(usd, models, estimated)
    if usd:
        return worded
    return f"{calls:,} {'simulated ' if 'simulated' in worded else ''}calls"


async def tell_now_and_then(
    console: Console, models: Models, every: float, line: Callable[[], Text]
) -> None:
    """Prints one line with the requests under way every so many seconds if something has changed,
    and at once each endpoint that begins to fail; until it is cancelled."""
    told, failing, last = time.monotonic(), set[str](), ""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        states = models.endpoints_state()
        fail = {state.name for state in states if state.failures}
        if fail <= failing and time.monotonic() - told < every:
            continue
        new, told, failing = fail - failing, time.monotonic(), fail
        under_way = under_way_line(models.usage())
        changed = f"{under_way} {[usage.calls for usage in models.usage().values()]}"
        if changed != last:
            console.print(line().append(under_way), soft_wrap=True)
        last = changed
        for state in states:
            if state.name in new or (state.failures and state.pauses_in is not None):
                console.print(endpoint_line(state), soft_wrap=True)


def under_way_line(usage: Mapping[str, Usage]) -> str:
    """What is asked now, by role, to be read at the end of a line; empty where nothing is."""
    asked = [
        f"{role.replace('_', ' ')} {used.in_flight}"
        for role, used in usage.items()
        if used.in_flight
    ]
    return f"; asking {', '.join(asked)}" if asked else ""


def outlook_line(outlook: Outlook) -> str:
    """What a budget buys, and what all would take."""
    low, high = outlook.low, outlook.high
    number = f"{low}" if low == high else f"{low} to {high}"
    source = "as those so far did" if outlook.known else "by the task's numbers"
    return (
        f"The budget buys about {number} of {outlook.documents} documents: one takes some "
        f"{outlook.calls:.0f} calls, {source}, and all of them some "
        f"{outlook.calls * outlook.documents:,.0f}."
    )


def endpoint_line(state: EndpointState) -> Text:
    """One line about an endpoint: what is asked of it now, and what is wrong with it."""
    requests = f"{state.in_flight} request{'' if state.in_flight == 1 else 's'} under way"
    line = Text(f"  {state.name}: {requests}, {state.waiting} waiting", style="dim")
    if not state.failures:
        return line
    failures = f"{state.failures} failure{'' if state.failures == 1 else 's'}"
    line.append(f"; {failures} since the last answer: {one_line(state.last_error)}", style="yellow")
    if state.pauses_in is not None:
        left = timedelta(seconds=round(state.pauses_in))
        line.append(f"; pauses in {left} unless it answers", style="yellow")
    return line


def outcome_line(outcome: Outcome) -> Text:
    """One line about a finished document: decision, rounds, name, and why."""
    decision = outcome.decision or "undecided"
    line = Text(f"{decision:<9} ", style=DECISION_STYLES[decision])
    line.append(f"{rounds(outcome.rounds):>9}  ", style="dim").append(outcome.name, style="bold")
    if decision == "accepted":
        scores = f"weak {number(outcome.weak_mean)}, strong {number(outcome.strong_mean)}"
        return line.append(f"  {scores}")
    return line.append(f"  {outcome.code}: {one_line(outcome.message or '')}")
