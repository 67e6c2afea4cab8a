"""One small real call to a model: does it answer, how fast, and in which form?"""

import time
from typing import cast

from autodata.agents.judge import judge
from autodata.agents.solver import solve
from autodata.models.client import Models
from autodata.models.errors import CallRefused, CutOff, Paused
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
    names parameters that are configured or usual and that the model does not take; `window` is the
    context window in tokens, None where the server does not say; `tokens_per_second` of replies is
    None where nothing was said.
    """

    seconds: float
    replies: str = ""
    refuses: tuple[str, ...] = ()
    window: int | None = None
    tokens_per_second: float | None = None
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
    except CutOff:
        problem, remedy = _endless(role)
    except (Paused, CallRefused) as error:
        problem, remedy = error.reason, error.remedy
    seconds, said = time.monotonic() - began, role_model.usage.output_tokens
    return Probe(
        seconds=seconds,
        window=role_model.window.tokens,
        tokens_per_second=said / seconds if said and seconds else None,
        replies="" if problem or role.endswith("_solver") else role_model.dialect.format,
        refuses=tuple(sorted(role_model.dialect.left_out)),
        problem=problem,
        remedy=remedy,
    )


async def _solve(models: Models, role: str) -> tuple[str, str]:
    side = cast(Side, role.removesuffix("_solver"))
    said = await solve(models, locked(PROMPTS_OF, "solver"), TRIFLE, side, 1, scope=SCOPE)
    if said.truncated:
        return _endless(role) if said.text else _cut_off(role)
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


def _endless(role: str) -> tuple[str, str]:
    return (
        "its answer to a trifle never ends, as that of a base model or of one without its chat "
        "template",
        f"Take the instruct variant for {role} and serve it with its chat template; if it only "
        f"has much to say, raise models.{role}.max_tokens",
    )


def _cut_off(role: str) -> tuple[str, str]:
    return (
        "its answer to a trifle was cut off by the token limit",
        f"Raise models.{role}.max_tokens; hidden reasoning counts, too",
    )
