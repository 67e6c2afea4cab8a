"""autodata doctor: is everything there that a run needs?"""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from autodata.agents.probe import Probe, probe
from autodata.assembly import open_prompts
from autodata.graph.state import judgements
from autodata.ledger.calls import CallLog
from autodata.ledger.database import LedgerError, check_folder
from autodata.models.budget import Prices
from autodata.models.client import Models
from autodata.models.config import SIMULATED
from autodata.models.registry import stated
from autodata.options import DONE, FAILED
from autodata.screen import screen
from autodata.settings import Override, Settings, load
from autodata.simulation.transport import SimulatedTransport
from autodata.tasks import TASKS

GIVE_UP_AFTER = 5.0  # seconds of failures until an endpoint counts as down
TRIFLING = 1024  # tokens, more than an answer to a trifle takes, hidden reasoning included
READS = {"challenger", "extractor", "verifier", "final_verifier"}  # roles that see the passage
BESIDE = 2_500  # tokens that a prompt and a short reply take beside the passage
# Tokens of a usual reply, by role; a round of the loop asks all of these.
USUAL = {
    "challenger": 1_500,
    "verifier": 600,
    "weak_solver": 500,
    "strong_solver": 500,
    "judge": 800,
    "final_verifier": 600,
}


class Checkup(BaseModel):
    """One model and what was found out about it; `price` says whether its price is known."""

    endpoint: str
    model: str
    address: str
    roles: list[str]
    price: bool
    probe: Probe


def doctor(config: Path | None, as_json: bool, overrides: Sequence[Override], out: Path) -> int:
    """Examines every model once, and the folder where runs would go; exit code 1 when there is a
    problem."""
    settings = load(config, overrides)
    prompts, store = open_prompts(settings.prompts, settings.run.task or "")
    folder = _folder_problem(out)
    found = asyncio.run(_examine(settings))
    seconds = _round_seconds(settings, found)
    problems = sum(bool(checkup.probe.problem) for checkup in found) + bool(folder)
    if as_json:
        said = [checkup.model_dump(mode="json") for checkup in found]
        disk = {"path": str(out), "problem": folder}
        facts = {
            "prompts": prompts.revision,
            "store": store,
            "folder": disk,
            "models": said,
            "round_seconds": seconds,
        }
        print(json.dumps(facts, indent=2))
        return FAILED if problems else DONE
    console = screen()
    console.print(f"prompts   {prompts.revision} from {store or 'the package'}", soft_wrap=True)
    console.print(f"folder    {folder or f'{out} can hold runs'}", soft_wrap=True)
    for checkup in found:
        _print(console, checkup)
    if seconds:
        took = timedelta(seconds=round(seconds))
        console.print(f"A round takes about {took}, one request after another", soft_wrap=True)
    if settings.simulated:
        console.print(
            "Simulated models: good for trying autodata out, not for data.", style="yellow"
        )
    console.print(f"{problems or 'no'} problem{'' if problems == 1 else 's'}")
    return FAILED if problems else DONE


def _round_seconds(settings: Settings, found: Sequence[Checkup]) -> float | None:
    """Seconds that a round takes about, one request after another; None while a speed is unknown
    and for simulated models, whose speed says nothing."""
    speeds = {role: check.probe.tokens_per_second for check in found for role in check.roles}
    if settings.simulated:
        return None
    task, choices = TASKS[settings.run.task or next(iter(TASKS))], settings.choices
    weak = choices.weak_attempts or task.weak_attempts
    strong = choices.strong_attempts or task.strong_attempts
    times = {
        "weak_solver": weak,
        "strong_solver": strong,
        "judge": (weak + strong) * judgements(choices),
    }
    seconds = 0.0
    for role, tokens in USUAL.items():
        if not (speed := speeds.get(role)):
            return None
        seconds += times.get(role, 1) * tokens / speed
    return seconds


def _folder_problem(out: Path) -> str:
    """Why no run can be kept in a folder, or where it would be created; "" for nothing."""
    existing = next(
        folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists()
    )
    try:
        check_folder(existing)
    except LedgerError as error:
        return str(error)
    return ""


async def _examine(settings: Settings) -> list[Checkup]:
    """Every model once, all at the same time; a model that judges is asked to judge."""
    roles: dict[tuple[str, str], list[str]] = {}
    for role in settings.roles:
        played = settings.model(role)
        roles.setdefault((played.endpoint, played.model), []).append(role)
    impatient = {
        name: config.model_copy(update={"give_up_after": GIVE_UP_AFTER})
        for name, config in settings.endpoints.items()
    }
    brief = {
        role: config if stated(config) else config.model_copy(update={"max_tokens": TRIFLING})
        for role, config in settings.models.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        log = CallLog(Path(folder) / "calls.db")
        models = Models(
            log=log,
            endpoints=impatient,
            models=brief,
            transports={SIMULATED: SimulatedTransport()},
        )
        try:
            return await asyncio.gather(
                *(_check(settings, models, played) for played in roles.values())
            )
        finally:
            await models.aclose()
            log.close()


async def _check(settings: Settings, models: Models, roles: list[str]) -> Checkup:
    asked = next((role for role in roles if not role.endswith("_solver")), roles[0])
    role_model = models.registry.role_model(asked)
    config, at = role_model.config, role_model.endpoint
    found = await probe(models, asked)
    price = Prices(settings.prices).known(config, at.config)
    if settings.budget.usd is not None and not price and not found.problem:
        problem = "a budget in USD cannot be kept while this price is unknown"
        remedy = f"State prices: {{{at.name}/{config.model}: {{input: …, output: …}}}}"
        found = found.model_copy(update={"problem": problem, "remedy": remedy})
    most = settings.run.passage_tokens
    if found.window and READS & set(roles) and found.window < most + BESIDE and not found.problem:
        fits = found.window - BESIDE
        problem = f"passages of {most:,} tokens do not fit its context window of {found.window:,}"
        lower = f"Lower run.passage_tokens to {fits:,}, or serve" if fits >= 200 else "Serve"
        remedy = f"{lower} it with a larger context window"
        found = found.model_copy(update={"problem": problem, "remedy": remedy})
    return Checkup(
        endpoint=at.name,
        model=config.model,
        address=at.transport.base_url,
        roles=roles,
        price=price,
        probe=found,
    )


def _print(console: Console, checkup: Checkup) -> None:
    found = checkup.probe
    mark = ("✗ ", "red") if found.problem else ("✓ ", "green")
    name = (f"{checkup.endpoint}/{checkup.model}", "bold")
    roles = (f"  {', '.join(checkup.roles)}", "dim")
    console.print(Text.assemble(mark, name, roles), soft_wrap=True)
    facts = [checkup.address]
    if not found.problem:
        facts.append(f"answered in {found.seconds:.1f} s")
    if found.window:
        facts.append(f"context window of {found.window:,} tokens")
    if found.tokens_per_second and not found.problem:
        facts.append(f"about {found.tokens_per_second:,.0f} tokens per second")
    if found.replies:
        facts.append(f"structured replies by {found.replies}")
    if found.refuses:
        facts.append(f"takes no {', '.join(found.refuses)}")
    facts.append("price known" if checkup.price else "price unknown: state it under prices")
    console.print(f"  {'; '.join(facts)}", soft_wrap=True)
    if found.problem:
        console.print(f"  problem: {found.problem}\n  remedy: {found.remedy}", soft_wrap=True)
