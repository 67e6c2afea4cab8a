"""The one configuration: every layer's own settings, put together and checked as a whole.

`autodata.settings_file` reads it; the run folder keeps it, resolved, as `config.yaml`.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from autodata.documents.passages import BUDGET
from autodata.graph.state import Attempts, RunChoices, TaskName
from autodata.models.budget import Budget
from autodata.models.config import (
    ROLES,
    SIMULATED,
    EndpointConfig,
    ModelConfig,
    Price,
    endpoint,
    resolve,
)
from autodata.tasks import TASKS
from autodata.tasks.acceptance import Acceptance

# Keys that may change between two sittings of one run: where and how fast models are asked, what
# may be spent, when to stop. All others shape the examples.
MAY_CHANGE = (
    "budget.",
    "endpoints.",
    "prices.",
    "prompts.path",
    "run.batch",
    "run.documents_in_flight",
    "run.target",
)

# Roles that no run asks; the optimizer resolves them itself.
OPTIMIZER_ROLES = frozenset({"optimizer", "analyst", "editor"})


class Section(BaseModel):
    """Base of every section: an unknown key is an error, and no section changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSettings(Section):
    """What one run does. Null leaves the task's own number (paper, section 2)."""

    task: TaskName | None = Field(None, description="cs, legal or science")
    rounds: int | None = Field(None, ge=1, le=100, description="round budget of one document")
    challengers: int | None = Field(None, ge=1, le=5, description="candidates per round")
    attempts: Attempts = Field("early", description="early, parallel or all; see RunChoices")
    batch: bool = Field(False, description="ask through the endpoints' batch APIs: half the price")
    documents_in_flight: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    target: int | None = Field(None, ge=1, description="accepted documents that are enough")
    per_document: int = Field(1, ge=1, le=1000, description="passages taken from one document")
    passage_tokens: int = Field(BUDGET, ge=200, le=1_000_000, description="per passage, at most")
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="of the simulated models; 0 unless stated"
    )


class PromptSettings(Section):
    """Where the editable prompts come from.

    `path` is a prompt store; null takes ./prompts if there is one, else the packaged prompts.
    `revision` is a commit, branch or tag of the store (null: main), or `seed-…` when packaged.
    """

    path: str | None = None
    revision: str | None = None


class Settings(Section):
    """The whole configuration. With no model configured, every role is simulated."""

    endpoints: dict[str, EndpointConfig] = Field(default_factory=dict)
    models: dict[str, ModelConfig] = Field(default_factory=dict)
    prices: dict[str, Price] = Field(default_factory=dict)
    acceptance: Acceptance = Acceptance()
    run: RunSettings = RunSettings()
    budget: Budget = Budget()
    prompts: PromptSettings = PromptSettings()

    @field_validator("endpoints")
    @classmethod
    def _no_secret_in_addresses(
        cls, endpoints: dict[str, EndpointConfig]
    ) -> dict[str, EndpointConfig]:
        for name, config in endpoints.items():
            if config.base_url and "@" in urlsplit(config.base_url).netloc:
                raise ValueError(
                    f"base_url of {name} holds a user name or a key, and a configuration is "
                    "written to run folders; name an environment variable as api_key_env instead"
                )
        return endpoints

    @field_validator("models")
    @classmethod
    def _roles_are_known(cls, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        for role in models:
            if role not in ROLES:
                near = get_close_matches(role, ROLES, n=1)
                hint = f"did you mean {near[0]}?" if near else f"roles are {', '.join(ROLES)}"
                raise ValueError(f"there is no role {role}; {hint}")
        return models

    @model_validator(mode="after")
    def _models_are_complete(self) -> "Settings":
        if self.endpoints and not self.models:
            raise ValueError("endpoints are configured but no models; add models.challenger, …")
        for role in ROLES if self.models else ():
            endpoint(self.model(role).endpoint, self.endpoints)
        return self

    @model_validator(mode="after")
    def _gate_can_be_passed(self) -> "Settings":
        task = TASKS.get(self.run.task or "")
        if task and not task.has_rubric:
            attempts = self.choices.strong_attempts or task.strong_attempts
            if self.acceptance.strong_correct_min > attempts:
                raise ValueError(
                    f"acceptance.strong_correct_min is {self.acceptance.strong_correct_min} of "
                    f"{attempts} strong attempts: nothing could be accepted"
                )
        return self

    def model(self, role: str) -> ModelConfig:
        """The model that plays a role. Raises agents.errors.UnknownRole."""
        return resolve(role, self.models)

    @property
    def roles(self) -> dict[str, str]:
        """Role → `endpoint/model`, for every role that a run of any task asks."""
        asked = [role for role in ROLES if role not in OPTIMIZER_ROLES]
        return {role: f"{self.model(role).endpoint}/{self.model(role).model}" for role in asked}

    @property
    def simulated(self) -> bool:
        """True when a model of the run is a simulated one, here or behind an endpoint."""
        return any(name.rpartition("/")[2].startswith(SIMULATED) for name in self.roles.values())

    @property
    def choices(self) -> RunChoices:
        """What the run decides about every document."""
        return RunChoices(
            **self.acceptance.model_dump(),
            rounds=self.run.rounds,
            challengers=self.run.challengers,
            attempts=self.run.attempts,
            weak_attempts=self.model("weak_solver").attempts,
            strong_attempts=self.model("strong_solver").attempts,
        )

    def resolved(self, task: TaskName, revision: str, path: str | None) -> "Settings":
        """These settings with nothing left open: task, seed and exact prompt revision."""
        seed = 0 if self.run.seed is None and self.simulated else self.run.seed
        run = self.run.model_copy(update={"task": task, "seed": seed})
        prompts = PromptSettings(path=path, revision=revision)
        return self.model_copy(update={"run": run, "prompts": prompts})

    def plain(self) -> dict[str, Any]:
        """As written to YAML and JSON: values only; what is null is left out."""
        return self.model_dump(mode="json", exclude_none=True)


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys that may not change within a run and did, each as `key: old → new`."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {before.get(key, 'not set')} → {after.get(key, 'not set')}"
        for key in keys
        if before.get(key) != after.get(key) and not key.startswith(MAY_CHANGE)
    ]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
