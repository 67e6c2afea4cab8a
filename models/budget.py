"""What a run may use, what a call costs, and what was used: reserved before, settled after it."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from types import TracebackType

from pydantic import BaseModel, ConfigDict, Field

from autodata.ledger.calls import Spent
from autodata.models.config import SIMULATED, EndpointConfig, ModelConfig, Price
from autodata.models.errors import BudgetReached, Paused

Pricing = Callable[[int, int, int], float]  # tokens in, out, and cached ones of those in → USD


class Budget(BaseModel):
    """Upper bounds for one run, null for none: US dollars, answered calls, tokens in and out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: float | None = Field(None, ge=0)
    calls: int | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)


class BudgetTracker:
    """The budget at work: `spent` by answered calls, `reserved` for those in flight."""

    def __init__(self, budget: Budget, spent: Spent) -> None:
        self.budget = budget
        self.spent = spent
        self.reserved = Spent()
        self._waiting: list[asyncio.Future[None]] = []
        self._closed: Paused | None = None

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
        """Set aside `worst`. Raises BudgetReached."""
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
        if config.endpoint == SIMULATED:
            return 0.0
        stated = self.stated.get(f"{config.endpoint}/{config.model}")
        pricing = stated.usd if stated else _listed(config.model, endpoint.address)
        return pricing(input_tokens, output_tokens, cached_tokens) if pricing else None

    def known(self, config: ModelConfig, endpoint: EndpointConfig) -> bool:
        """Whether calls of this model have a price."""
        return self.usd(config, endpoint, input_tokens=1, output_tokens=1) is not None


@cache
def _listed(model: str, address: str) -> Pricing | None:
    """The price that genai-prices lists. Most are flat, and then looked up only once: a look-up
    costs as much CPU time as half of a call."""
    # Imported here: it takes a quarter of a second, and most commands ask for no price.
    from genai_prices import Usage, calc_price
    from genai_prices.types import PriceCalculation

    def look_up(sent: int, said: int, cached: int) -> PriceCalculation:
        usage = Usage(input_tokens=sent, cache_read_tokens=cached, output_tokens=said)
        return calc_price(usage, model, provider_api_url=address)

    try:
        found = look_up(1, 1, 0)
    except LookupError:
        return None
    price = found.model_price
    sent, said, cached = price.input_mtok, price.output_mtok, price.cache_read_mtok
    if (
        isinstance(sent, Decimal)
        and isinstance(said, Decimal)
        and (cached is None or isinstance(cached, Decimal))
        and not isinstance(found.model.prices, list)  # that change with the date or the hour
    ):
        hit = None if cached is None else float(cached)
        return Price(input=float(sent), output=float(said), cached_input=hit).usd
    return lambda *tokens: float(look_up(*tokens).total_price)
