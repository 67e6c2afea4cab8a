"""How tests talk to the simulated models: rendered prompts in, replies out, no call layer."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from autodata.agents.replies import CandidateReply, MarksReply
from autodata.prompt_store.prompt import Message, Prompt, locked, packaged, policy_text
from autodata.simulation import SimulatedReply, respond

R = TypeVar("R", bound=BaseModel)

DEMO = Path(__file__).parents[2] / "autodata" / "demo"


def document(task: str, name: str) -> str:
    """The text of a demo document whose file name begins so."""
    (path,) = (DEMO / task).glob(f"{name}*")
    return path.read_text(encoding="utf-8")


def said(messages: tuple[Message, ...], model: str = "simulated", seed: int = 0) -> SimulatedReply:
    return respond(model, [message.model_dump() for message in messages], seed)


def reply(messages: tuple[Message, ...], schema: type[R], seed: int = 0) -> R | None:
    """The reply as its schema, or None when it is malformed."""
    try:
        return schema.model_validate_json(said(messages, seed=seed).content)
    except ValidationError:
        return None


def challenger(task: str, text: str, *, rules: str = "", **values: str) -> tuple[Message, ...]:
    """The seed prompt of a challenger with further rules at the end of its system message."""
    prompt = packaged().prompt(task, "challenger")
    prompt = Prompt(
        path=prompt.path, text=prompt.text.replace("<!-- user -->", f"{rules}\n\n<!-- user -->")
    )
    policy = packaged().rubric_policy(task)
    if policy:
        values = {"rubric_policy": policy_text(policy), **values}
    return prompt.render(document=text, **{"instruction": "", **values})


def candidates(task: str, text: str, count: int, **values: str) -> list[CandidateReply]:
    """The readable ones of `count` candidates, under the seeds 0, 1, 2, …"""
    messages = challenger(task, text, **values)
    written = (reply(messages, CandidateReply, seed) for seed in range(count))
    return [candidate for candidate in written if candidate]


def numbered(candidate: CandidateReply, weights: bool = False) -> str:
    return "\n".join(
        f"{i}. " + (f"[{c.weight:+d}] " if weights else "") + c.criterion
        for i, c in enumerate(candidate.rubric, 1)
    )


def answer(task: str, candidate: CandidateReply, model: str, seed: int = 0) -> str:
    messages = locked(task, "solver").render(context=candidate.context, question=candidate.question)
    return said(messages, model, seed).content


def score(task: str, candidate: CandidateReply, text: str) -> float:
    """Share of the positive weight that an answer reaches by the simulated judge's marks, less
    what its errors cost."""
    messages = locked(task, "judge").render(
        context=candidate.context,
        question=candidate.question,
        rubric=numbered(candidate),
        answer=text,
    )
    marks = next(m for seed in range(9) if (m := reply(messages, MarksReply, seed)))
    weights = [c.weight for c in candidate.rubric]
    reached = sum(w for w, mark in zip(weights, marks.marks, strict=True) if mark.met)
    return min(max(reached / sum(w for w in weights if w > 0), 0.0), 1.0)
