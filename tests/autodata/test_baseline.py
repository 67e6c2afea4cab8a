"""The one-shot baselines: one question of each document, both sides asked, the final filters alone
choose, and what the gate says stands on record."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autodata.agents.replies import ReasonedCandidateReply
from autodata.graph.baseline import EVOLUTIONS, build_baseline
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import Baseline, RunChoices
from autodata.ledger.ledger import Ledger
from autodata.prompt_store.prompt import one_shot
from autodata.tasks import TASKS
from autodata.tasks.acceptance import Acceptance
from autodata.tasks.measured import BY_POLICY
from autodata.tasks.types import Round
from tests.graph.scripted import CS, DOCUMENT, FAIL, GOOD, marks, scripted_context
from tests.graph.test_drawing import unopened
from tests.outside import DEMO, Folder, Simulated
from tests.sources import ROOT
from tests.test_story import ANSWERED, until

METHODS: tuple[Baseline, ...] = ("self-instruct", "cot", "evol")
PAGE = ROOT / "docs" / "baselines.md"
REASONED = {**GOOD, "reasoning": "The log is settled by majorities, so I ask for what they keep."}


def begin(folder: Folder, method: str, task: str, *words: str, code: int = 0) -> str:
    """`autodata baseline` on the demo documents, into a folder named by method and task; on few of
    science, where a call takes longest."""
    out, files = f"{method}-{task}", "[b-e]*" if task == "science" else "*"
    asked = ("baseline", str(DEMO / task / files), "--method", method, "--task", task, "--out", out)
    return folder(*asked, *words, code=code)


def recorded(folder: Folder, run: str) -> Iterator[Round]:
    """The last round of each decided document."""
    with Ledger.open(folder.path / run, create=False) as ledger:
        row = ledger.run()
        for document_id in ledger.outcomes(row.id):
            yield ledger.rounds(row.id, document_id)[-1]


@pytest.mark.parametrize(
    ("method", "task"), [("self-instruct", "cs"), ("cot", "legal"), ("evol", "science")]
)
def test_one_question_of_each_document_is_asked_of_both_sides_whatever_they_score(
    folder: Folder, method: str, task: str
) -> None:
    own, run = TASKS[task], f"{method}-{task}"
    policy = own.policy(Acceptance(), own.weak_attempts, own.strong_attempts)

    begin(folder, method, task)

    rounds = [round for round in recorded(folder, run) if round.number]
    assert len(rounds) >= 4
    assert {round.number for round in rounds} == {1}
    asked = [round for round in rounds if round.weak or round.strong]
    sides = {(len(round.weak), len(round.strong)) for round in asked}
    assert sides == {(own.weak_attempts, own.strong_attempts)}
    accepted = [round for round in rounds if round.decision == "accepted"]
    assert accepted
    for round in accepted:  # the final check passed this very candidate
        assert round.candidate
        assert round.final_verdict
        assert round.final_verdict.passed
        assert round.final_verdict.fingerprint == round.candidate.fingerprint
        assert own.judged_by_loop == (round.judgement is not None)
    for round in asked:  # the gate's objections stand on record, and no document falls by them
        said = [o for o in round.objections if o.code in BY_POLICY]
        assert [o.code for o in said] == [o.code for o in policy.objections(round)]
        if round.decision == "rejected":
            assert round.objections[0].code not in BY_POLICY
    assert any(round.objections for round in accepted), "a gate would have let in all of them"

    figures = json.loads(folder("status", run, "--json"))
    assert figures["rounds_mean"] == 1 or task == "legal"  # where a document was skipped
    assert figures["baseline"] == method
    assert figures["unobjected"] == sum(not round.objections for round in accepted)
    assert figures["attempts"]["weak"]["made"] == own.weak_attempts * len(asked)
    writers = folder.query(
        "select count(*) from calls where role in ('verifier', 'orchestrator')", run
    )
    assert writers == [(0,)]


def test_a_baseline_is_a_run_like_any_other_and_names_its_method(folder: Folder) -> None:
    said = begin(folder, "cot", "cs", "--target", "2", "--set", "run.rounds=9")
    assert "run.rounds changes nothing: a baseline has one shot" in said
    assert "baseline    cot, in one shot: " in said

    told = folder("redecide", "cot-cs", "--preset", "deployed")
    assert "accepted as recorded" in told
    assert ", 0 open" in told  # nothing is left to ask for
    assert "passed again" in folder("remeasure", "cot-cs")
    folder("export", "cot-cs", "--format", "jsonl")
    card = (folder.path / "cot-cs" / "examples.md").read_text()
    assert "| method | cot, in one shot |" in card
    assert "no score chose it" in " ".join(card.split())
    folder("report", "cot-cs")
    page = (folder.path / "cot-cs" / "report.html").read_text()
    assert "<dt>method</dt><dd>cot, in one shot" in page
    objected = folder.query(
        "select document_id from rounds where decision = 'accepted' and objections != '[]'",
        "cot-cs",
    )
    assert "thresholds   " in folder("show", "cot-cs", objected[0][0])


def test_a_killed_baseline_goes_on_where_it_was(folder: Folder, server: Simulated) -> None:
    words = ("baseline", "docs", "--method", "evol", "--task", "cs", "--out", "run")
    with folder.started(*words, "--set", "run.documents_in_flight=1") as process:
        until(process, "accepted")
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = folder.query("select id, question from examples")
    assert kept

    folder("resume", "run")

    assert set(kept) <= set(folder.query("select id, question from examples"))
    assert len(folder.query("select distinct document_id from rounds")) == 4
    [(answered,)] = folder.query(ANSWERED)
    assert 0 <= server.answers - answered <= 2 * TASKS["cs"].weak_attempts  # in flight at the end
    before = folder.query("select count(*) from calls")
    folder(*words, "--set", "run.documents_in_flight=1")  # nothing is left to do
    assert folder.query("select count(*) from calls") == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "tot", "--task", "cs"], "must be 'cot', 'self-instruct' or 'evol'"),
        (["--task", "cs"], "Say --method cot, --method self-instruct or --method evol"),
        (["--method", "cot"], "--task cs, --task legal"),
        (["--method", "cot", "--task", "procedural"], "procedural has no baseline"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    folder: Folder, words: list[str], said: str
) -> None:
    assert said in folder("baseline", "docs", *words, "--out", "run", code=2)
    assert not (folder.path / "run" / "run.db").exists()


def test_a_folder_keeps_to_its_method(folder: Folder) -> None:
    begin(folder, "cot", "cs", "--target", "1")
    (folder.path / "cot-cs").rename(folder.path / "evol-cs")
    assert "run.baseline: cot → evol" in begin(folder, "evol", "cs", code=2)
    loop = folder("run", str(DEMO / "cs"), "--task", "cs", "--out", "evol-cs", code=2)
    assert "run.baseline: cot → not set" in loop
    stated = ("--set", "run.baseline=cot")
    sides = ("--train", "docs", "--validation", "docs")
    refused = folder("optimize", "--task", "cs", *sides, "--out", "opt", *stated, code=2)
    assert "run.baseline: cot is for `autodata baseline`" in refused


async def played(
    folder: Path, method: Baseline, **script: Any
) -> tuple[tuple[Round, ...], list[str]]:
    """One document by a method and scripted models: its rounds, what the challenger was sent."""
    async with scripted_context(folder, {**CS, **script}) as (context, models):
        own = replace(context, prompts=one_shot("cs", method))
        batch = Batch("cs", RunChoices(), [DOCUMENT.id], in_flight=1, baseline=method)
        await run_documents(own, batch)
        sent = ["\n".join(m.content for m in said) for who, said in models.messages]
        challenged = [who == "challenger" for who, _ in models.messages]
        return context.ledger.rounds("run", DOCUMENT.id), [
            text for text, its in zip(sent, challenged, strict=True) if its
        ]


def question_of(rounds: tuple[Round, ...]) -> str:
    assert rounds[-1].candidate
    return rounds[-1].candidate.question


async def test_each_method_writes_as_it_says(tmp_path: Path) -> None:
    evolved = [{**GOOD, "question": f"What does it keep, asked anew {n}?"} for n in (1, 2)]
    rounds, sent = await played(tmp_path / "evol", "evol", challenger=[GOOD, *evolved])
    first, *steps = sent
    assert len(steps) == EVOLUTIONS
    assert GOOD["question"] not in first
    assert f"<question>\n{GOOD['question']}\n</question>" in steps[0]
    assert f"<question>\n{evolved[0]['question']}\n</question>" in steps[1]
    orders = [step.partition("<instruction>\n")[2] for step in steps]
    assert orders[0] != orders[1]
    assert all(order.startswith("**") for order in orders)
    assert question_of(rounds) == evolved[1]["question"]

    rounds, sent = await played(tmp_path / "cot", "cot", challenger=REASONED)
    assert len(sent) == 1
    assert "`reasoning`" in sent[0]
    assert next(iter(ReasonedCandidateReply.model_fields)) == "reasoning"  # a model writes it first
    with pytest.raises(ValidationError, match="reasoning"):  # and a reply without it is no use
        await played(tmp_path / "silent", "cot", challenger=GOOD)
    assert rounds[-1].decision == "accepted"
    rounds, _ = await played(tmp_path / "plain", "self-instruct")
    assert rounds[-1].decision == "accepted"


async def test_a_step_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    last = {**GOOD, "question": "What does it keep in the end?"}
    unscorable = {**GOOD, "rubric": [{"criterion": "claims an error", "weight": -3}]}
    for name, lost in (("malformed", "no JSON"), ("unscorable", unscorable)):
        replies = [GOOD, lost, last]
        rounds, sent = await played(tmp_path / name, "evol", challenger=replies)
        assert f"<question>\n{GOOD['question']}\n</question>" in sent[2]
        assert question_of(rounds) == last["question"]


async def test_only_form_and_final_check_reject(tmp_path: Path) -> None:
    [hopeless], _ = await played(tmp_path / "zero", "self-instruct", judge=marks(0))
    assert hopeless.decision == "accepted"
    assert hopeless.objections[0].code == "STRONG_FAILED"

    [failed], _ = await played(tmp_path / "failed", "self-instruct", final_verifier=FAIL)
    assert failed.decision == "rejected"
    assert failed.objections[0].code == "QUALITY"
    assert failed.weak  # asked before the filters
    assert failed.strong

    [unread], _ = await played(tmp_path / "unread", "self-instruct", challenger="no JSON")
    assert [o.code for o in unread.objections] == ["MALFORMED"]
    unscorable = {**GOOD, "rubric": [{"criterion": "claims an error", "weight": -3}]}
    [none], _ = await played(tmp_path / "none", "self-instruct", challenger=unscorable)
    assert none.decision == "rejected"
    assert none.weak == ()
    [unmarked], _ = await played(tmp_path / "unmarked", "self-instruct", judge="no JSON")
    assert unmarked.decision == "rejected"
    assert unmarked.objections[0].code == "MALFORMED"


def test_the_drawing_in_the_docs_is_up_to_date() -> None:
    """Run with AUTODATA_WRITE_DOCS=1 to draw it anew."""
    page = PAGE.read_text()
    drawing = build_baseline("evol", unopened).get_graph().draw_mermaid().strip()
    before, _, rest = page.partition("<!-- graph -->\n")
    after = rest.partition("<!-- /graph -->")[2]
    drawn = f"{before}<!-- graph -->\n```mermaid\n{drawing}\n```\n<!-- /graph -->{after}"
    if os.environ.get("AUTODATA_WRITE_DOCS"):
        PAGE.write_text(drawn)
    assert PAGE.read_text() == drawn
