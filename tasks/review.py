"""A person in the loop: what a reviewer is shown, and the reply, read or refused in words."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from autodata.tasks.acceptance import summary
from autodata.tasks.task import Task, final_filters
from autodata.tasks.types import Attempt, Candidate, Criterion, Document, Frozen, Review, Round

EDITABLE = ("question", "context", "reference_answer", "rubric")

# The form of a reply, as a reviewer reads it beside the candidate.
REPLY_FORM: Mapping[str, Any] = {
    "decision": "accept, reject or edit",
    "reason": "why; a rejection needs one, since it is the next feedback",
    "candidate": f"with edit alone, the fields that change: {', '.join(EDITABLE)}",
    "by": "who you are",
}


# The same of a prompt edit that would be kept.
EDIT_REPLY_FORM: Mapping[str, Any] = {
    "decision": "keep or reject",
    "reason": "why; a rejection needs one, since the next analyst reads it",
    "by": "who you are",
}


class ReviewError(ValueError):
    """A reply that cannot be taken; the message says what is wrong with it."""


LONGEST_REPLY = 100_000  # characters: what a reviewer writes goes into every later request


class CandidateEdit(Frozen):
    """The fields of a candidate that a reviewer changes."""

    question: str | None = None
    context: str | None = None
    reference_answer: str | None = None
    rubric: tuple[Criterion, ...] | None = None


class ReviewReply(Frozen):
    """What a reviewer replies."""

    decision: Literal["accept", "reject", "edit"]
    reason: str = ""
    candidate: CandidateEdit | None = None
    by: str


class EditReviewReply(Frozen):
    """What a reviewer of a prompt edit replies."""

    decision: Literal["keep", "reject"]
    reason: str = ""
    by: str


_Reply = TypeVar("_Reply", ReviewReply, EditReviewReply)


class EditReview(EditReviewReply):
    """What a person said of one exact prompt edit: who, and when (ISO 8601, UTC).

    `prompts` is the content hash of the prompts that it makes; the next analyst reads the `reason`.
    """

    at: str
    prompts: str

    @property
    def said(self) -> str:
        """`kept by Ann` or `turned down by Ann`."""
        return f"{'kept' if self.decision == 'keep' else 'turned down'} by {self.by}"


def shown(document: Document, rounds: Sequence[Round], certainty: float | None) -> dict[str, Any]:
    """What a reviewer needs to judge the last of these rounds, as JSON values: the candidate, what
    both sides answered and scored, earlier objections, and how likely the thresholds truly hold."""
    last = rounds[-1]
    sides = {
        side: [_answer(attempt) for attempt in last.attempts if attempt.solver == side]
        for side in ("weak", "strong")
    }
    return {
        "document": {"id": document.id, "name": document.name},
        "round": last.number,
        "candidate": editable(last.candidate) if last.candidate else None,
        **summary(last),
        **sides,
        "certainty": certainty,
        "objections": [
            {"round": round.number, **objection.model_dump()}
            for round in rounds
            for objection in round.objections
        ],
        "reply": dict(REPLY_FORM),
    }


def _answer(attempt: Attempt) -> dict[str, Any]:
    return attempt.model_dump(
        mode="json", include={"number", "answer", "score", "truncated", "fresh", "marks"}
    )


def editable(candidate: Candidate) -> dict[str, Any]:
    """The fields that a reviewer may change, as JSON values."""
    return candidate.model_dump(mode="json", include=set(EDITABLE))


def read_review(
    task: Task, document: Document, candidate: Candidate, reply: Any, at: str
) -> Review:
    """The review that a reply comes to. Raises ReviewError where it cannot be one."""
    read, by = _read(ReviewReply, reply, REPLY_FORM)
    changed = read.candidate.model_dump(exclude_none=True) if read.candidate else {}
    edited = None
    if read.decision == "edit":
        edited = _edited(task, document, candidate, changed)
    elif changed:
        raise ReviewError(f"the decision is {read.decision}, and a candidate goes with edit alone")
    elif read.decision == "reject" and not read.reason.strip():
        raise ReviewError("reason is missing: say why, since it is the next feedback")
    return Review(
        decision=read.decision,
        reason=read.reason.strip(),
        edited=edited,
        by=by,
        at=at,
        fingerprint=candidate.fingerprint,
    )


def read_edit_review(reply: Any, prompts: str, at: str) -> EditReview:
    """The review of an edit that makes these prompts. Raises ReviewError where it cannot be one."""
    read, by = _read(EditReviewReply, reply, EDIT_REPLY_FORM)
    reason = read.reason.strip()
    if read.decision == "reject" and not reason:
        raise ReviewError("reason is missing: say why, since the next analyst reads it")
    return EditReview(decision=read.decision, reason=reason, by=by, at=at, prompts=prompts)


def _read(kind: type[_Reply], reply: Any, form: Mapping[str, Any]) -> tuple[_Reply, str]:
    """A reply as what it says, and by whom. Raises ReviewError."""
    try:
        read = kind.model_validate(reply)
    except ValidationError as error:
        raise ReviewError("; ".join(_worded(error, form))) from error
    if (characters := len(repr(read))) > LONGEST_REPLY:
        raise ReviewError(f"the reply has {characters:,} characters, of at most {LONGEST_REPLY:,}")
    by = " ".join(read.by.encode("utf-8", "replace").decode().split())
    if not by:
        raise ReviewError("by is blank: say who you are")
    return read, by


def _worded(error: ValidationError, form: Mapping[str, Any]) -> list[str]:
    """Each fault with its place."""
    if not isinstance(error.errors()[0]["input"], Mapping) and not error.errors()[0]["loc"]:
        return [f"a reply is an object with {', '.join(form)}"]
    return [
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
        for fault in error.errors()
    ]


def _edited(
    task: Task, document: Document, candidate: Candidate, changed: dict[str, Any]
) -> Candidate:
    """The candidate with what a reviewer changed, if code finds nothing wrong with it.

    Raises ReviewError. The verifier and the solvers see it afterwards like any other.
    """
    if task.procedure:
        raise ReviewError(f"items of {task.name} are made by code: accept or reject this one")
    if task.make_criteria and "rubric" in changed:
        raise ReviewError(f"the rubric of {task.name} follows from the reference answer; leave it")
    edited = Candidate.model_validate(candidate.model_dump() | changed)
    for name in EDITABLE[:3]:
        if name in changed and not changed[name].strip():
            raise ReviewError(f"candidate.{name} is blank")
    made = task.make_criteria and task.make_criteria(edited.reference_answer)
    if made is not None and "reference_answer" in changed:
        edited = edited.model_copy(update={"rubric": made})
    if edited.fingerprint == candidate.fingerprint:
        raise ReviewError("the edit changes nothing")
    if found := (*task.screen(edited), *final_filters(task, edited, document)):
        raise ReviewError("; ".join(dict.fromkeys(o.message for o in found)))
    return edited
