"""What a call costs: stated in the configuration, else from genai-prices, else unknown."""

from collections.abc import Mapping
from importlib.metadata import version

from genai_prices import Usage, calc_price

from agents.config import SIMULATED, EndpointConfig, ModelConfig, Price

SOURCE = f"genai-prices {version('genai-prices')}"
MILLION = 1_000_000


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
        price = self.stated.get(f"{config.endpoint}/{config.model}")
        if price is None:
            return _listed(config.model, endpoint, input_tokens, output_tokens, cached_tokens)
        cached = price.input if price.cached_input is None else price.cached_input
        dearest = (input_tokens - cached_tokens) * price.input + output_tokens * price.output
        return (dearest + cached_tokens * cached) / MILLION

    def known(self, config: ModelConfig, endpoint: EndpointConfig) -> bool:
        """Whether calls of this model have a price."""
        return self.usd(config, endpoint, input_tokens=1, output_tokens=1) is not None


def _listed(
    model: str, endpoint: EndpointConfig, input_tokens: int, output_tokens: int, cached_tokens: int
) -> float | None:
    usage = Usage(
        input_tokens=input_tokens, cache_read_tokens=cached_tokens, output_tokens=output_tokens
    )
    try:
        if endpoint.base_url is None:
            found = calc_price(usage, model, provider_id="openai")
        else:
            found = calc_price(usage, model, provider_api_url=endpoint.base_url)
    except LookupError:
        return None
    return float(found.total_price)
