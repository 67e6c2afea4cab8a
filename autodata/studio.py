"""What Studio finds on our server: an assistant for each task, and two threads to look at.

An assistant's form shows the numbers that are in force where nobody states any: those of the
configuration, else the task's own. The assistants are kept up to date whenever the server starts.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid5

import httpx
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import LangGraphError
from rich.console import Console
from starlette.applications import Starlette

from autodata.assembly import resolve
from autodata.board.access import EVERYBODY
from autodata.board.pages import gate_of
from autodata.graph.state import spelled_out
from autodata.prompt_store.prompt import PromptError
from autodata.prompt_store.store import StoreError
from autodata.settings import Settings, SettingsError, load
from autodata.tasks import TASKS
from autodata.tasks.types import digest

GRAPH = "autodata"
SENT_KEY = "AUTODATA_KEY"  # names the variable with the key that a server with keys asks for
NAMESPACE = UUID("5a0b9d3c-6f1e-4d4b-9c57-2f6f3a1f7e10")  # ids of our assistants and threads follow
STATED = "stated"  # under which metadata keeps which numbers we wrote into an assistant

STUDIO = "https://smith.langchain.com/studio/?baseUrl="
# Demo documents to look at, and what is stated of them: with simulated models the first is accepted
# in round 3, and the other one is sent back until its rounds are used up.
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "leader-lease-reads.md": {},
    "query-planner-correlation.md": {"rounds": 3},
}
EXAMPLES_OF = "cs"  # the task that they are for

log = logging.getLogger(__name__)


def assistant_id(task: str) -> str:
    """The id of the assistant for a task, the same on every server."""
    return str(uuid5(NAMESPACE, f"assistant/{task}"))


def assistants(settings: Settings) -> list[dict[str, Any]]:
    """What the server is told of the assistant for each task, those of other packages included.

    Raises PromptError, StoreError.
    """
    return [_assistant(resolve(settings, task)[0], task) for task in TASKS]


def _assistant(settings: Settings, name: str) -> dict[str, Any]:
    task = TASKS[name]
    numbers = spelled_out(task, settings.choices)
    stated = {"task": name, **numbers.model_dump(mode="json", exclude_none=True)}
    said = (
        f"Makes one training example from a document ({task.title}): up to {numbers.rounds} "
        f"rounds, {numbers.weak_attempts} weak and {numbers.strong_attempts} strong attempts at "
        f"each question; {gate_of(name, settings.plain()).words}."
    )
    return {
        "assistant_id": assistant_id(name),
        "graph_id": GRAPH,
        "name": f"{name}: {task.title}" if name != task.title else name,
        "description": f"{said} The models are simulated." if settings.simulated else said,
        "context": stated,
        "metadata": {"task": name, "owner": EVERYBODY, STATED: digest(stated)},
    }


@asynccontextmanager
async def with_assistants(app: Starlette) -> AsyncIterator[None]:
    """While the server runs it has an assistant for each task; a configuration that cannot be read
    is left to the first document, which says what is wrong."""
    try:
        wanted = await asyncio.to_thread(lambda: assistants(load()))
    except (SettingsError, PromptError, StoreError) as error:
        log.warning("there are no assistants for single tasks: %s", error)
    else:
        async with get_client() as client:
            for assistant in wanted:
                await keep(client, assistant)
    yield


async def keep(client: LangGraphClient, wanted: Mapping[str, Any]) -> None:
    """Makes the assistant, or brings it up to date where the configuration has changed: what a
    person changed in Studio stays until then, and stays a version of its own."""
    known = await client.assistants.create(**wanted, if_exists="do_nothing")
    if (known["metadata"] or {}).get(STATED) != wanted["metadata"][STATED]:
        await client.assistants.update(**wanted)


def example_threads(url: str, console: Console) -> int:
    """Puts two threads on a running server, where they are not yet: with simulated models one that
    is accepted, and one that is revised and rejected. Their names say what came of them. To a
    server with keys AUTODATA_KEY is sent, whose threads they are.

    Returns 1 where a document was refused. Raises SettingsError where no such server answers.
    """
    refused, key = 0, os.environ.get(SENT_KEY, "")
    with get_sync_client(url=url, headers={"Authorization": f"Bearer {key}"} if key else None) as c:
        try:
            for name, choices in EXAMPLES.items():
                refused |= _example_thread(c, console, name, choices, digest(key) if key else "")
        except (httpx.TransportError, LangGraphError) as error:
            raise SettingsError(
                f"no LangGraph server with our graphs answers at {url}: {error}. Start one with "
                "`make studio`, or name another one: --studio URL. To one with keys, "
                f"{SENT_KEY} is sent"
            ) from error
    console.print(f"Open {STUDIO}{url} and choose the graph {GRAPH}", soft_wrap=True)
    return refused


def _example_thread(
    client: SyncLangGraphClient,
    console: Console,
    name: str,
    choices: Mapping[str, Any],
    owner: str,
) -> bool:
    """Whether the document was refused. A thread that is done already is left as it is."""
    thread = str(uuid5(NAMESPACE, f"thread/{owner}{name}"))
    client.threads.create(thread_id=thread, graph_id=GRAPH, if_exists="do_nothing")
    found: Any = client.threads.get(thread)["values"] or {}
    if found.get("decision") not in ("accepted", "rejected"):
        text = files("autodata").joinpath("demo", EXAMPLES_OF, name).read_text()
        found = client.runs.wait(
            thread,
            assistant_id(EXAMPLES_OF),
            input={"document": {"name": name, "text": text}},
            context=choices,
            raise_error=False,
        )
    if error := found.get("__error__"):
        console.print(f"{name}: {error['message']}", soft_wrap=True)
        return True
    outcome = f"{found['decision']} in round {found['number']}"
    about = {"name": f"{name}: {outcome}", "document": name, "decision": found["decision"]}
    client.threads.update(thread, metadata=about)
    console.print(f"{name}: {outcome}, thread {thread}", soft_wrap=True)
    return False
