"""Plain LangChain: a semaphore around `ChatOpenAI.ainvoke`, on its default transport."""

import asyncio
from pathlib import Path

from stopwatch import measure
from workload import SYSTEM, user

# One event loop for both runs: LangChain keeps its connections from one model to the next.
LOOP = asyncio.Runner()


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    LOOP.run(work(url, calls, concurrency))


async def work(url: str, calls: int, concurrency: int) -> None:
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI

    turn = asyncio.Semaphore(concurrency)
    chat = ChatOpenAI(model="m", base_url=f"{url}/v1", api_key="none")

    async def ask(number: int) -> str:
        messages = [SystemMessage(SYSTEM), HumanMessage(user(number))]
        async with turn:
            answer = await chat.ainvoke(messages)
        return str(answer.content)

    await asyncio.gather(*map(ask, range(calls)))


if __name__ == "__main__":
    measure(run)
