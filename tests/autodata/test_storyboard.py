"""The story of a document says each thing once, and lets broken replies be read."""

from io import StringIO
from pathlib import Path

from autodata.graph.state import RunChoices
from autodata.ledger.calls import Call, CallLog
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.screen import Screen
from autodata.storyboard import tell, tell_unreadable
from tests.graph.scripted import CS, DOCUMENT, FAIL, play


async def test_a_broken_reply_can_be_read(tmp_path: Path) -> None:
    ledger, screen = Ledger.open(tmp_path), Screen(file=StringIO(), width=80)
    log = CallLog(ledger.path)
    for role, status, said in (
        ("challenger", "malformed", "I would rather [not] say"),
        ("weak_solver", "truncated", "an answer in words"),
        ("judge", "ok", "{}"),
    ):
        await log.record(
            Call("d", role, "e", "m", role, 1, status, response=said, error="it is not JSON",
                 started_at="2026-11-27")
        )  # fmt: skip
    tell_unreadable(screen, ledger.unreadable("d"), full=False)
    log.close()
    ledger.close()
    assert isinstance(screen.file, StringIO)
    assert screen.file.getvalue().split("\n")[1:] == [
        "Replies that could not be read",
        "challenger: it is not JSON",
        "I would rather [not] say",
        "",
    ]


async def test_an_objection_of_the_verifier_is_told_once(tmp_path: Path) -> None:
    script = {**CS, "verifier": FAIL}
    rounds, _ = await play(tmp_path, script, choices=RunChoices(rounds=1))
    screen = Screen(file=StringIO(), width=110)
    run = RunRow(id="run", task="cs", prompts_revision="seed")
    tell(screen, run, DOCUMENT, rounds, full=True)
    assert isinstance(screen.file, StringIO)
    assert screen.file.getvalue().count("two things") == 1
