"""One import name: the rooms are folders of this checkout, linked into the one package."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOOR = ROOT / "autodata"
ROOMS = sorted(link.name for link in DOOR.iterdir() if link.is_symlink())


def test_every_room_stands_at_the_top_and_is_linked_relatively() -> None:
    assert (
        sorted(
            folder.parent.name
            for folder in ROOT.glob("*/__init__.py")
            if folder.parent.name not in ("autodata", "tests")
        )
        == ROOMS
    )
    assert {str((DOOR / room).readlink()) for room in ROOMS} == {f"../{room}" for room in ROOMS}


def test_nothing_imports_a_room_by_its_bare_name() -> None:
    sources = [
        file
        for place in (*ROOMS, "autodata", "tests", "benchmarks")
        for file in (ROOT / place).rglob("*.py")
    ]
    assert [str(file) for file in sources if _imported(file) & set(ROOMS)] == []


def _imported(file: Path) -> set[str]:
    """First names of what a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_no_file_outgrows_what_can_be_read_at_once() -> None:
    files = [file for room in (*ROOMS, "autodata") for file in (ROOT / room).rglob("*.py")]
    assert [f.name for f in files if len(f.read_text().splitlines()) > 600] == []
