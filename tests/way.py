"""The way through the house: which files of the product run a function, in their first order.

Modules and class bodies, which run when they are imported, do not count. What a process remembers
is not done again: a way is gone in a process of its own.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[1]
ROOMS = {"autodata", *(link.name for link in (ROOT / "autodata").iterdir() if link.is_symlink())}
DOCUMENT = ROOT / "autodata" / "demo" / "cs" / "work-stealing-scheduler.md"
CANDIDATE = {
    "question_type": "prediction",
    "context": "Three servers hold a log; one was cut off for a minute and is back.",
    "question": "What does its log look like after the next heartbeat?",
    "reference_answer": "Its own last entries are gone; those of the majority stand there.",
    "rubric": [{"criterion": "Names the majority", "weight": 5}],
}


@contextmanager
def watched() -> Iterator[dict[str, None]]:
    """The files whose functions are called inside, in any thread."""
    found: dict[str, None] = {}
    files: dict[str, str] = {}

    def called(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_flags & CO_OPTIMIZED:
            return
        name = code.co_filename
        if name not in files:
            path = Path(name).resolve()
            ours = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS
            files[name] = path.relative_to(ROOT).as_posix() if ours else ""
        if files[name]:
            found.setdefault(files[name])

    threading.setprofile(called)
    sys.setprofile(called)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def document(folder: Path) -> list[str]:
    """One document, with simulated models, through the command."""
    from autodata.cli import main

    words = ["run", str(DOCUMENT), "--task", "cs", "--out", str(folder / "run")]
    with watched() as found, suppress(SystemExit):  # how every command ends
        main(words, standalone_mode=False)
    return list(found)


def call(folder: Path) -> list[str]:
    """From the challenger to the recorded call, over HTTP on loopback."""
    return asyncio.run(_call(folder))


async def _call(folder: Path) -> list[str]:
    from autodata.agents.challenger import challenge
    from autodata.prompt_store.prompt import packaged, policy_text
    from autodata.tasks import TASKS
    from autodata.tasks.types import Candidate, Document
    from tests.models.calling import calling
    from tests.models.scripted_server import says, scripted

    task, prompts = TASKS["cs"], packaged()
    source = Document.of(DOCUMENT.name, DOCUMENT.read_text())
    prompt, policy = prompts.prompt("cs", "challenger"), prompts.rubric_policy("cs")
    async with (
        scripted(says(json.dumps(CANDIDATE))) as server,
        calling(folder, server.url) as asked,
    ):
        server.says_of_models = {"max_model_len": 32_768}
        with watched() as found:
            written = await challenge(
                asked,
                prompt,
                task,
                source,
                instruction="",
                rubric_policy=policy_text(policy) if policy else "",
            )
    assert isinstance(written, Candidate), written
    return list(found)
