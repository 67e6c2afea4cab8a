"""What a call costs: stated in the configuration, else from genai-prices, else unknown."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from importlib.metadata import version

from genai_prices import Usage, calc_price
from genai_prices.types import PriceCalculation

from autodata.models.config import SIMULATED, EndpointConfig, ModelConfig, Price

SOURCE = f"genai-prices {version('genai-prices')}"

Pricing = Callable[[int, int, int], float]  # tokens in, out, and cached ones of those in → USD


class Prices:
    """Prices of one run's models; `stated` maps "endpoint/model" to a Price and goes first."""

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
