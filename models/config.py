"""Which model plays which role, and where it is reached."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from autodata.models.errors import UnknownRole

SIMULATED = "simulated"  # the endpoint inside this process

ADDRESS_ENV = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"
MILLION = 1_000_000
WEB = r"^https?://"
VARIABLE = r"^([A-Za-z_][A-Za-z0-9_]*)?$"  # a name; a key that was put in its place mostly is none

# Role → the role whose model it takes when it has none of its own.
FALLBACK: Mapping[str, str] = {
    "orchestrator": "challenger",
    "verifier": "challenger",
    "judge": "verifier",
    "loop_judge": "judge",
    "extractor": "verifier",
    "final_verifier": "verifier",
    "second_judge": "final_verifier",
    "optimizer": "challenger",
    "analyst": "optimizer",
    "editor": "optimizer",
}
ROLES = ("challenger", "weak_solver", "strong_solver", *FALLBACK)
EMBEDDINGS = "embeddings"  # asked for vectors, and by no run
CONFIGURED = (*ROLES, EMBEDDINGS)  # what `models` may name

Streaming = Literal["auto", "always", "never"]


class EndpointConfig(BaseModel):
    """One OpenAI-compatible server.

    Without `base_url` it is api.openai.com or what OPENAI_BASE_URL says, with the key from
    OPENAI_API_KEY; with one, the key comes from the environment variable that `api_key_env` names,
    and none is sent when it names none. `rpm` and `tpm` are requests and tokens (in and out) per
    minute, null for no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str | None = Field(None, pattern=WEB)
    api_key_env: str | None = Field(None, pattern=VARIABLE)
    max_concurrency: int = Field(64, ge=1, le=10_000, description="Requests in flight at once")
    rpm: int | None = Field(None, ge=1)
    tpm: int | None = Field(None, ge=1)
    timeout: float = Field(
        600.0, gt=0, description="Seconds of silence until a request counts as hung"
    )
    stream: Streaming = Field(
        "auto",
        description="Whether answers are taken word by word, so that slow is told from dead; "
        "auto: unless they come soon",
    )
    batch: bool = Field(True, description="Whether it has a batch API, for runs in batch mode")
    max_reply_mb: float = Field(8.0, gt=0, le=1024, description="MiB that one reply may have")
    give_up_after: float = Field(
        120.0, ge=0, description="Seconds of nothing but failures until the run pauses"
    )
    backoff: float = Field(0.5, gt=0, description="Seconds before the first retry, then doubling")

    @property
    def address(self) -> str:
        """Where it is reached."""
        return (self.base_url or os.environ.get(ADDRESS_ENV) or OPENAI).rstrip("/")

    @property
    def fault(self) -> str:
        """Why nothing can be asked at its address, to be read after its name; "" if it can."""
        try:
            parts = urlsplit(self.address)
            host, _ = (parts.hostname or "").encode("idna"), parts.port
        except ValueError:
            return "is no address: its host or port cannot be"
        if "@" in parts.netloc:
            return (
                "holds a user name or a key, and a configuration is written to run folders; name "
                "an environment variable as api_key_env instead"
            )
        if parts.query or parts.fragment:
            return "holds a ? or #, and paths are added at its end; leave that part out"
        good = host and parts.scheme in ("http", "https") and len(self.address.split()) == 1
        return "" if good else "is no address: write http:// or https:// and a host, no spaces"

    @property
    def key_env(self) -> str | None:
        """The environment variable that holds its key, None when it takes none."""
        return self.api_key_env or (None if self.base_url else "OPENAI_API_KEY")


class ModelConfig(BaseModel):
    """One model on one endpoint. What is null is left to the endpoint's own default.

    `attempts` is how often a solver answers each question, `examples` how many worked examples it
    is shown first, where its task has some; `repeats` is how often the judge is asked about each
    answer, once unless stated; `extra` is sent along as it is, for instance
    {"reasoning_effort": "low"} or vLLM's {"chat_template_kwargs": {…}}.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str
    model: str = Field(min_length=1)
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    attempts: int | None = Field(None, ge=1, le=32)
    examples: int | None = Field(None, ge=0, le=32)
    repeats: int | None = Field(None, ge=1, le=9, exclude_if=lambda repeats: repeats is None)
    extra: dict[str, Any] = Field(default_factory=dict)


class Price(BaseModel):
    """US dollars per million tokens; `cached_input` (from a prefix cache) defaults to `input`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)

    def usd(self, sent: int, said: int, cached: int = 0) -> float:
        """US dollars for so many tokens in (`cached` ones among them) and out."""
        cached_input = self.input if self.cached_input is None else self.cached_input
        dollars = (sent - cached) * self.input + cached * cached_input + said * self.output
        return dollars / MILLION


def resolve(role: str, models: Mapping[str, ModelConfig]) -> ModelConfig:
    """The model that plays a role: its own, or that of the role it falls back to.

    With nothing configured but embeddings every role is simulated, and they are not. Raises
    UnknownRole.
    """
    if role not in CONFIGURED:
        raise UnknownRole(f"there is no role {role!r}; the roles are {', '.join(CONFIGURED)}")
    if role != EMBEDDINGS and not models.keys() - {EMBEDDINGS}:
        side = role.removesuffix("_solver")
        return ModelConfig(
            endpoint=SIMULATED, model=SIMULATED if side == role else f"{SIMULATED}-{side}"
        )
    asked = role
    while asked not in models:
        if asked not in FALLBACK:
            raise UnknownRole(f"no model is configured for {role}: add models.{asked}")
        asked = FALLBACK[asked]
    return models[asked]


def endpoint(name: str, endpoints: Mapping[str, EndpointConfig]) -> EndpointConfig:
    """The endpoint of this name; `simulated` needs no configuration. Raises UnknownRole."""
    if name in endpoints:
        return endpoints[name]
    if name == SIMULATED:
        return EndpointConfig()
    near = get_close_matches(name, [*endpoints, SIMULATED], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"add endpoints.{name}"
    raise UnknownRole(f"endpoint {name!r} is not configured; {hint}")
