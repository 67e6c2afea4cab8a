"""Where models are called: role in, words or a checked value out. Nothing else calls a model.

A call is looked up in the log first. If it was never answered it waits for its turn at the rate
limiter, reserves its worst case from the budget, is asked, and is written down before anyone sees
the reply.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from itertools import count
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel

from autodata.ledger.calls import Call, CallLog, CallLogError, CallStatus
from autodata.models.budget import (
    OUTPUT,
    Budget,
    BudgetTracker,
    Cost,
    Prices,
    Reservation,
    WorstCase,
)
from autodata.models.chat import LIMIT_NAMES, decode, plain
from autodata.models.config import EMBEDDINGS, EndpointConfig, ModelConfig, Price, endpoint
from autodata.models.errors import CONTEXT_FULL, CallRefused, Paused, WireError
from autodata.models.limits import EndpointState, Permit
from autodata.models.registry import ContextWindow, ModelRegistry, RoleModel, Usage
from autodata.models.replies import (
    BOUNDS,
    REASKS,
    WINDOW_FULL,
    Malformed,
    Reading,
    StructuredReply,
    TextReply,
    Vector,
    faulted,
    parse,
    response_format,
    text_key,
    vectors,
    without,
)
from autodata.models.transport import Transport
from autodata.prompt_store.prompt import Message
from autodata.tasks.types import digest

R = TypeVar("R", bound=BaseModel)

TEXTS = 32  # of one request for vectors, the most that some servers take
KEY = 32  # hex digits: 128 bits tell any two requests apart
BYTES_PER_TOKEN = 3  # of UTF-8 per token, at the least, in ordinary text of any script
FRAME = 16  # tokens that a chat template puts around a message, at the most
WORDING = 256  # tokens that a schema or tools are introduced with, at the most
SEEDS = 2**31  # what every endpoint takes as a seed lies below


@dataclass(frozen=True, slots=True)
class Request:
    """A request to one role_model. `options` are the parameters that differ from call to call."""

    role_model: RoleModel
    scope: str
    sample: int
    messages: Sequence[Mapping[str, str]]
    reply: type[BaseModel] | None
    key: str
    options: Mapping[str, Any]
    room: int | None = None  # tokens of the reply, where more than usual are needed

    @classmethod
    def of(
        cls,
        role_model: RoleModel,
        messages: Sequence[Mapping[str, str]],
        *,
        scope: str,
        sample: int,
        reply: type[BaseModel] | None = None,
        again: int = 0,
        tools: Sequence[Mapping[str, Any]] = (),
        seed: int | None = None,
        room: int | None = None,
    ) -> "Request":
        """The request with its key and, when the run has a seed, a seed of its own.

        `tools` are those that the model may call, as OpenAI's function schemas.

        `again` counts how often the reply had to be asked for again: a model that repeats its
        mistake is asked in the same words, and still anew.

        The key covers everything that shapes the answer and nothing that only carries it: not the
        address, and not what the endpoint turned out to take.
        """
        said = _digest(messages)
        options: dict[str, Any] = {}
        if seed is not None:
            options["seed"] = (
                int(digest(seed, role_model.role, said, sample, again)[:12], 16) % SEEDS
            )
        if reply is not None:
            options["response_format"] = response_format(reply)
        if tools:
            options["tools"] = list(tools)
        schema = _schema(reply) if reply else ""
        shape = [sample, schema, again, *([digest(tools)] if tools else [])]
        key = digest(role_model.identity, said, options.get("seed"), *shape)[:KEY]
        return cls(role_model, scope, sample, messages, reply, key, options, room)

    @property
    def id(self) -> str:
        """What names the request within the run."""
        return digest(self.scope, self.key)[:KEY]

    @property
    def tokens(self) -> int:
        """Length of the prompt in tokens, rather too high: for rates, not for counts."""
        said = sum(
            _bytes(message["content"]) // BYTES_PER_TOKEN + 1 + FRAME for message in self.messages
        )
        return said + self._attached // BYTES_PER_TOKEN

    @property
    def size(self) -> int:
        """Bytes of the messages."""
        return sum(_bytes(message["content"]) for message in self.messages)

    @property
    def most_tokens(self) -> int:
        """Length of the prompt in tokens, at the very most: one per byte."""
        said = sum(_bytes(message["content"]) + FRAME for message in self.messages)
        attached = self._attached
        return said + (attached + WORDING if attached else 0)

    @property
    def _attached(self) -> int:
        """Bytes of the schema and the tools, about."""
        tools = self.options.get("tools")
        return (_schema_bytes(self.reply) if self.reply else 0) + (
            _bytes(str(tools)) if tools else 0
        )


class Models:
    """The models of a run, by role.

    `complete`, `complete_as` and `chat` raise Paused (EndpointDown, Unauthorized, ModelMissing,
    BudgetReached) when the run cannot go on, CallRefused when this one request is hopeless (CutOff
    when the reply to it never came to its end), UnknownRole for a role without a model. Scopes keep
    the order in which they first called: earlier ones go first.
    """

    def __init__(
        self,
        *,
        log: CallLog,
        endpoints: Mapping[str, EndpointConfig] | None = None,
        models: Mapping[str, ModelConfig] | None = None,
        prices: Mapping[str, Price] | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        wait: bool = False,
        batch: str | None = None,
        transports: Mapping[str, Transport] | None = None,
    ) -> None:
        """With `batch`, the run's id, calls go through the endpoints' batch API. `transports` reach
        the endpoints of these names, which are not called over HTTP.

        Raises UnknownRole for a model on an unknown endpoint, UnknownPrice for a budget in USD
        over a model whose price nobody stated."""
        self.log = log
        self.seed = seed
        self.registry = ModelRegistry(
            endpoints or {}, models or {}, wait=wait, batch=batch, transports=transports
        )
        self.prices = Prices(prices or {})
        self.budget_tracker = BudgetTracker(budget or Budget(), log.spent())
        self._order: dict[str, int] = {}
        self._numbers = count()
        self._asking = WeakValueDictionary[tuple[str, str], asyncio.Lock]()
        self._in_flight: dict[tuple[str, str], asyncio.Task[tuple[Call, Any]]] = {}
        self._full: dict[tuple[str, str], int] = {}  # model → tokens of a prompt; see `_limit`
        self._within = ""
        if self.budget_tracker.budget.usd is not None:
            for config in self.registry.models.values():
                self.prices.check(config, endpoint(config.endpoint, self.registry.configs))

    async def complete(
        self, role: str, messages: Sequence[Message], *, scope: str, sample: int = 1
    ) -> TextReply:
        """The role's reply in words. `sample` numbers repeated attempts at the same messages."""
        role_model = await self.registry.ready(role)
        request = Request.of(
            role_model, _plain(messages), scope=self._scope(scope), sample=sample, seed=self.seed
        )
        call, _ = await self._answer(request)
        return TextReply(
            text=call.response,
            truncated=call.status == "truncated",
            problem=call.error,
            call_id=call.id or 0,
        )

    async def complete_as(
        self,
        role: str,
        messages: Sequence[Message],
        reply: type[R],
        *,
        scope: str,
        sample: int = 1,
    ) -> StructuredReply[R]:
        """The role's reply as a `reply`; what does not fit is asked for again, twice at most, and
        so is what was cut off, with more room."""
        role_model = await self.registry.ready(role)
        asked = conversation = _plain(messages)
        room: int | None = None
        for again in range(1 + REASKS):
            request = Request.of(
                role_model,
                conversation,
                scope=self._scope(scope),
                sample=sample,
                reply=reply,
                again=again,
                seed=self.seed,
                room=room,
            )
            call, value = await self._answer(request)
            call_id = call.id or 0
            if call.status == "ok" and value is None:  # from the log
                try:
                    value = await parse(call.response, reply)
                except Malformed as error:  # accepted by an earlier version
                    call = replace(call, error=str(error))
            if value is not None:
                return StructuredReply(value=value, call_id=call_id)
            if call.status == "truncated":
                room = role_model.more_room(call, room)
            conversation = [*asked, *faulted(call.response, call.error, call.status == "truncated")]
        if call.status == "truncated":
            raise role_model.cut_off(call)
        return StructuredReply(value=None, problem=call.error, call_id=call_id)

    async def chat(
        self,
        role: str,
        messages: Sequence[BaseMessage],
        tools: Sequence[Mapping[str, Any]],
        *,
        scope: str,
    ) -> AIMessage:
        """The role's next message in a conversation, with the tools (function schemas) at hand."""
        role_model = await self.registry.ready(role)
        request = Request.of(
            role_model,
            [plain(message) for message in messages],
            scope=self._scope(scope),
            sample=1,
            tools=tools,
            seed=self.seed,
        )
        call, _ = await self._answer(request)
        return decode(call.response)

    async def embed(self, texts: Sequence[str], *, scope: str) -> dict[str, Vector]:
        """The vectors of these texts, by `text_key`; what is on record is not asked for again.

        A text has none where the endpoint refuses it, mostly for its length. Raises CallRefused
        where it refuses the shortest."""
        role_model = await self.registry.ready(EMBEDDINGS)
        within = self._scope(f"{scope}/{role_model.identity[:8]}")
        await self._load(within)
        known = vectors(call.response for call in self.log.answers(within))
        lacking = [text for text in dict.fromkeys(texts) if text_key(text) not in known]
        lacking.sort(key=len)
        if lacking:
            await self._embed(role_model, within, lacking[:1], alone=True)
        batches = [lacking[at : at + TEXTS] for at in range(1, len(lacking), TEXTS)]
        await asyncio.gather(*(self._embed(role_model, within, batch) for batch in batches))
        return vectors(call.response for call in self.log.answers(within))

    async def _embed(
        self, role_model: RoleModel, scope: str, texts: Sequence[str], *, alone: bool = False
    ) -> None:
        """Ask for vectors; of texts that are refused together, for those of each half."""
        asked = [{"role": "user", "content": text} for text in texts]
        try:
            await self._answer(Request.of(role_model, asked, scope=scope, sample=1))
        except CallRefused:
            if alone:
                raise
            half = len(texts) // 2
            for part in (texts[:half], texts[half:]) if half else ():
                await self._embed(role_model, scope, part)

    def apart(self, name: str, replicate: int = 1) -> "Models":
        """The same models, limits and budget for a piece of work that shares no replies.

        Its scopes lie within `name`; each replicate (from 1) of a seeded run has its own seed.
        """
        other = copy(self)
        other._within = f"{self._within}{name}/"
        other.seed = None if self.seed is None else self.seed + replicate - 1
        return other

    def usage(self) -> dict[str, Usage]:
        """What each role that was called has used, by role; live."""
        return {
            role: role_model.usage for role, role_model in list(self.registry.role_models.items())
        }

    def endpoints_state(self) -> tuple[EndpointState, ...]:
        """How each endpoint that was needed so far is doing now, for people who watch."""
        return tuple(at.limiter.state() for at in list(self.registry.endpoints.values()))

    def stop(self, reason: Paused) -> None:
        """Make no further call: each raises `reason`. Calls in flight end as they do."""
        self.budget_tracker.close(reason)

    def forget(self, scope: str) -> None:
        """Drop a finished scope from memory."""
        self._order.pop(self._scope(scope), None)
        self.log.forget(self._scope(scope))

    async def aclose(self) -> None:
        """Drop what is in flight still, and close the connections. The log stays open: it belongs
        to whoever opened it."""
        for asked in (dropped := list(self._in_flight.values())):
            asked.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)
        for at in self.registry.endpoints.values():
            await at.transport.aclose()

    def _scope(self, scope: str) -> str:
        return self._within + scope

    async def _answer(self, request: Request) -> tuple[Call, Any]:
        """The recorded call for this request, made now unless the log has it; then with the value
        of a structured reply, which is not read twice."""
        # Who asks the same at the same time waits, and then reads the answer of the first.
        async with self._asking.setdefault((request.scope, request.key), asyncio.Lock()):
            if left := self._in_flight.get((request.scope, request.key)):  # by one cancelled
                await asyncio.wait([left])
            await self._load(request.scope)
            if recorded := self.log.recorded(request.scope, request.key):
                request.role_model.usage.replayed += 1
                return recorded, None
            return await self._ask(request)

    async def _load(self, scope: str) -> None:
        """Have the recorded calls of this scope at hand."""
        if not self.log.loaded(scope):
            await asyncio.to_thread(self.log.load, scope)

    async def _ask(self, request: Request) -> tuple[Call, Any]:
        """Ask until there is an answer, differently where the endpoint wants it."""
        role_model, refused = request.role_model, False
        await role_model.look()
        role_model.check_length(request.size)
        limit = self._limit(request)
        for tries in count(1):
            try:
                answer = await self._try(request, limit)
            except WireError as error:
                role_model.window.tokens = error.window or role_model.window.tokens
                if limit and error.status in (400, 422) and _too_long(error):
                    limit, refused = None, True
                elif not role_model.dialect.learn(error):
                    await role_model.endpoint.limiter.recover(error, tries)
            else:
                if refused and not request.room:
                    model = (role_model.config.endpoint, role_model.config.model)
                    known = self._full.get(model, request.most_tokens)
                    self._full[model] = min(known, request.most_tokens)
                return answer
        raise AssertionError("count() has no end")

    def _limit(self, request: Request) -> int | None:
        """The tokens of a reply that needs room, else those that a budget allows the reply where
        the configuration states no limit.

        None for a prompt that leaves no room for such a limit: then the model's context is the
        lower one.
        """
        if request.room:
            return request.room
        role_model, budget = request.role_model, self.budget_tracker.budget
        full = self._full.get((role_model.config.endpoint, role_model.config.model))
        no_room = full is not None and request.most_tokens >= full
        no_room |= role_model.window.full(request.tokens + OUTPUT)
        return None if role_model.stated or no_room or not budget.bounds_replies else OUTPUT

    async def _try(self, request: Request, limit: int | None) -> tuple[Call, Any]:
        """Ask once, when it is this request's turn. Raises WireError. What is under way is paid
        for: it ends and is written down even when whoever waits for it is cancelled."""
        role_model = request.role_model
        priority = self._order.setdefault(request.scope, next(self._numbers))
        expected = request.tokens + role_model.usage.usual
        worst = self._worst(request)
        async with AsyncExitStack() as turn:
            permit = await turn.enter_async_context(
                role_model.endpoint.limiter.permit(role_model.role, priority, expected)
            )
            reservation = await turn.enter_async_context(
                self.budget_tracker.reserve(worst.cost.spent(calls=1))
            )
            self.budget_tracker.check()
            work = self._under_way(request, limit, worst, permit, reservation, turn.pop_all())
        asked = asyncio.ensure_future(work)
        self._in_flight[request.scope, request.key] = asked
        asked.add_done_callback(lambda _: self._in_flight.pop((request.scope, request.key)))
        return await asyncio.shield(asked)

    async def _under_way(
        self,
        request: Request,
        limit: int | None,
        worst: WorstCase,
        permit: Permit,
        reservation: Reservation,
        turn: AsyncExitStack,
    ) -> tuple[Call, Any]:
        """Ask, and write down what came before the turn ends. Raises WireError."""
        cost: Cost | None = None
        lost: Cost | None = None
        began = time.time()
        try:
            async with turn:
                try:
                    reading = await _invoke(request, limit)
                    cost = worst.settle(
                        reading.input_tokens, reading.cached_tokens, reading.output_tokens
                    )
                    reading.check()
                    verdict = await _judge(reading, request.reply, request.role_model.window)
                except (WireError, asyncio.CancelledError) as error:
                    if not isinstance(error, WireError) or error.paid:
                        lost = cost or worst.cost
                        reservation.used = lost.spent(calls=0)
                    raise
                reservation.used = cost.spent(calls=1)
                permit.used = permit.tokens if cost.estimated else cost.tokens
                request.role_model.window.saw(request.size, reading.input_tokens or 0)
                status, problem, value = verdict
                # On disk before its place goes to another: a kill loses what was in flight only.
                return await self._record(
                    _call(request, began, status, problem, reading, cost)
                ), value
        except WireError as error:
            await self._record(_failed(request, began, str(error), worst, lost))
            raise
        except asyncio.CancelledError:
            if lost:
                self.log.submit(_failed(request, began, "cancelled while under way", worst, lost))
            raise

    async def _record(self, call: Call) -> Call:
        """Write the call down and count it. Raises Paused when it cannot be written."""
        try:
            written = replace(call, id=await self.log.record(call))
        except CallLogError as error:
            raise Paused(str(error), "Free the disk or fix its permissions, then resume") from error
        self.registry.role_models[call.role].usage.add(call)
        return written

    def _worst(self, request: Request) -> WorstCase:
        """The most that a call may take: its prompt, and the longest reply."""
        role_model = request.role_model
        at = role_model.endpoint
        return WorstCase(
            input_tokens=request.most_tokens,
            output_tokens=max(role_model.stated or OUTPUT, request.room or 0),
            tariff=self.prices.tariff(role_model.config, at.config, at.share),
            strict=self.budget_tracker.budget.bounds_replies,
        )


def _too_long(error: WireError) -> bool:
    """Whether an endpoint refuses a limit or a prompt for its length."""
    named = any(name in error.message.casefold() for name in LIMIT_NAMES)
    return named or error.code == CONTEXT_FULL


async def _invoke(request: Request, limit: int | None) -> Reading:
    """Ask; for a reply of no more than `limit` tokens."""
    usage = request.role_model.usage
    options = request.options if limit is None else {**request.options, "max_tokens": limit}
    usage.in_flight += 1
    try:
        return await request.role_model.chat.ask(request.messages, options, request.id)
    finally:
        usage.in_flight -= 1


async def _judge(
    reading: Reading, reply: type[R] | None, window: ContextWindow
) -> tuple[CallStatus, str, R | None]:
    """What an answer is worth, what is wrong with it, and the value of a structured one. A complete
    reply may end at the limit."""
    problem, value = "", None
    if reply is not None and reading.text:
        try:
            value = await parse(reading.text, reply)
        except Malformed as error:
            problem = str(error)
    if reading.cut_off and (reply is None or problem or not reading.text):
        full = window.full((reading.input_tokens or 0) + (reading.output_tokens or 0))
        cause = f"{WINDOW_FULL} ({window.tokens:,} tokens)" if full else "the token limit"
        return "truncated", f"the reply was cut off by {cause}", None
    return ("malformed", problem, None) if problem else ("ok", "", value)


def _failed(
    request: Request, began: float, error: str, worst: WorstCase, lost: Cost | None
) -> Call:
    """The row of a request that brought no answer; `lost` is what it may have taken even so."""
    return replace(
        _call(request, began, "failed", error, Reading(), None),
        usd=0.0 if worst.tariff else None,
        failures=1,
        lost_tokens=lost.tokens if lost else 0,
        lost_usd=(lost.usd or 0.0) if lost else 0.0,
    )


def _call(
    request: Request,
    began: float,
    status: CallStatus,
    error: str,
    reading: Reading,
    cost: Cost | None,
) -> Call:
    """The row of the log. `began` is in seconds since the epoch."""
    config = request.role_model.config
    at = datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds")
    return Call(
        scope=request.scope,
        role=request.role_model.role,
        endpoint=config.endpoint,
        model=config.model,
        request_key=request.key,
        sample=request.sample,
        status=status,
        request=request.messages,
        response=reading.text,
        reasoning=reading.reasoning,
        finish_reason=reading.finish_reason,
        input_tokens=cost.input_tokens if cost else None,
        cached_tokens=cost.cached_tokens if cost else None,
        output_tokens=cost.output_tokens if cost else None,
        usd=cost.usd if cost else None,
        error=error,
        started_at=at,
        seconds=time.time() - began,
        estimated=cost.estimated if cost else False,
    )


def _plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _digest(messages: Sequence[Mapping[str, str]]) -> str:
    """SHA-256 of the messages, straight from their text: they may be long."""
    found = sha256()
    for message in messages:
        text = message["content"].encode("utf-8", "surrogatepass")
        found.update(f"{message['role']} {len(text)} ".encode())
        found.update(text)
    return found.hexdigest()


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


@cache
def _schema(reply: type[BaseModel]) -> str:
    """What asks for a reply, bounds apart: they shape no reply that the model would have ended."""
    return digest(without(BOUNDS, response_format(reply)))


@cache
def _schema_bytes(reply: type[BaseModel]) -> int:
    return _bytes(str(response_format(reply)))
