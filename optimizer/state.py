"""What one optimization is asked to do, and what its graph carries of each iteration."""

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from autodata.graph.state import Hyphened, InWords, TaskName
from autodata.ledger.iterations import EditDecision
from autodata.optimizer.acceptance import TEMPERATURE, AcceptanceRule, PassCount, Scoring, Select
from autodata.tasks import TASKS
from autodata.tasks.review import EditReview
from autodata.tasks.types import Document, Frozen, digest


class SearchChoices(BaseModel):
    """How prompts are searched for; Studio shows these as a form."""

    rule: AcceptanceRule = Field(
        "strict",
        description="when an edit is kept: strict, its score beats the parent's, pooled over "
        "several evaluations; paper, over the newest one alone; confirm, it must win twice",
    )
    score: Scoring = Field(
        "certainty",
        description="what an accepted document counts for: how certain it is that the thresholds "
        "truly hold (`certainties`), or accepted: in full",
    )
    select: Select = Field(
        "boltzmann",
        description="how a parent is chosen: boltzmann, the better the likelier; best, always the "
        "highest score; pareto, whoever leads on some document",
    )
    temperature: float = Field(TEMPERATURE, gt=0, le=10, description="of the Boltzmann choice")
    minibatch: int = Field(8, ge=1, le=200, description="training documents studied each time")
    batch: int = Field(4, ge=1, le=200, description="validation documents tried at once")
    crossover: float = Field(
        0.1, ge=0, le=1, description="share of iterations that merge two kept edits instead"
    )
    seed: int = Field(0, ge=0, description="of every draw")
    review: Annotated[Literal["before_keep"], Hyphened] | None = Field(
        None,
        exclude_if=lambda asked: asked is None,
        description="before_keep: a person keeps or turns down an edit that would be kept",
    )


class Choices(SearchChoices, Frozen):
    """How an optimization proceeds."""

    iterations: int = Field(20, ge=0, le=10_000, description="edits to try")
    parallel: int = Field(1, ge=1, le=64, description="iterations under way at once")


class Plan(Choices):
    """The choices, and which documents serve which purpose (ids in the ledger).

    Analyst and editor see training documents only. Validation documents decide what is kept; test
    documents are sealed until the winner is scored on them, once.
    """

    training: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = Field(min_length=1)
    test: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> "Plan":
        sides = {"training": self.training, "validation": self.validation, "test": self.test}
        names = list(sides)
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                if shared := sorted(set(sides[one]) & set(sides[other])):
                    raise ValueError(
                        f"{len(shared)} documents serve {one} and {other}, such as {shared[0]}: "
                        "a score on documents that were studied says nothing"
                    )
        return self


def same_text(text: str) -> str:
    """What two texts share that differ in case and white space at most (16 hex digits)."""
    return digest(" ".join(unicodedata.normalize("NFKC", text).casefold().split()))[:16]


def repeated(sides: Mapping[str, Sequence[Document]]) -> list[str]:
    """Which purposes share documents, each as a sentence: the same text counts under any name."""
    texts = {
        name: {same_text(d.text): d.name for d in documents} for name, documents in sides.items()
    }
    found = []
    for one, other in combinations(texts, 2):
        if shared := [h for h in texts[one] if h in texts[other]]:
            first, second = texts[one][shared[0]], texts[other][shared[0]]
            example = f"“{first}”" if first == second else f"“{first}” and “{second}”"
            found.append(
                f"{len(shared)} documents serve {one} and {other}, such as {example}: "
                "a score on documents that were studied says nothing"
            )
    return found


class Lane(BaseModel):
    """Which iterations are to be made, one after the other; those on record are passed over.

    Of several lanes, each begins at a number of its own and makes every n-th iteration.
    """

    number: int = Field(1, ge=1, description="the first iteration to make")
    last: int = Field(1, ge=0, description="the last one")


class OptimizationRequest(InWords, Lane, SearchChoices):
    """What a caller asks the served graph for. With nothing stated the folder's optimization goes
    on, else one over demo documents; any other plan has an optimization of its own there."""

    task: TaskName = Field(next(iter(TASKS)), description="the task whose prompts are improved")
    training: tuple[str, ...] = Field(
        (),
        description="what analyst and editor may study: ids of documents on record, or folders "
        "below the one that the server's AUTODATA_DOCUMENTS names ('.' is all of it); with no "
        "document stated, the demo documents",
    )
    validation: tuple[str, ...] = Field(
        (), description="what decides which edits are kept, likewise"
    )
    test: tuple[str, ...] = Field(
        (), description="sealed, likewise: kept for `autodata resume`, which scores the winner"
    )
    iterations: int = Field(
        1, ge=0, le=10_000, description="edits to try in all; those on record are passed over"
    )

    @property
    def stated(self) -> dict[str, Any]:
        """What a plan of its own is made of: all that differs from the form as it comes."""
        ours = {*OptimizationRequest.model_fields} - {*Lane.model_fields, "iterations"}
        fields = {name: OptimizationRequest.model_fields[name].default for name in ours}
        said = {name: getattr(self, name) for name in fields}
        return {name: value for name, value in said.items() if value != fields[name]}


class OptimizerState(OptimizationRequest):
    """One iteration on its way. Texts of documents stay in the ledger; ids travel.

    `optimization` names the run in the ledger. `asks` says whether a person is asked before an edit
    is kept, `begun` how the prompts did from which all started. `studying` are the training
    documents drawn, `edited` maps paths to the texts that the edit changed. `decision` is None
    while the iteration is open; `reason` says why it was decided so, `revision` is its commit once
    it is on record. `summary` tells all iterations of the walk in lines for people.
    """

    model_config = ConfigDict(extra="forbid")

    optimization: str = ""
    asks: bool = False
    begun: str = ""
    parent: int = 0
    other_parent: int | None = None
    chances: Mapping[int, float] = Field(default_factory=dict)
    studying: tuple[str, ...] = ()
    studied: PassCount = PassCount()
    failures: Mapping[str, int] = Field(default_factory=dict)
    cause: str = ""
    quotes: tuple[str, ...] = ()
    edited: Mapping[str, str] = Field(default_factory=dict)
    subject: str = ""
    intent: str = ""
    predicts: str = ""
    parent_pass_count: PassCount = PassCount()
    parent_evaluations: int = 0
    pass_count: PassCount = PassCount()
    rates_before: Mapping[str, float] = Field(default_factory=dict)
    rates_after: Mapping[str, float] = Field(default_factory=dict)
    checks: Mapping[str, object] = Field(default_factory=dict)
    decision: EditDecision | None = None
    reason: str = ""
    reviewed: EditReview | None = None
    revision: str = ""
    summary: str = ""


_OF_THE_WALK = {
    *OptimizationRequest.model_fields,
    *("optimization", "asks", "begun", "summary"),
}

BLANK: dict[str, object] = {
    name: field.get_default(call_default_factory=True)
    for name, field in OptimizerState.model_fields.items()
    if name not in _OF_THE_WALK
}
