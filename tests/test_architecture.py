"""The house as docs/architecture.md has it: the rooms, and the ways through them, traced anew.

AUTODATA_WRITE_DOCS=1 writes the ways into the page.
"""

import ast
import os
from pathlib import Path

import pytest

from tests.processes import apart
from tests.sources import ROOT
from tests.way import call, document

PAGE = ROOT / "docs" / "architecture.md"
ROOMS = sorted(link.name for link in (ROOT / "autodata").iterdir() if link.is_symlink())
SOURCES = [file for room in (*ROOMS, "autodata") for file in (ROOT / room).rglob("*.py")]

WAYS = {"document": document, "call": call}
MOST = {"document": 45, "call": 12}  # files on the way, the practice models apart
MOST_FILES = 140  # of the product, apart from tests and benchmarks
MOST_LINES = 60  # of one function
MOST_OF_THE_CODE = 0.2  # in one room
PRACTICE_FILES, PRACTICE_LINES = 20, 3000


def lines(files: list[Path]) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


@pytest.mark.parametrize("way", MOST)
def test_the_page_tells_the_way_as_it_is_and_the_way_is_short(way: str, tmp_path: Path) -> None:
    went = apart(WAYS[way], tmp_path)
    files = [file for file in went if not file.startswith("simulation")]
    rows = [f"| {n} | [`{f}`](../{f}) | {_purpose(f)} |" for n, f in enumerate(files, 1)]
    told = "\n".join(["| | file | |", "|---|---|---|", *rows])
    before, _, rest = PAGE.read_text().partition(f"<!-- {way} -->\n")
    after = rest.partition(f"<!-- /{way} -->")[2]
    page = f"{before}<!-- {way} -->\n{told}\n<!-- /{way} -->{after}"
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page
    assert len(files) <= MOST[way]


def _purpose(file: str) -> str:
    """What a file says of itself, in its first sentence."""
    said = ast.get_docstring(ast.parse((ROOT / file).read_text())) or ""
    return " ".join(said.partition("\n\n")[0].split()).removesuffix(".")


def test_every_room_is_on_the_page() -> None:
    page = PAGE.read_text()
    assert [room for room in ROOMS if f"| `{room}/` |" not in page] == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES
    ]
    assert long == []


def test_the_house_stays_small_and_no_room_outgrows_it() -> None:
    assert len(SOURCES) <= MOST_FILES
    by_room = {room: lines(list((ROOT / room).rglob("*.py"))) for room in ROOMS}
    by_room["autodata"] = lines(SOURCES) - sum(by_room.values())
    assert max(by_room.values()) <= MOST_OF_THE_CODE * sum(by_room.values()), by_room
    practice = list((ROOT / "simulation").rglob("*.py"))
    assert len(practice) <= PRACTICE_FILES
    assert lines(practice) <= PRACTICE_LINES


def test_no_name_has_two_meanings() -> None:
    """Classes are told apart by their names, and public constants of one name have one value."""
    meanings: dict[str, dict[str, str]] = {}
    for file in SOURCES:
        for node in ast.parse(file.read_text()).body:
            place = file.relative_to(ROOT).as_posix()
            if isinstance(node, ast.ClassDef):
                meanings.setdefault(node.name, {})[place] = place
            elif isinstance(node, ast.Assign | ast.AnnAssign) and (name := _constant(node)):
                meanings.setdefault(name, {})[ast.unparse(node.value or node)] = place
    hooks = {"TASK", "RESPONDERS"}  # what each domain states under the same name
    two = {name: found for name, found in meanings.items() if len(found) > 1}
    assert {name: found for name, found in two.items() if name not in hooks} == {}


def _constant(node: ast.Assign | ast.AnnAssign) -> str:
    """The public name that is assigned to; empty for any other target."""
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    public = isinstance(target, ast.Name) and not target.id.startswith("_")
    return target.id if public else ""
