"""The drawing shows every edge; the one in the docs is this one."""

import os
from pathlib import Path

from graph.build import build

DOCUMENT = Path(__file__).parents[2] / "docs" / "graph.md"

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
    ("decide", "final_verifier"),
    ("decide", "orchestrator"),
    ("decide", "record"),
    ("final_verifier", "orchestrator"),
    ("final_verifier", "record"),
    ("orchestrator", "challenger"),
    ("record", "__end__"),
}


def unopened():  # type: ignore[no-untyped-def]
    raise AssertionError("drawing opens no workshop")


def test_the_drawing_shows_every_edge() -> None:
    drawing = build(unopened).get_graph()
    assert {(e.source, e.target) for e in drawing.edges} == EDGES


def test_the_drawing_in_the_docs_is_up_to_date() -> None:
    """Run with AUTODATA_WRITE_DOCS=1 to write it anew."""
    drawn = f"""# The graph

Drawn by `build(...).get_graph().draw_mermaid()`; a test keeps it up to date.

```mermaid
{build(unopened).get_graph().draw_mermaid().strip()}
```
"""
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        DOCUMENT.write_text(drawn)
    assert DOCUMENT.read_text() == drawn
