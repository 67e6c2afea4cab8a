"""The quality verifier: a candidate in, a verdict bound to exactly this candidate out.

The final verifier asks the same of a frozen candidate, with a locked prompt and once.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from autodata.agents.replies import VerdictReply
from autodata.models.client import Models
from autodata.prompt_store.prompt import Message, Prompt
from autodata.tasks.rubric import RubricFinding, lint_rubric
from autodata.tasks.types import Candidate, Document, Objection, Verdict

FINDINGS = "Found by code, which reads words and not meaning; check each, and report what holds."


def numbered(candidate: Candidate) -> str:
    """The rubric as a numbered list with weights, as verifiers read it."""
    return "\n".join(
        f"{i}. [{c.weight:+d}] {c.criterion}" for i, c in enumerate(candidate.rubric, 1)
    )


async def verify(
    models: Models,
    prompt: Prompt,
    document: Document,
    candidate: Candidate,
    rubric: Mapping[str, str],
    role: Literal["verifier", "final_verifier"] = "verifier",
) -> Verdict | Objection:
    """The verdict, or MALFORMED when the verifier's reply could not be read after re-asking.

    `rubric` holds the prompt values on the rubric and its policy; empty for a task without one.
    The verifier, not the final one, is told what the linter found of the rubric, if anything.
    """
    messages = prompt.render(
        document=document.text,
        context=candidate.context,
        question=candidate.question,
        question_type=candidate.question_type,
        reference_answer=candidate.reference_answer,
        **rubric,
    )
    if rubric and role == "verifier":
        messages = _with_findings(messages, lint_rubric(candidate.rubric))
    answer = await models.complete_as(role, messages, VerdictReply, scope=document.id)
    if answer.value is None:
        message = f"the {role.replace('_', ' ')}'s reply could not be read: {answer.problem}"
        return Objection(code="MALFORMED", message=message)
    return verdict(answer.value, candidate)


def _with_findings(
    messages: tuple[Message, ...], findings: Sequence[RubricFinding]
) -> tuple[Message, ...]:
    """The messages, and below the last one each finding; the very same where there is none."""
    if not findings:
        return messages
    *before, last = messages
    listed = "\n".join(f"- {finding.said}" for finding in findings)
    block = f"<rubric_findings>\n{FINDINGS}\n{listed}\n</rubric_findings>"
    return (*before, last.model_copy(update={"content": f"{last.content}\n\n{block}"}))


def verdict(reply: VerdictReply, candidate: Candidate) -> Verdict:
    """PASS stands only when every finding bears it out; each finding against it is a problem."""
    against = {
        "the context gives the answer away": reply.leak,
        "the question is too easy": reply.question == "too_easy",
        "the question asks for recall": reply.question == "recall",
        "the question asks more than one thing": not reply.single_focus,
        "the reference answer is not borne out by the document": not reply.grounded,
        "the rubric is not specific": not reply.rubric_specific,
        "the question type does not fit the question": not reply.type_consistent,
    }
    found = tuple(problem for problem, holds in against.items() if holds)
    passed = reply.verdict == "PASS" and not found
    return Verdict(
        passed=passed,
        leak=reply.leak,
        problems=() if passed else tuple(dict.fromkeys((*found, *reply.problems))),
        fixes=() if passed else tuple(dict.fromkeys(reply.fixes)),
        fingerprint=candidate.fingerprint,
    )
