"""What a terminal shows: columns that stay, labels that step back, and nothing else dimmed."""

import subprocess
import sys
from io import StringIO

from rich.console import Console

from autodata.ledger.rows import RunRow
from autodata.screen import print_table, table
from autodata.storyboard import tell
from autodata.tasks.types import Candidate, Document, Objection, Round

NAME = "a-document-with-a-long-name.md"
RUN = RunRow(
    id="cs-1",
    task="cs",
    prompts_revision="seed-0",
    locked_revision="locked-0",
    config={},
    models={},
    seed=0,
    simulated=False,
    version="0",
)


def terminal(width: int) -> Console:
    return Console(file=StringIO(), force_terminal=True, width=width, color_system="standard")


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_narrow_terminal_loses_no_column() -> None:
    console = terminal(30)
    made = table("name", "outcome", "objection", wrapped=("name",))
    made.add_row(NAME, "rejected", "STRONG_FAILED")
    print_table(console, made)
    assert NAME[:16] in shown(console)
    assert "rejected" in shown(console)
    assert "STRONG_FAILED" in shown(console)


def test_only_the_labels_of_a_story_step_back() -> None:
    console = terminal(80)
    candidate = Candidate(
        context="A context.",
        question="Why?",
        reference_answer="So.",
        question_type="cause",
        rubric=(),
    )
    objection = Objection(code="TOO_EASY", message="weak mean 0.80")
    story = [Round(number=1, candidate=candidate, objections=(objection,), decision="rejected")]
    tell(console, RUN, Document.of(NAME, "Text."), story, full=True)
    assert "\x1b[2mcontext      \x1b[0mA context.\n" in shown(console)
    assert "\x1b[1mWhy?\x1b[0m\x1b[2m (cause)\x1b[0m" in shown(console)
    assert "\x1b[1mTOO_EASY  \x1b[0mweak mean 0.80" in shown(console)


def test_ctrl_c_while_a_command_loads_is_an_interruption() -> None:
    script = """if True:
        import os, signal, sys
        class Impatient:
            def find_spec(self, name, path=None, target=None):
                if name == "autodata.models.client":
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Impatient())
        sys.argv = ["autodata", "demo"]
        from autodata.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 130, done.stderr
    assert b"Traceback" not in done.stderr
