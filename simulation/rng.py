"""Random draws that can be repeated: every one follows from the parts it was made of."""

import hashlib
import random
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def number(*parts: object) -> int:
    """A 64-bit integer that follows from the parts alone, on any machine."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


class Rng(random.Random):
    """A stream of draws that follows from its parts alone."""

    def __init__(self, *parts: object) -> None:
        super().__init__(number(*parts))

    def happens(self, rate: float) -> bool:
        """True with probability `rate` (0 … 1)."""
        return self.random() < rate

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One key, drawn in proportion to its weight (≥ 0, not all 0)."""
        return self.choices(list(weights), weights=list(weights.values()))[0]

    def shuffled(self, items: list[T]) -> list[T]:
        """The items in a random order; the list given stays as it is."""
        return self.sample(items, len(items))


def noise(sigma: float, *parts: object) -> float:
    """One draw from a normal distribution around 0; the same for the same parts."""
    return Rng(*parts).gauss(0.0, sigma)
