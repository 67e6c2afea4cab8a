"""The one configuration: every layer's own settings, put together and checked as a whole.

It is read from one YAML file, then from flags; every fault names its place and a remedy. The run
folder keeps it, resolved, as `config.yaml`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from autodata.documents.text import BUDGET
from autodata.graph.state import (
    FIRST_TASK,
    Baseline,
    LoopChoices,
    RunChoices,
    TaskName,
    one_shot_choices,
    with_examples_of,
)
from autodata.models.budget import Budget
from autodata.models.config import (
    ADDRESS_ENV,
    CONFIGURED,
    ROLES,
    SIMULATED,
    VARIABLE,
    WEB,
    EndpointConfig,
    ModelConfig,
    Price,
    endpoint,
    resolve,
)
from autodata.tasks import TASKS
from autodata.tasks.acceptance import Acceptance
from autodata.tasks.judge_noise import AuditSettings

DEFAULT_FILE = Path("autodata.yaml")
Key = tuple[str, ...]

# Keys that may change between sessions: who is asked where, at what cost. Others shape examples.
MAY_CHANGE = (
    "audit.",
    "budget.",
    "endpoints.",
    "models.embeddings.",
    "models.second_judge.",
    "prices.",
    "prompts.path",
    "run.batch",
    "run.documents_in_flight",
    "run.target",
)

CHOICES = "choices"  # where the configuration of a served run keeps what its documents came with

ATTEMPTS = (
    "weak_attempts",
    "strong_attempts",
    "weak_examples",
    "strong_examples",
    "judge_repeats",
)  # choices that a configuration keeps with the models

ASKING = ("models", "endpoints", "prices", "budget")  # sections that say who is asked, and how much

# Roles that no run asks; the optimizer resolves them itself.
OPTIMIZER_ROLES = frozenset({"optimizer", "analyst", "editor"})

# What a baseline does without: roles that it does not ask, and keys that change nothing in it.
FEEDBACK_ROLES = frozenset({"orchestrator", "verifier"})
SCORE_KEYS = ("run.rounds", "run.challengers", "run.attempts", "run.review", "acceptance.confirm")


class SettingsSection(BaseModel):
    """Base of every section: an unknown key is an error, and no section changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSettings(LoopChoices, SettingsSection):
    """What one run does: what it decides about every document, and what to do with how many."""

    task: TaskName | None = Field(None, description=f"what to make examples of: {', '.join(TASKS)}")
    baseline: Baseline | None = Field(
        None, description="the one-shot method that writes the questions; null: the loop does"
    )
    batch: bool = Field(False, description="ask through the endpoints' batch APIs: half the price")
    documents_in_flight: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    target: int | None = Field(None, ge=1, description="accepted documents that are enough")
    per_document: int = Field(1, ge=1, le=1000, description="passages taken from one document")
    passage_tokens: int = Field(BUDGET, ge=200, le=1_000_000, description="per passage, at most")
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="of the simulated models; 0 unless stated"
    )


class PromptSettings(SettingsSection):
    """Where the editable prompts come from.

    `path` is a prompt store; null takes ./prompts if there is one, else the packaged prompts.
    `revision` is a commit, branch or tag of the store (null: main), or `seed-…` when packaged.
    """

    path: str | None = None
    revision: str | None = Field(None, description="revision of the prompt store to use")


class Settings(SettingsSection):
    """The whole configuration. With no model configured, every role is simulated."""

    endpoints: dict[str, EndpointConfig] = Field(default_factory=dict)
    models: dict[str, ModelConfig] = Field(default_factory=dict)
    prices: dict[str, Price] = Field(default_factory=dict)
    acceptance: Acceptance = Acceptance()
    audit: AuditSettings = Field(AuditSettings(), exclude_if=lambda audit: not audit.share)
    run: RunSettings = RunSettings()
    budget: Budget = Budget()
    prompts: PromptSettings = PromptSettings()

    @field_validator("endpoints")
    @classmethod
    def _addresses_can_be_reached(
        cls, endpoints: dict[str, EndpointConfig]
    ) -> dict[str, EndpointConfig]:
        for name, config in endpoints.items():
            if fault := config.fault:
                what = f"base_url of {name}" if config.base_url else ADDRESS_ENV
                raise ValueError(f"{what} {fault}")
        return endpoints

    @field_validator("models")
    @classmethod
    def _roles_are_known(cls, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        for role, config in models.items():
            if role not in CONFIGURED:
                near = get_close_matches(role, CONFIGURED, n=1)
                hint = f"did you mean {near[0]}?" if near else f"roles are {', '.join(CONFIGURED)}"
                raise ValueError(f"there is no role {role}; {hint}")
            if config.repeats and role != "judge":
                raise ValueError(
                    f"{role} has repeats, and only the judge is asked several times about the same "
                    "answer; state models.judge.repeats, or attempts of a solver"
                )
        return models

    @model_validator(mode="after")
    def _models_are_complete(self) -> "Settings":
        if self.endpoints and not self.models:
            raise ValueError("endpoints are configured but no models; add models.challenger, …")
        for role in self._asked if self.models else ():
            endpoint(self.model(role).endpoint, self.endpoints)
        return self

    @property
    def _asked(self) -> list[str]:
        """Every role, or those that the run's task asks where code plays the others."""
        task, unasked = TASKS.get(self.run.task or ""), FEEDBACK_ROLES if self.run.baseline else ()
        asked = [role for role in ROLES if task is None or task.asks(role)]
        return [role for role in asked if role not in unasked]

    @property
    def unread(self) -> list[str]:
        """The stated keys that change nothing, each with the reason, for people."""
        task, stated = self.run.task or "", dict(_leaves(self.plain()))
        said = [
            f"acceptance.{key} changes nothing: {task} decides without it"
            for key in TASKS[task].unread(self.acceptance)
        ]
        keys = (key for key in SCORE_KEYS if stated.get(key) != _defaults().get(key))
        why = "a baseline has one shot, and asks both sides"
        return said + [f"{key} changes nothing: {why}" for key in keys if self.run.baseline]

    @model_validator(mode="after")
    def _gate_can_be_passed(self) -> "Settings":
        if task := TASKS.get(self.run.task or ""):
            with_examples_of(task, self.choices)
            weak = self.choices.weak_attempts or task.weak_attempts
            task.policy(self.acceptance, weak, self.choices.strong_attempts or task.strong_attempts)
        return self

    def model(self, role: str) -> ModelConfig:
        """The model that plays a role. Raises agents.errors.UnknownRole."""
        return resolve(role, self.models)

    @property
    def roles(self) -> dict[str, str]:
        """Role → `endpoint/model`, for every role that a run asks: of its task, else of any."""
        others = OPTIMIZER_ROLES if self.audit.share else {*OPTIMIZER_ROLES, "second_judge"}
        asked = [role for role in self._asked if role not in others]
        return {role: f"{self.model(role).endpoint}/{self.model(role).model}" for role in asked}

    @property
    def simulated(self) -> bool:
        """True when a model of the run is a simulated one, here or behind an endpoint."""
        return any(name.rpartition("/")[2].startswith(SIMULATED) for name in self.roles.values())

    @property
    def choices(self) -> RunChoices:
        """What the run decides about every document."""
        judge = self.models.get("judge")  # whose repeats no other role takes over
        choices = RunChoices(
            **self.acceptance.model_dump(),
            **{
                name: getattr(self.run, name)
                for name in LoopChoices.model_fields
                if name != "review"
            },
            review=self.run.review if self.run.review == "before_accept" else None,
            weak_attempts=self.model("weak_solver").attempts,
            strong_attempts=self.model("strong_solver").attempts,
            weak_examples=self.model("weak_solver").examples,
            strong_examples=self.model("strong_solver").examples,
            judge_repeats=judge.repeats if judge else None,
        )
        return one_shot_choices(choices) if self.run.baseline else choices

    def resolved(self, task: TaskName, revision: str, path: str | None) -> "Settings":
        """These settings with nothing left open: task, seed and exact prompt revision."""
        seed = 0 if self.run.seed is None and self.simulated else self.run.seed
        run = self.run.model_copy(update={"task": task, "seed": seed})
        prompts = PromptSettings(path=path, revision=revision)
        return self.model_copy(update={"run": run, "prompts": prompts})

    def stating(self, choices: RunChoices) -> dict[str, Any]:
        """As `plain`, with these choices in place of the configured ones; `choices` holds all."""
        said = choices.model_dump(mode="json", exclude_none=True)
        sections = {"acceptance": Acceptance.model_fields, "run": LoopChoices.model_fields}
        plain = self.plain() | {CHOICES: said}
        for section, ours in sections.items():
            kept = {key: value for key, value in plain[section].items() if key not in ours}
            plain[section] = kept | {key: value for key, value in said.items() if key in ours}
        return plain

    def plain(self) -> dict[str, Any]:
        """As written to YAML and JSON: values only; what is null is left out."""
        return self.model_dump(mode="json", exclude_none=True)


def with_attempts(choices: RunChoices, config: Mapping[str, Any]) -> RunChoices:
    """The choices with the attempts that a served run's configuration recorded by `stating`."""
    stated = {name: n for name, n in config.get(CHOICES, {}).items() if name in ATTEMPTS}
    return choices.model_copy(update=stated)


def shaping(values: Mapping[str, Any]) -> dict[str, Any]:
    """What shapes the examples, by key: configurations that agree on it are one and the same."""
    return {key: value for key, value in _leaves(values) if not key.startswith(MAY_CHANGE)}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys that may not change within a run and did, each as `key: old → new`.

    A key that the version which began the run did not know had its default.
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    before = {key: value for key, value in _defaults().items() if key in after} | before
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {before.get(key, 'not set')} → {after.get(key, 'not set')}"
        for key in keys
        if before.get(key) != after.get(key) and not key.startswith(MAY_CHANGE)
    ]


@cache
def _defaults() -> Mapping[str, Any]:
    return dict(_leaves(Settings().plain()))


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


class SettingsError(ValueError):
    """A configuration that cannot be used; one line per fault, each with its place."""


@dataclass(frozen=True)
class Override:
    """A flag that sets one key: `source` is what the user typed, such as `--rounds 3`."""

    key: str
    value: Any
    source: str

    @classmethod
    def parse(cls, text: str) -> "Override":
        """From `--set a.b=value`, the value being YAML. Raises SettingsError."""
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise SettingsError(f"--set {text}: write --set key=value, such as run.rounds=6")
        try:
            return cls(key, yaml.safe_load(value), f"--set {text}")
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
            raise SettingsError(f"--set {text}: the value is not YAML") from error
        except RecursionError as error:
            raise SettingsError(f"--set {key}=…: the value is nested too deeply") from error


@dataclass
class _Source:
    """The values read so far, and where each came from."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    overrides: dict[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Where a key was set: the flag, or file and line."""
        for length in range(len(key), 0, -1):
            if flag := self.overrides.get(key[:length]):
                return flag
            if line := self.lines.get(key[:length]):
                return f"{self.name}, line {line}"
            for below, flag in self.overrides.items():
                if below[:length] == key[:length]:
                    return flag
        return self.name


def load(file: Path | None = None, overrides: Sequence[Override] = ()) -> Settings:
    """The settings of a file (by default `autodata.yaml` if there is one) and of flags.

    Raises SettingsError.
    """
    try:
        source = _read(file) if file or DEFAULT_FILE.is_file() else _Source("the configuration")
        return _overridden(source, overrides)
    except RecursionError as error:
        raise SettingsError(
            f"{file or DEFAULT_FILE}: is nested too deeply, or a part of it contains itself"
        ) from error


def read(values: Mapping[str, Any], name: str, overrides: Sequence[Override] = ()) -> Settings:
    """The settings that were written down as `plain`, and flags; faults call their place `name`.

    Raises SettingsError.
    """
    return _overridden(_Source(name, deepcopy(dict(values))), overrides)


def read_over(
    values: Mapping[str, Any], name: str, file: Path | None, overrides: Sequence[Override] = ()
) -> Settings:
    """As `read`, with the models, endpoints, prices and budget of a file, where there is one, laid
    over them: model by model, endpoint by endpoint. What else the file says stays aside.

    Raises SettingsError.
    """
    source = _read(file) if file else _Source(name)
    laid = deepcopy(dict(values))
    for section, stated in source.values.items():
        if section in ASKING and isinstance(stated, dict):
            laid[section] = {**laid.get(section, {}), **stated}
        elif section in ASKING or section not in Settings.model_fields:
            laid[section] = stated  # to be refused by its place
    source.values = laid
    return _overridden(source, overrides)


def _overridden(source: _Source, overrides: Sequence[Override]) -> Settings:
    for override in overrides:
        _override(source, override)
    return _validated(source)


def with_task(settings: Settings) -> Settings:
    """The settings, if they say which task it is. Raises SettingsError."""
    if settings.run.task is None:
        *others, last = (f"--task {name}" for name in TASKS)
        raise SettingsError(f"which task is it? Say {', '.join(others)} or {last}")
    return settings


def with_baseline(settings: Settings) -> Settings:
    """The settings, if they name a method that their task can have. Raises SettingsError."""
    task = TASKS[settings.run.task or FIRST_TASK]
    if settings.run.baseline is None:
        *others, last = (f"--method {name}" for name in get_args(Baseline))
        raise SettingsError(f"which method is it? Say {', '.join(others)} or {last}")
    if task.procedure:
        able = ", ".join(name for name, other in TASKS.items() if not other.procedure)
        raise SettingsError(
            f"{task.name} has no baseline: code writes its questions, and no model could write "
            f"them in one shot instead. There are baselines of {able}"
        )
    return settings


def without_baseline(settings: Settings, who: str) -> Settings:
    """The settings, unless they name a method, which `who` does not have. Raises SettingsError."""
    if settings.run.baseline:
        raise SettingsError(
            f"run.baseline: {settings.run.baseline} is for `autodata baseline`; {who} takes none"
        )
    return settings


def dump(settings: Settings) -> str:
    """The settings as YAML that `load` reads back to equal settings."""
    text: str = yaml.safe_dump(settings.plain(), sort_keys=False, allow_unicode=True)
    return text


def _read(file: Path | None) -> _Source:
    path = file or DEFAULT_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not a text file in UTF-8") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        raise SettingsError(f"{path}{_mark(error)}: not YAML: {_problem(error)}") from error
    if not isinstance(values or {}, dict):
        raise SettingsError(f"{path}: holds no configuration; see autodata.example.yaml")
    source = _Source(str(path), _sections(values or {}), dict(_lines(root)))
    if twice := _twice(root):
        raise SettingsError(f"{source.place(twice)}: {'.'.join(twice)} stands twice")
    return source


def _mark(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or " ".join(str(error).split()))


def _sections(values: dict[str, Any]) -> dict[str, Any]:
    """A section or endpoint that is named and left empty is an empty section."""
    sections = {name: {} if value is None else value for name, value in values.items()}
    if isinstance(sections.get("endpoints"), dict):
        endpoints = sections["endpoints"]
        sections["endpoints"] = {n: {} if c is None else c for n, c in endpoints.items()}
    return sections


def _pairs(node: yaml.Node | None, key: Key = ()) -> Iterator[tuple[Key, yaml.Node]]:
    """Every key of a YAML mapping, at any depth, with the node of its name."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield (*key, str(name.value)), name
            yield from _pairs(value, (*key, str(name.value)))


def _lines(root: yaml.Node | None) -> Iterator[tuple[Key, int]]:
    for key, node in _pairs(root):
        yield key, node.start_mark.line + 1


def _twice(root: yaml.Node | None) -> Key | None:
    seen: set[Key] = set()
    for key, _ in _pairs(root):
        if key in seen:
            return key
        seen.add(key)
    return None


def _override(source: _Source, override: Override) -> None:
    *parents, name = key = tuple(override.key.split("."))
    values = source.values
    for depth, parent in enumerate(parents, 1):
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise SettingsError(
                f"{override.source}: {'.'.join(key[:depth])} is a value, not a section"
            )
    values[name] = override.value
    source.overrides[key] = override.source


def _validated(source: _Source) -> Settings:
    infinite = [
        f"{source.place(key)}: {'.'.join(key)} is not a finite number"
        for key, value in _values(source.values)
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if infinite:
        raise SettingsError("\n".join(infinite))
    try:
        return Settings.model_validate(source.values, strict=True)
    except ValidationError as error:
        raise SettingsError("\n".join(_faults(source, error))) from error


def _faults(source: _Source, error: ValidationError) -> Iterator[str]:
    """One line per key that is wrong, with its place."""
    for key, said in faults(error, source.values):
        yield f"{source.place(key)}: {said}"


def faults(error: ValidationError, values: Any) -> Iterator[tuple[Key, str]]:
    """Each key of these values that is wrong, and the sentence that says so."""
    by_key: dict[Key, list[Any]] = {}
    for found in error.errors():
        by_key.setdefault(_key(found["loc"], values), []).append(found)
    for key, wrong in by_key.items():
        said = " or ".join(_message(fault, key) for fault in wrong)
        given = wrong[0]["input"]
        if "must be" in said and isinstance(given, bool | int | float):
            said += f", not {str(given).lower()}"
        name = ".".join(key) + (" " if said.startswith(("must", "is ")) else ": ")
        yield key, f"{name if key else ''}{said}"


def _values(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _values(inner, (*key, str(name)))
    else:
        yield key, value


def _key(loc: Sequence[int | str], values: Any) -> Key:
    """The part of a pydantic location that is a key of ours; unions append their members."""
    key: list[str] = []
    for part in loc:
        if not isinstance(values, Mapping) or (part not in values and part == "[key]"):
            break
        key.append(str(part))
        values = values.get(part)
    return tuple(key)


# Kinds of fault of which pydantic speaks in terms of Python.
_SAID = {
    "missing": "is missing",
    "model_type": "must be a section, such as {key: value}",
    "dict_type": "must be a section, such as {key: value}",
}

# What a text must be, by the pattern that it does not fit. It is not repeated: it may be a key.
_PATTERNS = {
    WEB: "must begin with http:// or https://",
    VARIABLE: "must be the name of an environment variable that holds the key, not the key",
}


def _message(found: Any, key: Key) -> str:
    """What is wrong with the key, to be read after its name."""
    if found["type"] == "extra_forbidden":
        return _unknown(key)
    if found["type"] == "string_pattern_mismatch":
        return _PATTERNS[found["ctx"]["pattern"]]
    if found["type"] in _SAID:
        return _SAID[found["type"]]
    return str(found["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def _unknown(key: Key) -> str:
    """The nearest known key: the same name elsewhere, else one like it beside it or elsewhere."""
    *parents, name = key
    beside = {known: ".".join([*parents, known]) for known in _known(tuple(parents))}
    others = {known: f"{top}.{known}" for top in Settings.model_fields for known in _known((top,))}
    for known in ({name: others[name]} if name in others else {}, beside, others):
        if near := get_close_matches(name, known, n=1):
            return f"is not a known key; did you mean {known[near[0]]}?"
    return f"is not a known key; known are {', '.join(beside)}"


def _known(key: Key) -> list[str]:
    """The names that may stand below a key."""
    kind: Any = Settings
    for part in key:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        else:
            return []
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    return list(kind.model_fields) if is_model else []
