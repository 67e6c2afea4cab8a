"""What a terminal shows: columns that stay, labels that step back, and nothing else dimmed."""

import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import summarize
from autodata.screen import Screen, harmless_but_colours, print_summary, print_table, table
from autodata.storyboard import tell
from autodata.tasks.types import Candidate, Document, Objection, Round
from tests.ledger.test_calls import CALL
from tests.outside import Folder

LOST = replace(
    CALL,
    status="failed",
    input_tokens=None,
    output_tokens=None,
    usd=None,
    failures=1,
    lost_tokens=30,
    lost_usd=0.5,
)

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
    return Screen(file=StringIO(), force_terminal=True, width=width, color_system="standard")


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


HOSTILE = "\x1b]0;yours\x1b\\\x1b[2J\x9b31m\u202etxt.exe"
SEEN = "␛]0;yours␛\\␛[2J�31m�txt.exe"


def test_no_word_of_a_model_or_a_file_reaches_the_terminal_as_a_command() -> None:
    console = terminal(100)
    candidate = Candidate(
        context=HOSTILE,
        question=HOSTILE,
        reference_answer=HOSTILE,
        question_type=HOSTILE,
        rubric=(),
    )
    objection = Objection(code="QUALITY", message=HOSTILE)
    story = [Round(number=1, candidate=candidate, objections=(objection,), decision="rejected")]
    tell(console, RUN, Document.of(HOSTILE, "Text."), story, full=True)
    made = table("name", wrapped=("name",))
    made.add_row(HOSTILE)
    print_table(console, made)
    assert not {"\x9b", "\u202e"} & set(shown(console))
    assert "\x1b]" not in shown(console)
    assert "\x1b[2J" not in shown(console)
    assert shown(console).count(SEEN) >= 6


def test_a_hostile_name_is_harmless_in_progress_tables_and_errors(folder: Folder) -> None:
    text = (folder.path / "docs" / "leader-lease-reads.md").read_text()
    (folder.path / f"{HOSTILE}.md").write_text(text)
    printed = folder("run", f"{HOSTILE}.md", "--task", "cs", "--out", "run", "--rounds", "1")
    printed += folder("show", "run")
    printed += folder("export", "run", "--format", HOSTILE.replace("\x1b", ""), code=2)
    assert not {"\x1b", "\x9b", "\u202e"} & set(printed)
    assert printed.count(SEEN) == 2


def test_colours_of_git_stay_and_nothing_else() -> None:
    log = f"\x1b[33m* 1a2b\x1b[m Reword {HOSTILE}"
    assert harmless_but_colours(log) == f"\x1b[33m* 1a2b\x1b[m Reword {SEEN}"


def test_a_terminal_breaks_lines_between_words_and_a_pipe_does_not() -> None:
    words = "Read it with: autodata show runs/of/forty/characters"
    narrow = terminal(40)
    narrow.print(words, soft_wrap=True)
    assert shown(narrow).splitlines() == [
        "Read it with: autodata show ",
        "runs/of/forty/characters",
    ]
    narrower = terminal(20)
    narrower.print(words, soft_wrap=True)  # with a path that no line holds: to be copied
    assert shown(narrower) == f"{words}\n"
    piped = Screen(file=StringIO())
    piped.print(words, soft_wrap=True)
    assert shown(piped) == f"{words}\n"


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


async def test_what_was_lost_at_an_unknown_price_is_no_upper_bound(tmp_path: Path) -> None:
    """Requests that brought no answer, and may have been paid for even so."""
    console, log = terminal(200), CallLog(tmp_path / "run.db")
    real = RUN.model_copy(update={"models": {"judge": "openai/m"}})
    with Ledger.open(tmp_path) as ledger:
        ledger.start_run(real)
        await log.record(replace(LOST, lost_usd=0.0))
        print_summary(console, summarize(ledger), "paused")
        assert "0 with at most 30 tokens, cost unknown" in shown(console)
        await log.record(replace(LOST, role="verifier", usd=0.0, lost_usd=0.0, request_key="k2"))
        assert summarize(ledger).usage["verifier"].usd == 0.0  # it costs nothing
    log.close()
    assert "the tokens of 1 call are not known" in shown(console)


async def test_figures_that_nobody_counted_are_shown_as_upper_bounds(tmp_path: Path) -> None:
    """In `status`, and so where anybody looks for what a run has cost."""
    console, log = terminal(80), CallLog(tmp_path / "run.db")
    with Ledger.open(tmp_path) as ledger:
        ledger.start_run(RUN)
        await log.record(CALL)
        print_summary(console, summarize(ledger), "done")
        assert "1 with 12 tokens, $0.2500" in shown(console)
        await log.record(replace(CALL, request_key="k2", estimated=True))
        await log.record(replace(LOST, request_key="k3"))
        found = summarize(ledger)
        print_summary(console, found, "done")
    log.close()
    assert "2 with at most 54 tokens, at most $1.0000" in shown(console)
    assert "the tokens of 2 calls are not known" in shown(console)
    assert (found.plain()["estimated"], found.plain()["tokens"]) == (2, 54)
    assert found.usage["judge"].failures == 1
