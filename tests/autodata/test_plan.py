"""A pilot before all is paid for, told from outside: models over HTTP on loopback."""

import json

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
    assert "at least 2: go on with" in folder("plan", "run", code=2)
    assert "a run with a configuration of its own" in folder("plan", "run", "--rounds", "3", code=2)
