"""One small real call to a model: does it answer, how fast, and in which form?"""

import time
from typing import cast

from autodata.agents.judge import judge
from autodata.agents.solver import solve
from autodata.models.client import Models
from autodata.models.errors import CallRefused, Paused
from autodata.prompt_store.prompt import locked
from autodata.tasks import TASKS
from autodata.tasks.types import Candidate, Criterion, Frozen, Side

PROMPTS_OF = next(iter(TASKS))  # whose locked prompts are borrowed
SCOPE = "probe"
TRIFLE = Candidate(
    context="Two coins lie on a table.",
    question="Two more are added. How many are there?",
    reference_answer="Four.",
    rubric=(Criterion(criterion="States that there are four coins.", weight=1),),
)
ANSWER = "There are four coins."


class Probe(Frozen):
    """What was found out about one model; without a `problem` it can play the role.

    `seconds` is how long the whole probe took, re-asking included; `replies` says how structured
    replies are asked for (json_schema, json_object, plain), "" where none was needed; `refuses`
    names parameters that are configured or usual and that the model does not take.
    """

    seconds: float
    replies: str = ""
    refuses: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""


async def probe(models: Models, role: str) -> Probe:
    """Asks the model that plays the role to solve or, unless it is a solver, to judge a trifle."""
    role_model = models.registry.role_model(role)
    began = time.monotonic()
    problem = remedy = ""
    try:
        if role.endswith("_solver"):
            problem, remedy = await _solve(models, role)
        else:
            problem, remedy = await _judge(models, role)
    except (Paused, CallRefused) as error:
        problem, remedy = error.reason, error.remedy
    return Probe(
        seconds=time.monotonic() - began,
        replies="" if problem or role.endswith("_solver") else role_model.dialect.format,
        refuses=tuple(sorted(role_model.dialect.left_out)),
        problem=problem,
        remedy=remedy,
    )


async def _solve(models: Models, role: str) -> tuple[str, str]:
    side = cast(Side, role.removesuffix("_solver"))
    said = await solve(models, locked(PROMPTS_OF, "solver"), TRIFLE, side, 1, scope=SCOPE)
    if said.truncated:
        return _cut_off(role)
    return ("", "") if said.text else ("it answered nothing", "Try another model")


async def _judge(models: Models, role: str) -> tuple[str, str]:
    prompt = locked(PROMPTS_OF, "judge")
    reply = await judge(models, prompt, TRIFLE, ANSWER, scope=SCOPE, role=role)
    if reply.value is None:
        return (
            f"its structured replies cannot be used: {reply.problem}",
            f"Take a model for {role} that follows a JSON schema",
        )
    return "", ""


def _cut_off(role: str) -> tuple[str, str]:
    return (
        "its answer to a trifle was cut off by the token limit",
        f"Raise models.{role}.max_tokens; hidden reasoning counts, too",
    )
