"""One function answers every request: it reads who is asked, and answers as that role would."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from autodata.simulation import (
    analyst,
    challenger,
    editor,
    extractor,
    judge,
    loop_judge,
    orchestrator,
    solver,
    verifier,
)
from autodata.simulation.chance import Chance
from autodata.simulation.reading import Brief, plain, read
from autodata.simulation.tools import Step, done, in_openai_form

# Ability θ by model name, in logits; any other name is a careful worker.
ABILITIES: Mapping[str, float] = {"simulated-weak": -0.6, "simulated-strong": 1.6}
CAREFUL = 2.5
CHARACTERS_PER_TOKEN = 4  # the usual rule of thumb for English

ROLES: Mapping[str, Callable[[Brief, Chance], str]] = {
    "challenger": challenger.challenge,
    "orchestrator": orchestrator.instruct,
    "verifier": verifier.verify,
    "final_verifier": verifier.verify,
    "judge": judge.mark,
    "extractor": extractor.extract,
    "loop_judge": loop_judge.judge_round,
}
# Role → module and function of its own in science.
SCIENCE = {
    "challenger": ("challenger", "challenge"),
    "verifier": ("verifier", "verify"),
    "final_verifier": ("verifier", "verify"),
    "judge": ("judge", "mark"),
}
OUTPUT_MAX = 8192  # tokens that a reply may have when the request states no limit

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class SimulatedReply:
    """What a simulated model answers, with the tokens that it counts.

    `tool_calls` are in OpenAI's form.
    """

    content: str
    finish_reason: Finish
    input_tokens: int
    output_tokens: int
    tool_calls: Sequence[Mapping[str, Any]] = ()


def respond(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    seed: int | None = None,
    max_tokens: int | None = None,
) -> SimulatedReply:
    """The reply of `model` to chat messages ({"role", "content"}).

    It follows from (messages, model, seed) alone. A text longer than `max_tokens` (by default
    8,192) is cut there and finishes with "length".
    """
    texts = [plain(message.get("content")) for message in messages]
    brief = read(messages)
    if brief.role in ("analyst", "editor"):
        return _step(model, brief, messages)
    chance = Chance(model, seed, *texts)
    text = _answer(brief, ABILITIES.get(model, CAREFUL), chance)
    finish: Finish = "stop"
    limit = max_tokens or OUTPUT_MAX
    if tokens(text) > limit:
        text, finish = text[: limit * CHARACTERS_PER_TOKEN], "length"
    return SimulatedReply(text, finish, sum(map(tokens, texts)), tokens(text))


def _step(model: str, brief: Brief, messages: Sequence[Mapping[str, Any]]) -> SimulatedReply:
    """The next step of an agent with tools; what it is up to follows from its brief alone."""
    texts = [plain(message.get("content")) for message in messages]
    before, chance = done(messages), Chance(model, *texts[:2])
    step: Step = (
        analyst.analyse(brief, before, chance)
        if brief.role == "analyst"
        else editor.edit(model, brief, before, chance)
    )
    calls = in_openai_form(step.calls, len(before))
    said = tokens(step.text + "".join(c["function"]["arguments"] for c in calls))
    finish: Finish = "tool_calls" if calls else "stop"
    return SimulatedReply(step.text, finish, sum(map(tokens, texts)), said, calls)


def tokens(text: str) -> int:
    """How many tokens a text counts for."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _answer(brief: Brief, ability: float, chance: Chance) -> str:
    if brief.role == "solver":
        solve = _science("solver").solve if brief.domain == "science" else solver.solve
        return str(solve(brief, ability, chance))
    if brief.domain == "science" and brief.role in SCIENCE:
        module, name = SCIENCE[brief.role]
        return str(getattr(_science(module), name)(brief, chance))
    answer = ROLES.get(brief.role)
    return answer(brief, chance) if answer else _unaddressed(brief)


def _science(module: str) -> ModuleType:
    """A science role. Imported when it is first asked: SymPy takes a second."""
    return import_module(f"autodata.simulation.{module}_science")


def _unaddressed(brief: Brief) -> str:
    """To a message that names no role that is known here."""
    role = f" “{brief.role}”" if brief.role else ""
    return f"This is a simulated model. It knows no role{role}."
