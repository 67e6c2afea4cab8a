"""What the served graphs carry can be stored by a server and read back as what it was."""

import json
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
