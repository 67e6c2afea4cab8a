"""One function answers every request: it reads who is asked, and answers as that role would."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agents.simulated import (
    challenger,
    extractor,
    judge,
    loop_judge,
    orchestrator,
    solver,
    verifier,
)
from agents.simulated.chance import Chance
from agents.simulated.reading import Brief, plain, read

# Ability θ by model name, in logits; any other name is a careful worker.
ABILITIES: Mapping[str, float] = {"simulated-weak": -0.6, "simulated-strong": 1.6}
CAREFUL = 2.5
CHARACTERS_PER_TOKEN = 4  # the usual rule of thumb for English

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class SimulatedReply:
    """What a simulated model answers, with the tokens that it counts."""

    content: str
    finish_reason: Finish
    input_tokens: int
    output_tokens: int


def respond(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    seed: int | None = None,
    max_tokens: int | None = None,
) -> SimulatedReply:
    """The reply of `model` to chat messages ({"role", "content"}).

    It follows from (messages, model, seed) alone. With `max_tokens` the text is cut there and
    finishes with "length".
    """
    texts = [plain(message.get("content")) for message in messages]
    brief = read(messages)
    chance = Chance(model, seed, *texts)
    text = _answer(brief, ABILITIES.get(model, CAREFUL), chance)
    finish: Finish = "stop"
    if max_tokens is not None and tokens(text) > max_tokens:
        text, finish = text[: max_tokens * CHARACTERS_PER_TOKEN], "length"
    return SimulatedReply(text, finish, sum(map(tokens, texts)), tokens(text))


def tokens(text: str) -> int:
    """How many tokens a text counts for."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _answer(brief: Brief, ability: float, chance: Chance) -> str:
    if brief.role == "solver":
        return solver.solve(brief, ability, chance)
    roles: Mapping[str, Callable[[Brief, Chance], str]] = {
        "challenger": challenger.challenge,
        "orchestrator": orchestrator.instruct,
        "verifier": verifier.verify,
        "final_verifier": verifier.verify,
        "judge": judge.mark,
        "extractor": extractor.extract,
        "loop_judge": loop_judge.judge_round,
    }
    answer = roles.get(brief.role)
    return answer(brief, chance) if answer else _unaddressed(brief)


def _unaddressed(brief: Brief) -> str:
    """To a message that names no role that is known here."""
    role = f" “{brief.role}”" if brief.role else ""
    return f"This is a simulated model. It knows no role{role}."
