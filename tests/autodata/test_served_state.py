"""What the served graphs carry can be stored by a server and read back as what it was."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from autodata.graph.state import State
from autodata.optimizer.state import OptimizerState

CONFIG = Path(__file__).parents[2] / "langgraph.json"


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every pydantic model that an annotation can hold, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for argument in get_args(annotation):
        yield from models(argument)


def test_the_server_may_read_back_every_type_of_the_state() -> None:
    """LangGraph warns of types that are not on this list, and will refuse them one day."""
    allowed = json.loads(CONFIG.read_text())["checkpointer"]["serde"]["allowed_msgpack_modules"]
    held = {
        (model.__module__, model.__name__)
        for state in (State, OptimizerState)
        for field in state.model_fields.values()
        for model in models(field.annotation)
    }
    assert sorted(map(tuple, allowed)) == sorted(held)


STORED = """
import asyncio
from dataclasses import dataclass
from langgraph.checkpoint.memory import InMemorySaver
from autodata.graph.build import build
from autodata.tasks.types import Round

@dataclass
class Foreign:
    word: str

graph = build(lambda: None, InMemorySaver())
thread = {"configurable": {"thread_id": "1"}}

async def main():
    edited = {"rounds": [Round(number=1)], "decision": "revise"}
    await graph.aupdate_state(thread, edited, as_node="verifier")
    print(type((await graph.aget_state(thread)).values["rounds"][0]).__name__)

asyncio.run(main())
serde = graph.checkpointer.serde
print(type(serde.loads_typed(serde.dumps_typed(Foreign("x")))).__name__)
"""


def test_a_checkpoint_brings_back_no_other_type(tmp_path: Path) -> None:
    """The server's setting makes the list count; without it other types are read, too."""
    env = {**os.environ, **json.loads(CONFIG.read_text())["env"], "AUTODATA_RUN": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", STORED], env=env, check=True, capture_output=True, text=True
    )
    assert said.stdout.split() == ["Round", "dict"]
