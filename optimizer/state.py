"""What the optimizer's graph carries: one iteration on its way, and where the lane is going."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from autodata.ledger.iterations import EditDecision
from autodata.optimizer.acceptance import PassCount


class Lane(BaseModel):
    """Which iterations are to be made, one after the other; those on record are passed over.

    Of several lanes, each begins at a number of its own and makes every n-th iteration.
    """

    number: int = Field(1, ge=1, description="the first iteration to make")
    last: int = Field(1, ge=0, description="the last one")


class OptimizerState(Lane):
    """One iteration on its way. Texts of documents stay in the ledger; ids travel.

    `edited` maps paths to the texts that the edit changed. `decision` is None while the iteration
    is open; `reason` says why it was decided so.
    """

    model_config = ConfigDict(extra="forbid")

    parent: int = 0
    other_parent: int | None = None
    chances: Mapping[int, float] = Field(default_factory=dict)
    minibatch: tuple[str, ...] = ()
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


FRESH: dict[str, object] = {
    name: field.get_default(call_default_factory=True)
    for name, field in OptimizerState.model_fields.items()
    if name not in Lane.model_fields
}
