"""What an endpoint remembers between requests: how often it was asked, and which prefixes."""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from autodata.simulation.chance import number
from autodata.simulation.reading import plain

BLOCK = 512  # characters per cached block: 128 tokens, the step of the usual prefix caches
BLOCKS = 200_000  # blocks kept, the least recently used dropped first


class Samples:
    """Numbers the repeats of a request 0, 1, 2, …: without a seed, repeats differ."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()

    def seed(self, model: str, messages: Sequence[Mapping[str, Any]]) -> int:
        """The number of times that this request has been made before."""
        key = number(model, *(plain(message.get("content")) for message in messages))
        self._seen[key] += 1
        return self._seen[key] - 1


class PrefixCache:
    """Which prompt prefixes were seen before, as providers bill them."""

    def __init__(self, blocks: int = BLOCKS) -> None:
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self._most = blocks

    def cached(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """How many tokens of the request were a known prefix; it is known from now on."""
        text = "\x1e".join(f"{m.get('role')}\n{plain(m.get('content'))}" for m in messages)
        known, chain, unbroken = 0, 0, True
        for start in range(0, len(text) - BLOCK + 1, BLOCK):
            chain = hash((chain, text[start : start + BLOCK]))
            unbroken = unbroken and chain in self._blocks
            known += unbroken
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)
        return known * BLOCK // 4
