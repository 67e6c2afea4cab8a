"""Which model plays which role: the configuration as chat models and limiters, each built once."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from autodata.ledger.calls import Call
from autodata.models.batches import LINES, SHARE, BatchTransport
from autodata.models.chat import (
    LIMIT_NAMES,
    Dialect,
    EndpointChat,
    EndpointEmbeddings,
    chat_model,
)
from autodata.models.config import (
    EMBEDDINGS,
    OPENAI,
    SIMULATED,
    EndpointConfig,
    ModelConfig,
    endpoint,
    resolve,
)
from autodata.models.errors import CallRefused, CutOff, Unauthorized, UnknownRole, WireError
from autodata.models.limits import SMALLER, RateLimiter
from autodata.models.replies import REASKS, WINDOW_FULL
from autodata.models.transport import HttpTransport, Transport, secrets
from autodata.tasks.types import digest

LONG_TOKENS = 6.0  # bytes per token, at the most, in ordinary text of any tokenizer
LOOK = 5.0  # seconds that a server may take to say how large a context window is
FIRST = 1_000  # tokens expected of a role's first reply
MORE_ROOM = 2  # times the tokens, for a reply that was cut off


@dataclass(slots=True)
class Usage:
    """What one role has used in this process; `replayed` calls were answered by the log.

    `failed` counts requests that brought no answer and were made again, `lost_tokens` what these
    may have used. `usd` is a lower bound once `unpriced` (calls of unknown price) is above zero;
    tokens and `usd` are upper bounds once `estimated` is: calls that the endpoint did not count.
    """

    calls: int = 0
    replayed: int = 0
    in_flight: int = 0
    failed: int = 0
    malformed: int = 0
    truncated: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    lost_tokens: int = 0
    estimated: int = 0

    @property
    def tokens(self) -> int:
        """Tokens in and out, those of failed requests that may have been paid for included."""
        return self.input_tokens + self.output_tokens + self.lost_tokens

    @property
    def usual(self) -> int:
        """Tokens of a reply to expect, from those so far."""
        return self.output_tokens // self.calls if self.calls else FIRST

    def add(self, call: Call) -> None:
        """Count one recorded call; a failed one only as failed."""
        self.input_tokens += call.input_tokens or 0
        self.cached_tokens += call.cached_tokens or 0
        self.output_tokens += call.output_tokens or 0
        self.usd += (call.usd or 0.0) + call.lost_usd
        self.lost_tokens += call.lost_tokens
        self.failed += call.failures
        self.estimated += call.estimated or call.lost_tokens > 0
        self.unpriced += call.usd is None and (call.status != "failed" or call.lost_tokens > 0)
        if call.status == "failed":
            return
        self.calls += 1
        self.malformed += call.status == "malformed"
        self.truncated += call.status == "truncated"


@dataclass(slots=True)
class ContextWindow:
    """How many `tokens`, prompt and reply together, a model takes at once; None while unknown."""

    tokens: int | None = None
    asked: bool = False  # whether its server was
    _bytes_per_token: float = LONG_TOKENS

    def saw(self, size: int, tokens: int) -> None:
        """Take note of how many tokens a prompt of so many bytes had."""
        if tokens:
            self._bytes_per_token = max(self._bytes_per_token, size / tokens)

    def least(self, size: int) -> int:
        """Tokens of a prompt of so many bytes, at the least."""
        return int(size / self._bytes_per_token)

    def full(self, used: int) -> bool:
        """Whether so many tokens, prompt and reply, leave no room."""
        return self.tokens is not None and used >= self.tokens - 1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint at work."""

    name: str
    config: EndpointConfig
    limiter: RateLimiter
    transport: Transport
    http: HttpTransport | None = None  # where a request is answered at once, over HTTP
    share: float = 1.0  # of the usual price


def stated(config: ModelConfig) -> int | None:
    """The longest reply in tokens by the configuration."""
    extra = (config.extra.get(name) for name in LIMIT_NAMES)
    return next((limit for limit in extra if isinstance(limit, int)), config.max_tokens)


@dataclass(frozen=True, slots=True)
class RoleModel:
    """A role and the model that plays it."""

    role: str
    config: ModelConfig
    endpoint: Endpoint
    chat: EndpointChat | EndpointEmbeddings
    dialect: Dialect
    usage: Usage
    window: ContextWindow
    identity: str  # digest of the role, the model and its parameters

    @property
    def stated(self) -> int | None:
        """As `stated` of its configuration; vectors count as one token."""
        return 1 if self.role == EMBEDDINGS else stated(self.config)

    def check_length(self, size: int) -> None:
        """Raises CallRefused for a prompt of so many bytes that certainly does not fit: nobody need
        be asked."""
        least = self.window.least(size)
        if self.window.tokens is not None and least >= self.window.tokens:
            raise CallRefused(
                f"the prompt of the {self.role} has more than {least:,} tokens, and the context "
                f"window of {self.config.endpoint}/{self.config.model} {self.window.tokens:,}",
                SMALLER,
            )

    def more_room(self, cut: Call, had: int | None) -> int | None:
        """Tokens for the reply that was cut off; None where its context window was the limit."""
        if self.window.full((cut.input_tokens or 0) + (cut.output_tokens or 0)):
            return None
        used = 0 if cut.estimated else cut.output_tokens or 0
        return MORE_ROOM * max(had or 0, self.stated or 0, used) or None

    def cut_off(self, cut: Call) -> CutOff:
        """What to raise for a reply that was cut off whatever room there was for it."""
        more = f"Raise models.{self.role}.max_tokens"
        if not self.stated:
            more = f"State models.{self.role}.max_tokens"
        return CutOff(
            f"a reply of the {self.role.replace('_', ' ')} never came to its end, though it was "
            f"asked for {1 + REASKS} times: {cut.error}",
            SMALLER
            if WINDOW_FULL in cut.error
            else f"{more} in a new run; hidden reasoning counts, too",
        )

    async def look(self) -> None:
        """Asks the server, once, how large the model's context window is; few say so."""
        window, http = self.window, self.endpoint.http
        if window.asked or http is None:
            return
        window.asked = True
        try:
            async with asyncio.timeout(min(LOOK, self.endpoint.config.timeout)):
                window.tokens = await http.window(self.config.model) or window.tokens
        except WireError as error:
            window.asked = error.status is not None
        except (TimeoutError, Unauthorized):  # whoever asks the model learns of it
            pass


class ModelRegistry:
    """Role models by role. Nothing is built, and no connection opened, before it is needed."""

    def __init__(
        self,
        endpoints: Mapping[str, EndpointConfig],
        models: Mapping[str, ModelConfig],
        *,
        wait: bool,
        batch: str | None = None,
        transports: Mapping[str, Transport] | None = None,
    ) -> None:
        """Raises UnknownRole for a model on an endpoint that is not configured."""
        self.models = dict(models)
        self.configs = dict(endpoints)
        for config in self.models.values():
            endpoint(config.endpoint, self.configs)
        self.endpoints: dict[str, Endpoint] = {}
        self.role_models: dict[str, RoleModel] = {}
        self._dialects: dict[tuple[str, str], Dialect] = {}
        self._windows: dict[tuple[str, str], ContextWindow] = {}
        self._wait = wait
        self._batch = batch
        self._transports = dict(transports or {})
        self._building = Lock()

    async def ready(self, role: str) -> RoleModel:
        """Who plays the role, without holding up the event loop. Raises UnknownRole."""
        if role in self.role_models:
            return self.role_models[role]
        return await asyncio.to_thread(self.role_model, role)

    def role_model(self, role: str) -> RoleModel:
        """Who plays the role. Raises UnknownRole."""
        with self._building:
            return self.role_models.get(role) or self._build(role)

    def _build(self, role: str) -> RoleModel:
        config = resolve(role, self.models)
        at = self.endpoint(config.endpoint)
        dialect = self._dialect(config, at)
        identity = digest(role, config.model_dump(exclude={"attempts", "examples", "repeats"}))
        chat: EndpointChat | EndpointEmbeddings
        if role == EMBEDDINGS:
            # Each text of a request has the window for itself, so that their sum says nothing.
            window = ContextWindow(asked=True, _bytes_per_token=math.inf)
            if at.http is None:
                raise UnknownRole(
                    f"models.{role}: {config.endpoint} makes no embeddings; name an endpoint that "
                    "is reached over HTTP"
                )
            chat = EndpointEmbeddings(config, at.http, self._secrets)
        else:
            chat = chat_model(config, at.transport, dialect, self._secrets, role)
            window = self._windows.setdefault((config.endpoint, config.model), ContextWindow())
        self.role_models[role] = RoleModel(
            role, config, at, chat, dialect, Usage(), window, identity
        )
        return self.role_models[role]

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of this name. Raises UnknownRole."""
        if name not in self.endpoints:
            self.endpoints[name] = self._connect(name, endpoint(name, self.configs))
        return self.endpoints[name]

    def _connect(self, name: str, config: EndpointConfig) -> Endpoint:
        if name in self._transports and name not in self.configs:
            given = self._transports[name]
            limiter = RateLimiter(name, given.base_url, config, wait=self._wait)
            return Endpoint(name, config, limiter, given)
        if name == SIMULATED and name not in self.configs:
            raise UnknownRole(f"nothing was handed in that reaches the endpoint {SIMULATED}")
        if self._batch is None or not config.batch:
            limiter = RateLimiter(name, config.address, config, wait=self._wait)
            http = HttpTransport(name, config)
            return Endpoint(name, config, limiter, http, http)
        # What limits single requests does not limit batches; how many, their transport knows.
        wide = config.model_copy(update={"max_concurrency": LINES, "rpm": None, "tpm": None})
        limiter = RateLimiter(name, config.address, wide, wait=self._wait, adaptive=False)
        batches = BatchTransport(name, config, self._batch)
        return Endpoint(name, config, limiter, batches, share=SHARE)

    def _secrets(self) -> tuple[str, ...]:
        return secrets(self.configs.values())

    def _dialect(self, config: ModelConfig, at: Endpoint) -> Dialect:
        """One per model and endpoint, shared by its roles. Only OpenAI's own models refuse
        `max_tokens`; older servers of other makes silently ignore its successor."""
        limit = LIMIT_NAMES[at.config.address == OPENAI]
        stream = at.config.stream if at.http else "never"
        dialect = Dialect(limit, stream, at.config.timeout)
        return self._dialects.setdefault((config.endpoint, config.model), dialect)
