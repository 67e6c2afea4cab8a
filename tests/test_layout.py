"""The rooms are this checkout's: a package of the same name elsewhere would win silently."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("tasks", "prompt_store", "ledger", "agents", "graph", "optimizer", "autodata")


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_imported_from_this_checkout(room: str) -> None:
    found = import_module(room).__file__
    assert found is not None
    assert Path(found).resolve() == ROOT / room / "__init__.py"


def test_every_room_is_typed() -> None:
    assert [room for room in ROOMS if not (ROOT / room / "py.typed").is_file()] == []


def test_no_file_outgrows_a_sitting() -> None:
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    assert [f.name for f in files if len(f.read_text().splitlines()) > 350] == []
