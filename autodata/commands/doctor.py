"""autodata doctor: is everything there that a run needs?"""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from autodata.agents.probe import Probe, probe
from autodata.assembly import open_prompts
from autodata.cli import DONE, FAILED
from autodata.ledger.calls import CallLog
from autodata.ledger.database import LedgerError, check_folder
from autodata.models.budget import Prices
from autodata.models.client import Models
from autodata.models.config import SIMULATED
from autodata.screen import screen
from autodata.settings import Override, Settings, load
from autodata.simulation.transport import SimulatedTransport

GIVE_UP_AFTER = 5.0  # seconds of failures until an endpoint counts as down
CALL_SECONDS = 60.0  # seconds that one call may take


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
    prompts, store = open_prompts(settings.prompts)
    folder = _folder_problem(out)
    found = asyncio.run(_examine(settings))
    problems = sum(bool(checkup.probe.problem) for checkup in found) + bool(folder)
    if as_json:
        said = [checkup.model_dump(mode="json") for checkup in found]
        disk = {"path": str(out), "problem": folder}
        facts = {"prompts": prompts.revision, "store": store, "folder": disk, "models": said}
        print(json.dumps(facts, indent=2))
        return FAILED if problems else DONE
    console = screen()
    console.print(f"prompts   {prompts.revision} from {store or 'the package'}", soft_wrap=True)
    console.print(f"folder    {folder or f'{out} can hold runs'}", soft_wrap=True)
    for checkup in found:
        _print(console, checkup)
    if settings.simulated:
        console.print(
            "Simulated models: good for trying autodata out, not for data.", style="yellow"
        )
    console.print(f"{problems or 'no'} problem{'' if problems == 1 else 's'}")
    return FAILED if problems else DONE


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
        name: config.model_copy(
            update={"give_up_after": GIVE_UP_AFTER, "timeout": min(config.timeout, CALL_SECONDS)}
        )
        for name, config in settings.endpoints.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        log = CallLog(Path(folder) / "calls.db")
        models = Models(
            log=log,
            endpoints=impatient,
            models=settings.models,
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
    if found.replies:
        facts.append(f"structured replies by {found.replies}")
    if found.refuses:
        facts.append(f"takes no {', '.join(found.refuses)}")
    facts.append("price known" if checkup.price else "price unknown: state it under prices")
    console.print(f"  {'; '.join(facts)}", soft_wrap=True)
    if found.problem:
        console.print(f"  problem: {found.problem}\n  remedy: {found.remedy}", soft_wrap=True)
