"""Analyst and editor work with their tools on their own files, and on nothing else."""

from pathlib import Path

from autodata.ledger.iterations import Iteration
from autodata.optimizer.agent import EditWorkspace, EvidenceTools, Quote
from autodata.optimizer.evidence import (
    Prediction,
    Trajectory,
    counts,
    evidence,
    history,
    moved,
    outcome,
    rates,
    write,
)
from autodata.optimizer.guard import Sources
from autodata.prompt_store.prompt import packaged
from autodata.tasks.types import Document, Objection
from tests.optimizer.test_audit import accepted

SEEDS = packaged().files
EASY = Objection(code="TOO_EASY", message="weak mean 0.72, wanted below 0.50")
FAILED = accepted().model_copy(update={"objections": (EASY,), "decision": "revise"})
WON = accepted().model_copy(update={"number": 2, "instruction": "Ask something else."})
LOST = Trajectory(
    document=Document.of("Räume & Ringe.md", "The ring is full. " * 9),
    rounds=(FAILED.model_copy(update={"decision": "rejected"}),),
)
GOOD = Trajectory(document=Document.of("b.md", "The slab is cold. " * 9), rounds=(FAILED, WON))


def workspace() -> EditWorkspace:
    return EditWorkspace("cs", SEEDS, Sources())


def pages() -> dict[str, str]:
    return evidence([GOOD, LOST], {"cs/challenger.md": SEEDS["cs/challenger.md"]}, history([], {}))


def test_trajectories_become_a_folder_that_reads_well(tmp_path: Path) -> None:
    write(tmp_path, pages())
    index = (tmp_path / "index.md").read_text()
    assert "1 of 2 documents yielded an accepted example, after 3 rounds in all" in index
    assert "| TOO_EASY | 2 | 2 |" in index
    assert "| documents/01-b-md | accepted | 2 | TOO_EASY, accepted |" in index
    round = (tmp_path / "documents/02-r-ume-ringe-md/round-1.md").read_text()
    for part in ("- TOO_EASY: weak mean 0.72", "### Rubric", "1. [+5] Derives step 0", "not met"):
        assert part in round
    assert "Ask something else." in (tmp_path / "documents/01-b-md/round-2.md").read_text()
    assert "Nothing was tried yet" in (tmp_path / "history.md").read_text()


async def test_the_analyst_reads_and_searches_its_folder_only() -> None:
    tools = EvidenceTools(pages())
    assert "documents/01-b-md/round-1.md" in await tools.list_files("documents/")
    assert "weak mean 0.72" in await tools.search("WEAK mean 0.72")
    for path in ("/etc/passwd", "../prompts/cs/judge.md", "documents/../../run.db"):
        assert "no such file" in await tools.read(path)


async def test_a_long_file_is_read_in_parts() -> None:
    tools = EvidenceTools({"long.md": "\n".join(f"line {n}" for n in range(1, 451))})
    assert (await tools.read("long.md")).endswith("… 250 more lines; read on from line 201")
    assert (await tools.read("long.md", first_line=401)).startswith("line 401")


async def test_a_quote_that_stands_nowhere_is_refused() -> None:
    tools = EvidenceTools(pages())
    real = [
        Quote(path=f"documents/{name}/round-1.md", words="TOO_EASY: weak\nmean  0.72")
        for name in ("01-b-md", "02-r-ume-ringe-md")
    ]
    invented = Quote(path="index.md", words="everything was fine")
    assert "everything was fine" in await tools.report("Too easy.", [*real, invented])
    assert "at least two files" in await tools.report("Too easy.", real[:1])
    assert tools.diagnosis is None
    assert await tools.report("Too easy.", real) == "reported"
    assert tools.diagnosis


async def test_an_edit_names_what_changed_and_nothing_else() -> None:
    tools = workspace()
    assert await tools.replace("cs/challenger.md", "One question, one thing asked.", "One.") == (
        "replaced"
    )
    assert await tools.check() == "the edit may stand"
    assert await tools.finish("Ask one thing", "Fewer double questions", "QUALITY", "falls") == (
        "finished"
    )
    assert tools.edit
    assert list(tools.edit.files) == ["cs/challenger.md"]
    assert str(tools.edit.predicts) == "QUALITY falls"


async def test_the_editor_reaches_no_other_file() -> None:
    tools = workspace()
    for path in ("cs/judge.md", "legal/challenger.md", "../locked/cs/judge.md", "/tmp/x"):
        assert "no such file" in await tools.create(path, "Be kind.")
        assert "no such file" in await tools.read(path)
    assert "legal" not in await tools.list_files()


async def test_a_passage_that_is_not_unique_is_not_replaced() -> None:
    tools = workspace()
    assert "stands 0 times" in await tools.replace("cs/verifier.md", "no such words", "x")
    assert "not replaced" in await tools.replace("cs/verifier.md", "the", "x")
    assert "not replaced" in await tools.replace("cs/verifier.md", "", "x")


async def test_check_tells_the_editor_what_would_block_the_edit() -> None:
    tools = workspace()
    await tools.replace("cs/challenger.md", "{{instruction}}", "")
    assert "PLACEHOLDER cs/challenger.md" in await tools.check()


def test_failures_are_counted_once_per_round() -> None:
    twice = FAILED.model_copy(update={"objections": (EASY, EASY)})
    assert counts([(twice,), (FAILED, WON)]) == {"TOO_EASY": 2}
    assert rates([(FAILED, WON), (FAILED,)]) == {"TOO_EASY": 1.0, "ACCEPTED": 0.5}
    assert rates([]) == {}


def test_a_prediction_is_held_against_what_happened() -> None:
    before, after = {"TOO_EASY": 2.0, "ACCEPTED": 0.4}, {"TOO_EASY": 0.5, "ACCEPTED": 0.4}
    assert moved(before, after) == {"TOO_EASY": -1.5}
    falls = Prediction(what="TOO_EASY", effect="falls")
    assert outcome(falls, before, after) == "came true"
    assert outcome(Prediction(what="ACCEPTED", effect="rises"), before, after) == "did not"
    assert outcome(falls, {}, after) == "cannot be told"


def test_history_shows_what_was_tried_and_what_came_of_it() -> None:
    tried = Iteration(
        number=3,
        decision="rejected",
        reason="8 of 20 against 13 of 25",
        parent=1,
        revision="c" * 40,
        prompts="p3",
        subject="Ask one thing",
        cause="Double questions",
        predicts="QUALITY falls",
        outcome="did not",
        parent_score=0.52,
        score=0.4,
        rates_before={"QUALITY": 1.0},
        rates_after={"QUALITY": 1.5},
    )
    files = history([tried], {3: "-old\n+new"})
    assert (
        "| 3 | 1 | rejected | 40.0% | 52.0% | Ask one thing | QUALITY falls | did not |"
        in (files["history.md"])
    )
    page = files["history/003.md"]
    for part in ("8 of 20 against 13 of 25", "Double questions", "- QUALITY: +0.50", "+new"):
        assert part in page
