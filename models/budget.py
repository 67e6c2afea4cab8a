"""What a run may use, what a call costs, and what was used: reserved before, settled after it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from autodata.ledger.calls import Spent
from autodata.models.config import SIMULATED, EndpointConfig, ModelConfig, Price
from autodata.models.errors import BudgetReached, Paused, UnknownPrice

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

OUTPUT = 16_384  # tokens, the longest reply of a model without `max_tokens` in a bounded budget


class Budget(BaseModel):
    """Upper bounds for one run, null for none: US dollars, answered calls, tokens in and out.

    With one on dollars or tokens a reply has at most OUTPUT tokens where its model states no
    `max_tokens`: what has no bound cannot be reserved.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: float | None = Field(None, ge=0)
    calls: int | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)

    @property
    def bounds_replies(self) -> bool:
        """Whether the length of a reply matters to it."""
        return self.usd is not None or self.tokens is not None

    def less(self, spent: Iterable[Spent]) -> "Budget":
        """What these leave of it, nothing at the least."""
        found = list(spent)
        return Budget(**{
            name: most if most is None else max(most - sum(getattr(s, name) for s in found), 0)
            for name, most in self
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call has taken: tokens in, cached ones among them, tokens out, US dollars.

    `usd` is None when the price is unknown. `estimated`: the endpoint did not say, and what is not
    known stands at its worst case.
    """

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: float | None
    estimated: bool

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def spent(self, calls: int) -> Spent:
        """As a part of a budget."""
        return Spent(self.usd or 0.0, calls, self.tokens)


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that a call can take: tokens in and out, at a tariff (None: the price is unknown).

    With `strict` nothing beyond it is believed, since a budget rests on it.
    """

    input_tokens: int
    output_tokens: int
    tariff: "Tariff | None"
    strict: bool

    @property
    def cost(self) -> Cost:
        """The worst case itself."""
        return self.settle(None, None, None)

    def settle(self, sent: int | None, cached: int | None, said: int | None) -> Cost:
        """What a call is settled at whose endpoint counted so many tokens in, cached and out."""
        believed = self._believed(sent, self.input_tokens), self._believed(said, self.output_tokens)
        estimated = None in believed
        sent = self.input_tokens if believed[0] is None else believed[0]
        said = self.output_tokens if believed[1] is None else believed[1]
        cached = min(cached or 0, sent)
        usd = None
        if self.tariff:
            exact = self.tariff.usd(sent, said, cached)
            usd = self.tariff.most(sent, said) if estimated else exact
        return Cost(sent, cached, said, usd, estimated)

    def _believed(self, stated: int | None, most: int) -> int | None:
        return None if stated is None or (self.strict and stated > most) else stated


class BudgetTracker:
    """The budget at work: `spent` by answered calls, `reserved` for those in flight."""

    def __init__(self, budget: Budget, spent: Spent) -> None:
        self.budget = budget
        self.spent = spent
        self.reserved = Spent()
        self._waiting: list[asyncio.Future[None]] = []
        self._closed: Paused | None = None
        self.permitted: Callable[[], Awaitable[None]] | None = None
        """Asked before each call where it is set; raises Paused once nothing more may be spent."""

    def close(self, reason: Paused) -> None:
        """Hand out nothing more: `check` raises `reason` from now on."""
        self._closed = reason

    def check(self) -> None:
        """Raises the reason for which the tracker was closed, if it was."""
        if self._closed:
            raise type(self._closed)(self._closed.reason, self._closed.remedy)

    def carries(self, calls: float) -> float:
        """How many times so many calls of average cost fit into what is left; inf without a budget.

        Before the first call is settled nobody knows what one costs in money or tokens: then 1.
        """
        limits, spent = self.budget, self.spent
        fits = [float("inf")]
        if limits.calls is not None:
            fits.append((limits.calls - spent.calls) / calls)
        for limit, used in ((limits.usd, spent.usd), (limits.tokens, spent.tokens)):
            if limit is not None and not spent.calls:
                fits.append(1.0)
            elif limit is not None and used:
                fits.append((limit - used) / (calls * used / spent.calls))
        return min(fits)

    def reserve(self, worst: Spent) -> "Reservation":
        """The right to spend up to `worst`: `async with budget_tracker.reserve(…) as reservation`.

        Entering waits while calls in flight could leave enough, and raises BudgetReached when even
        they cannot.
        """
        return Reservation(self, worst)

    async def take(self, worst: Spent) -> None:
        """Set aside `worst`. Raises BudgetReached, and what `permitted` raises."""
        if self.permitted:
            await self.permitted()
        while problem := self._beyond(_sum(self.spent, self.reserved, worst)):
            if self._beyond(_sum(self.spent, worst)):
                raise BudgetReached(
                    f"the budget is reached: {problem}", "Resume the run with a higher budget"
                )
            settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await settled
        self.reserved = _sum(self.reserved, worst)

    def settle(self, worst: Spent, used: Spent) -> None:
        """Replace what was set aside by what was used."""
        back = Spent(-worst.usd, -worst.calls, -worst.tokens)
        self.reserved = _sum(self.reserved, back)
        self.spent = _sum(self.spent, used)
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            if not settled.done():
                settled.set_result(None)

    def _beyond(self, total: Spent) -> str:
        """What the total would exceed, in words; "" when it is within the budget."""
        limits = self.budget
        if limits.usd is not None and total.usd > limits.usd + 1e-9:
            return (
                f"${self.spent.usd:.4f} of ${limits.usd:.2f} are spent, and one more call may "
                "cost more than is left"
            )
        if limits.calls is not None and total.calls > limits.calls:
            return f"{self.spent.calls} of {limits.calls} calls are made"
        if limits.tokens is not None and total.tokens > limits.tokens:
            return (
                f"{self.spent.tokens} of {limits.tokens} tokens are used, and one more call may "
                "take more than is left"
            )
        return ""


class Reservation:
    """A part of the budget set aside for one call; `used` is what the call turned out to use."""

    __slots__ = ("_tracker", "_worst", "used")

    def __init__(self, budget_tracker: BudgetTracker, worst: Spent) -> None:
        self._tracker = budget_tracker
        self._worst = worst
        self.used = Spent()

    async def __aenter__(self) -> "Reservation":
        await self._tracker.take(self._worst)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._tracker.settle(self._worst, self.used)


def _sum(*parts: Spent) -> Spent:
    return Spent(
        usd=sum(p.usd for p in parts),
        calls=sum(p.calls for p in parts),
        tokens=sum(p.tokens for p in parts),
    )


@dataclass(frozen=True, slots=True)
class Tariff:
    """A model's price, which may depend on the length of the prompt.

    `steps` are pairs (tokens, price) in rising order, the first at -1: the price of the last step
    that the prompt is longer than holds for the whole call. `fee` is USD per call; all is
    multiplied by `share`.
    """

    steps: tuple[tuple[int, Price], ...]
    fee: float = 0.0
    share: float = 1.0

    def usd(self, sent: int, said: int, cached: int = 0) -> float:
        """US dollars for so many tokens in (`cached` ones among them) and out."""
        price = next(price for start, price in reversed(self.steps) if start < sent)
        return self.share * (price.usd(sent, said, cached) + self.fee)

    def most(self, sent: int, said: int) -> float:
        """The most that up to so many tokens can cost, however many are cached."""
        ends = [min(start, sent) for start, _ in self.steps[1:]] + [sent]
        return max(self.usd(end, said, cached) for end in ends for cached in (0, end))


FREE = Tariff(((-1, Price(input=0, output=0)),))


class Prices:
    """What a call costs: stated in the configuration, else from genai-prices, else unknown.

    `stated` maps "endpoint/model" to a Price and goes first."""

    def __init__(self, stated: Mapping[str, Price]) -> None:
        self.stated = stated

    def usd(
        self,
        config: ModelConfig,
        endpoint: EndpointConfig,
        *,
        input_tokens: int,
        output_tokens: int,
        cached_tokens: int = 0,
    ) -> float | None:
        """US dollars for so many tokens (cached ones are part of the input); None if unknown."""
        tariff = self.tariff(config, endpoint)
        return tariff.usd(input_tokens, output_tokens, cached_tokens) if tariff else None

    def tariff(
        self, config: ModelConfig, endpoint: EndpointConfig, share: float = 1.0
    ) -> Tariff | None:
        """What calls of this model that begin now cost, at a share of the price; None if unknown.

        A call is settled at the tariff that it was reserved at: some change with the hour.
        """
        if config.endpoint == SIMULATED:
            return FREE
        stated = self.stated.get(f"{config.endpoint}/{config.model}")
        if stated:
            return Tariff(((-1, stated),), share=share)
        listed = _listed(config.model, endpoint.address)
        return replace(listed(), share=share) if listed else None

    def known(self, config: ModelConfig, endpoint: EndpointConfig) -> bool:
        """Whether calls of this model have a price."""
        return self.tariff(config, endpoint) is not None

    def check(self, config: ModelConfig, endpoint: EndpointConfig) -> None:
        """Raises UnknownPrice where calls of this model have none: no budget can be kept then."""
        if not self.known(config, endpoint):
            name = f"{config.endpoint}/{config.model}"
            raise UnknownPrice(
                f"the price of {name} is unknown, so a budget in USD cannot be kept: state "
                f"prices: {{{name}: {{input: …, output: …}}}} in USD per million tokens, or "
                "give the budget in calls or tokens"
            )


@cache
def _listed(model: str, address: str) -> Callable[[], Tariff] | None:
    """The tariff that genai-prices lists for now. Few change with the date or the hour, and the
    others are looked up only once: a look-up costs as much CPU time as half of a call."""
    # Imported here: it takes a quarter of a second, and most commands ask for no price.
    from genai_prices import Usage, calc_price

    try:
        found = calc_price(Usage(input_tokens=1), model, provider_api_url=address)
    except LookupError:
        return None
    tariff = _tariff(found.model_price)
    if isinstance(found.model.prices, list):
        return lambda: _tariff(found.model.get_prices(datetime.now(UTC)))
    return lambda: tariff


def _tariff(listed: "ModelPrice") -> Tariff:
    rates = (listed.input_mtok, listed.output_mtok, listed.cache_read_mtok)
    starts = {tier.start for rate in rates for tier in getattr(rate, "tiers", ())}
    steps = tuple((start, _price(rates, start)) for start in sorted({-1, *starts}))
    return Tariff(steps, fee=(_rate(listed.requests_kcount, 0) or 0.0) / 1000)


def _price(rates: Sequence["Decimal | TieredPrices | None"], start: int) -> Price:
    """The price of prompts that are longer than `start` tokens."""
    sent, said, cached = (_rate(rate, start) for rate in rates)
    return Price(input=sent or 0.0, output=said or 0.0, cached_input=cached)


def _rate(rate: "Decimal | TieredPrices | None", start: int) -> float | None:
    if rate is None or isinstance(rate, Decimal):
        return None if rate is None else float(rate)
    reached = [tier.price for tier in rate.tiers if tier.start <= start]
    return float(reached[-1] if reached else rate.base)
