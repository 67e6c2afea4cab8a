"""What one optimization is asked to do."""

from pydantic import Field, model_validator

from autodata.optimizer.acceptance import Rule
from autodata.optimizer.selection import TEMPERATURE, Select
from autodata.tasks.types import Frozen


class Choices(Frozen):
    """How an optimization proceeds; Studio shows these as a form."""

    iterations: int = Field(20, ge=0, le=10_000, description="edits to try")
    parallel: int = Field(1, ge=1, le=64, description="iterations under way at once")
    rule: Rule = Field("strict", description="when an edit is kept; see optimizer/acceptance.py")
    select: Select = Field("boltzmann", description="how a parent is chosen")
    temperature: float = Field(TEMPERATURE, gt=0, le=10, description="of the Boltzmann choice")
    minibatch: int = Field(8, ge=1, le=200, description="training documents studied each time")
    batch: int = Field(4, ge=1, le=200, description="validation documents tried at once")
    crossover: float = Field(
        0.1, ge=0, le=1, description="share of iterations that merge two kept edits instead"
    )
    seed: int = Field(0, ge=0, description="of every draw")


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
