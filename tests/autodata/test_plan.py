"""A pilot before all is paid for, told from outside: models over HTTP on loopback."""

import json
from typing import Any

from autodata.ledger.calls import Call, CallLog
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.reviews import WaitingRound, ask
from autodata.ledger.rows import RunRow
from autodata.tasks.types import Candidate, Round
from tests.invented import invented
from tests.outside import Folder, Simulated

PLAN = ("plan", "docs", "--task", "cs", "--pilot", "2", "--out", "run", "--rounds", "2")


def test_a_pilot_foretells_the_rest_and_is_paid_for_once(folder: Folder, server: Simulated) -> None:
    said = folder(*PLAN, "--examples", "20")
    assert "2 decided documents as a pilot" in said
    assert "the other 2" in said
    assert "for 20 examples" in said
    assert "Simulated models" in said
    assert folder.query("select count(*) from documents") == [(2,)]

    asked = server.answers
    found = json.loads(folder("plan", "run", "--documents", "4", "--json"))
    assert server.answers == asked
    assert (found["pilot"]["documents"], found["documents_left"]) == (2, 2)
    [(calls,)] = folder.query("select count(*) from calls where status != 'failed'")
    assert found["pilot"]["calls"] == calls == asked
    for what in ("examples", "rounds", "calls", "tokens", "seconds"):
        at = found["rest"][what]
        assert at["low"] <= at["value"] <= at["high"], what

    folder("run", "docs", "--task", "cs", "--out", "run", "--rounds", "2")
    [(again,)] = folder.query(
        f"select count(*) from calls where id > {asked} and scope in"
        f" (select scope from calls where id <= {asked})"
    )
    assert again == 0
    whole = json.loads(folder("plan", "run", "--documents", "10", "--json"))
    assert (whole["pilot"]["documents"], whole["documents_left"]) == (4, 6)


def test_the_sample_is_the_same_in_whatever_order_documents_come(
    folder: Folder, server: Simulated
) -> None:
    names = sorted(path.name for path in (folder.path / "docs").iterdir())
    folder(*PLAN)
    backwards = [f"docs/{name}" for name in reversed(names)]
    folder("plan", *backwards, *PLAN[2:7], "other", *PLAN[8:])
    chosen = [folder.query("select id from documents order by id", run) for run in ("run", "other")]
    assert chosen[0] == chosen[1]


def test_what_cannot_be_a_pilot_is_said_in_words(folder: Folder, server: Simulated) -> None:
    assert "which task is it?" in folder("plan", "docs", code=2)
    said = folder(*PLAN, "--budget-calls", "2", code=3)
    assert "with the same options" in said
    assert "at least 2: go on with `autodata resume run`" in folder("plan", "run", code=2)
    [first, *_] = sorted((folder.path / "docs").iterdir())
    folder("run", str(first), "--task", "cs", "--out", "one", "--rounds", "1")
    said = folder("plan", "one", code=2)
    assert "at least 2: go on with `autodata run MORE_DOCS --task cs --out one`" in said
    beside = folder("compare", "run", "one")
    assert "count nowhere: 2. Those that take fewest rounds" in beside
    assert "B: a figure of one document has no interval" in beside
    for option in ("--rounds", "--pilot", "--seed", "--out", "--config"):
        said = folder("plan", "run", option, "3", code=2)
        assert f"{option} 3: run is a run with a configuration of its own" in said
    for option in ("--budget-usd", "--budget-calls", "--budget-tokens"):
        said = folder("plan", "run", option, "3", code=2)
        assert "read as it stands, and no model is asked; a budget bounds --ceiling" in said


async def test_a_pilot_that_is_not_decided_whole_says_that_it_may_flatter(folder: Folder) -> None:
    """Of eight documents that the first round accepts and six that six rounds reject; two more are
    begun, a third waits for a person, and the last has not been begun."""
    path, documents = folder.path / "run", [*invented(18)]
    run = RunRow(id="cs-1", task="cs", prompts_revision="seed")
    asked = Candidate(context="Given.", question="Why?", reference_answer="So.", rubric=())
    rejected = [Round(number=n, decision="revise") for n in range(1, 6)]
    rejected.append(Round(number=6, decision="rejected"))
    with Ledger.open(path) as ledger:
        ledger.add_documents(documents)
        ledger.start_run(run)
        log = CallLog(path / FILE)
        for document in documents[:-1]:
            call = Call(document.id, "judge", "e", "m", "k", 1, "ok", started_at=run.started_at)
            await log.record(call)
        log.close()
        for document in documents[:8]:
            accepted = Round(number=1, candidate=asked, decision="accepted")
            ledger.record(run.id, document.id, [accepted])
        for document in documents[8:14]:
            ledger.record(run.id, document.id, rejected)
        waits = Round(number=1, candidate=asked)
        ask(ledger, WaitingRound(run_id=run.id, document_id=documents[14].id, rounds=(waits,)))
    said = folder("plan", "run")
    assert "begun, which count nowhere: 2. Those of few rounds are decided first: this may" in said
    assert "from round 1 on" in said
    assert "distinguishably less than rounds do on average" in said
    assert json.loads(folder("plan", "run", "--json"))["pilot"]["undecided"] == 2
    with Ledger.open(path) as ledger:
        for document in documents[15:17]:
            ledger.record(run.id, document.id, rejected)
    assert "undecided" not in folder("plan", "run")


def _searched(said: str) -> dict[str, Any]:
    """What limits the yield, in what a command said; what it told on the way comes before it."""
    found: dict[str, Any] = json.loads(said[said.index("\n{") :])["ceiling"]
    return found


def test_the_ceiling_names_few_tokens_and_is_paid_for_once(folder: Folder) -> None:
    """Of rows of one table, each of which is a text of its own."""
    rows = (json.dumps({"name": one.name, "text": one.text}) for one in invented(6))
    (folder.path / "six.jsonl").write_text("\n".join(rows))
    (folder.path / "few.yaml").write_text(
        "models:\n"
        "  challenger: {endpoint: simulated, model: simulated}\n"
        "  weak_solver: {endpoint: simulated, model: simulated-weak}\n"
        "  strong_solver: {endpoint: simulated, model: simulated-strong, max_tokens: 60}\n"
    )
    pilot = ("plan", "six.jsonl", "--task", "cs", "--pilot", "6", "--rounds", "3", "--out", "run")
    folder(*pilot, "--config", "few.yaml")
    assert "--challenger: another challenger is tried with" in folder(
        "plan", "run", "--challenger", "simulated/simulated", code=2
    )
    paused = folder("plan", "run", "--ceiling", "--budget-calls", "1", code=3)
    assert "plan run --ceiling, with the same options" in paused
    found = _searched(folder("plan", "run", "--ceiling", "--json"))
    assert found["limit"] == "elicitation"
    assert found["room"]["low"] > 0
    [(calls,)] = folder.query("select count(*) from calls")
    said = folder("plan", "run", "--ceiling")
    assert "limit       elicitation: with more tokens the strong side gains" in said
    assert folder.query("select count(*) from calls") == [(calls,)]
    assert not list((folder.path / "run").glob("ceiling-*"))  # nothing else had to be raised


def test_another_passage_is_tried_where_the_first_gave_none_within_one_budget(
    folder: Folder,
) -> None:
    (folder.path / "long").mkdir()
    for document, other in zip(invented(8, 1), invented(8, 2), strict=True):
        (folder.path / "long" / document.name).write_text(f"{document.text}\n{other.text}")
    (folder.path / "long" / document.name).write_text(document.text)  # the last has one passage
    halves = ("--set", "run.passage_tokens=1100", "--set", "acceptance.weak_max=0.1")
    pilot = ("plan", "long", "--task", "cs", "--pilot", "8", "--rounds", "4", "--out", "run")
    folder(*pilot, *halves)
    [(before,)] = folder.query("select count(*) from calls where status != 'failed'")

    def calls() -> int:
        found = [folder.path / "run", *folder.path.glob("run/ceiling-*")]
        names = [str(one.relative_to(folder.path)) for one in found]
        asked = "select count(*) from calls where status != 'failed'"
        return sum(folder.query(asked, name)[0][0] for name in names)

    most = before + 300
    paused = folder("plan", "run", "--ceiling", "--budget-calls", str(most), code=3)
    assert "To find what limits the yield, at the most:" in paused
    assert "on another passage of each document that gave no example" in paused
    assert "the budget is reached" in paused
    assert before < calls() <= most

    found = _searched(folder("plan", "run", "--ceiling", "--json"))
    tried = folder.query("select name from documents", "run/ceiling-passages")
    assert tried
    assert {name[-6:] for (name,) in tried} == {" [2/2]"}
    assert 0 < found["tried_rounds"]["passages"] <= 4 * len(tried)
    given = folder.query("select count(*) from examples")[0][0]
    assert len(tried) + found["without_passage"] == 8 - given
    low, value, high = (found["passages"][end] for end in ("low", "value", "high"))
    assert low <= value <= high
