"""The drawing shows every edge; the one in the docs is this one."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from autodata.graph.build import build

ROOT = Path(__file__).parents[2]

EDGES = {
    ("__start__", "prepare"),
    ("prepare", "extractor"),
    ("prepare", "challenger"),
    ("extractor", "challenger"),
    ("extractor", "record"),
    ("challenger", "verifier"),
    ("challenger", "orchestrator"),
    ("challenger", "record"),
    ("verifier", "weak_solver"),
    ("verifier", "strong_solver"),
    ("verifier", "orchestrator"),
    ("verifier", "record"),
    ("weak_solver", "strong_solver"),
    ("weak_solver", "loop_judge"),
    ("weak_solver", "decide"),
    ("weak_solver", "orchestrator"),
    ("weak_solver", "record"),
    ("strong_solver", "loop_judge"),
    ("strong_solver", "decide"),
    ("loop_judge", "decide"),
    ("strong_solver", "weak_solver"),
    ("decide", "confirm"),
    ("confirm", "final_verifier"),
    ("confirm", "orchestrator"),
    ("confirm", "record"),
    ("decide", "final_verifier"),
    ("decide", "orchestrator"),
    ("decide", "record"),
    ("final_verifier", "review"),
    ("review", "verifier"),
    ("review", "orchestrator"),
    ("review", "record"),
    ("final_verifier", "orchestrator"),
    ("final_verifier", "record"),
    ("orchestrator", "challenger"),
    ("record", "__end__"),
}


def unopened() -> NoReturn:
    raise AssertionError("drawing opens no context")


def test_the_drawing_shows_every_edge() -> None:
    drawing = build(unopened).get_graph()
    assert {(e.source, e.target) for e in drawing.edges} == EDGES


@pytest.mark.parametrize("path", ["docs/graph.md", "README.md"])
def test_the_drawing_in_the_docs_is_up_to_date(path: str) -> None:
    """Run with AUTODATA_WRITE_DOCS=1 to draw it anew."""
    page = ROOT / path
    drawing = f"```mermaid\n{build(unopened).get_graph().draw_mermaid().strip()}\n```"
    before, _, rest = page.read_text().partition("<!-- graph -->\n")
    drawn = (
        f"{before}<!-- graph -->\n{drawing}\n<!-- /graph -->{rest.partition('<!-- /graph -->')[2]}"
    )
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        page.write_text(drawn)
    assert page.read_text() == drawn
