"""Plain `openai.AsyncOpenAI`: a semaphore around `chat.completions.create`."""

import asyncio
from pathlib import Path

from stopwatch import measure
from workload import SYSTEM, user


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    asyncio.run(work(url, calls, concurrency))


async def work(url: str, calls: int, concurrency: int) -> None:
    from openai import AsyncOpenAI

    turn = asyncio.Semaphore(concurrency)
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:

        async def ask(number: int) -> str | None:
            messages = [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": user(number)},
            ]
            async with turn:
                answer = await client.chat.completions.create(model="m", messages=messages)
            return answer.choices[0].message.content

        await asyncio.gather(*map(ask, range(calls)))


if __name__ == "__main__":
    measure(run)
