"""Raw aiohttp, the floor: JSON out, JSON in, and nothing else."""

import asyncio
import json
from pathlib import Path

from stopwatch import measure
from workload import SYSTEM, user


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    asyncio.run(work(url, calls, concurrency))


async def work(url: str, calls: int, concurrency: int) -> None:
    import aiohttp

    waiting = iter(range(calls))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> None:
            for number in waiting:
                messages = [
                    {"role": "system", "content": SYSTEM},
                    {"role": "user", "content": user(number)},
                ]
                body = json.dumps({"model": "m", "messages": messages}).encode()
                async with session.post(f"{url}/v1/chat/completions", data=body) as answer:
                    json.loads(await answer.read())["choices"][0]["message"]["content"]

        await asyncio.gather(*(ask() for _ in range(concurrency)))


if __name__ == "__main__":
    measure(run)
