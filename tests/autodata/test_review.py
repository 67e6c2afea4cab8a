"""A run whose examples a person reads: told from outside, on simulated models."""

import json
import os
import pty
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from select import select
from typing import Any

import pytest

from tests.outside import Folder, Simulated
from tests.processes import Started, at_terminal, command, forked

RUN = ("run", "docs", "--task", "cs", "--out", "run", "--review", "before-accept")
LENIENT = [f"--set=acceptance.{at}" for at in ("weak_max=0.95", "strong_min=0.1", "gap_min=0.01")]
# Breaks what it is given; the second time it mends that, and shortens the reference answer.
EDITOR = """
import sys, yaml
with open(sys.argv[1]) as file:
    given = file.read()
whole = given.removesuffix("broken: [\\n")
values = yaml.safe_load(whole)
values["reference_answer"] = "In short: " + values["reference_answer"]
with open(sys.argv[1], "w") as file:
    file.write(given + "broken: [\\n" if given == whole else yaml.safe_dump(values))
"""
PATIENCE = 20.0  # seconds within which a command prints or ends
PAID = "select count(*) from calls where status != 'failed'"


def waiting(folder: Folder) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(folder("review", "run", "--json"))
    return found


def status(folder: Folder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(folder("status", "run", "--json"))
    return found


@pytest.fixture
def run(folder: Folder) -> Folder:
    """A run that pauses, since all that is left waits for a person."""
    said = folder(*RUN, code=3)
    count = status(folder)["waiting"]
    assert count >= 2
    assert f"paused: {count} wait for review. `autodata review run` asks you" in said
    assert "Go on with: autodata resume run" in said
    return folder


def test_a_run_pauses_for_reviews_and_asks_nothing_twice(run: Folder) -> None:
    stands = status(run)
    assert (stands["status"], stands["documents"]["accepted"]) == ("paused", 0)
    assert stands["documents"]["undecided"] == stands["waiting"]
    assert f"{stands['waiting']} wait for review" in run("status", "run")
    asked = run.query("select count(*) from calls")
    run("resume", "run", code=3)
    assert run.query("select count(*) from calls") == asked
    names = [one["document"]["name"] for one in waiting(run)]
    assert "it waits for review: autodata review run" in run("show", "run", names[0], code=2)
    run("review", "run", "--accept", *names[:-1], "--by", "Ann")
    run("resume", "run", code=3)
    assert run.query("select count(*) from calls") == asked
    stands = status(run)
    assert (stands["documents"]["accepted"], stands["waiting"]) == (len(names) - 1, 1)
    run("review", "run", "--accept", names[-1], "--by", "Ann")
    run("resume", "run")
    assert status(run)["status"] == "done"
    assert run.query("select distinct reviewed_by, edited_by from examples") == [("Ann", None)]


def test_what_is_sent_back_goes_on_with_the_reason(run: Folder) -> None:
    [first, *_] = waiting(run)
    name, number = first["document"]["name"], first["round"]
    run("review", "run", "--reject", name, "--reason", "two questions in one", "--by", "Ann")
    assert name not in [one["document"]["name"] for one in waiting(run)]
    run("resume", "run", code=3)
    [again] = [one for one in waiting(run) if one["document"]["name"] == name]
    assert again["round"] > number
    assert {"round": number, "code": "REVIEWED", "message": "two questions in one"} in again[
        "objections"
    ]
    run("review", "run", "--accept", name, "--by", "Ann")
    run("resume", "run", code=3)
    assert "sent back by Ann" in run("show", "run", name)
    assert "REVIEWED  two questions in one" in run("show", "run", name)


def test_an_edited_question_is_attempted_afresh_and_the_files_say_who_edited_it(
    folder: Folder,
) -> None:
    run = folder
    run(*RUN, *LENIENT, code=3)
    for at, one in enumerate(waiting(run)):
        question = f"{one['candidate']['question']} Say what you would measure."
        (run.path / f"{at}.yaml").write_text(json.dumps({"question": question}))
        name = one["document"]["name"]
        said = run("review", "run", "--edit", name, f"{at}.yaml", "--reason", "why", "--by", "Bo")
        assert f"{name}  edited by Bo" in said
    paid = run.query(PAID)
    run("resume", "run", code=3)
    assert run.query(PAID) > paid
    while names := [one["document"]["name"] for one in waiting(run)]:
        run("review", "run", "--accept", *names, "--by", "Ann")
        run("resume", "run")
    kept = run.query("select document_id, question from examples where edited_by = 'Bo'")
    assert kept
    assert all(question.endswith("Say what you would measure.") for _, question in kept)
    story = run("show", "run", kept[0][0])
    assert "edited by Bo" in story
    assert "REVIEWED  a reviewer edited the candidate: why" in story
    run("export", "run", "--format", "jsonl", "-o", "all.jsonl")
    rows = [json.loads(line) for line in (run.path / "all.jsonl").read_text().splitlines()]
    assert {row["meta"]["reviewed_by"] for row in rows} == {"Ann"}
    assert [row["meta"]["edited_by"] for row in rows].count("Bo") == len(kept)
    card = (run.path / "all.md").read_text()
    assert f"| read by a person | {len(rows)}, {len(kept)} of them edited (Ann; 20" in card
    assert "a person accepted each" in card


def first_accepted(folder: Folder, process: Started) -> dict[str, Any]:
    """What waits first in a run that goes on, which Ann has accepted."""
    assert any(line.startswith("waits") for line in process.stdout)
    [one, *_] = waiting(folder)
    folder("review", "run", "--accept", one["document"]["name"], "--by", "Ann")
    return one


def test_a_killed_run_keeps_its_reviews_and_can_be_reviewed_while_it_runs(
    folder: Folder, server: Simulated
) -> None:
    """What was answered meanwhile is picked up by the run itself, or after it was killed."""
    with folder.started(*RUN) as process:
        one = first_accepted(folder, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    folder("resume", "run", code=3)
    assert folder.query("select document_id, reviewed_by from examples") == [
        (one["document"]["id"], "Ann")
    ]
    twice = "select request_key from calls where status != 'failed' group by 1 having count(*) > 1"
    assert folder.query(twice) == []


def test_a_review_during_the_run_is_picked_up_before_it_ends(
    folder: Folder, server: Simulated
) -> None:
    with folder.started(*RUN) as process:
        one = first_accepted(folder, process)
        said = process.stdout.read()
        assert process.wait() == 3
    assert f"rounds  {one['document']['name']}" in said
    assert folder.query("select reviewed_by from examples") == [("Ann",)]


def test_a_target_is_not_overshot_while_reviews_are_outstanding(folder: Folder) -> None:
    one_at_a_time = ("--set", "run.documents_in_flight=1")
    said = folder(*RUN, "--target", "1", *one_at_a_time, code=3)
    assert "paused: 1 waits for review" in said
    folder("review", "run", "--accept", waiting(folder)[0]["document"]["name"], "--by", "Ann")
    folder("resume", "run")
    assert (status(folder)["status"], status(folder)["documents"]["accepted"]) == ("done", 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--accept", "zzz"], "no document of this run is called 'zzz'"),
        (["--reject", "WAITS"], "reason is missing: say why"),
        (["--accept", "WAITS", "--reason", "fine"], "--reason goes with --reject or --edit"),
        (["--accept", "WAITS", "--list"], "use them alone"),
        (["--accept", "WAITS", "--reject", "WAITS", "--reason", "?"], "is named twice"),
        (["--edit", "WAITS", "none.yaml"], "none.yaml: No such file"),
        (["--edit", "WAITS", "broken.yaml"], "broken.yaml: not YAML"),
        (["--edit", "WAITS", "words.yaml"], "candidate: input should be"),
        (["--edit", "WAITS", "empty.yaml"], "the edit changes nothing"),
        (["--accept", "WAITS", "--by", " "], "by is blank"),
        (["--run", "other", "--list"], "holds no run other"),
        ([], "there is no terminal to ask at; see --list"),
    ],
    ids=str,
)
def test_a_slip_of_a_reviewer_is_told_in_words_and_changes_nothing(
    run: Folder, words: list[str], said: str
) -> None:
    for name, text in (("broken", "question: ["), ("words", "fine"), ("empty", "")):
        (run.path / f"{name}.yaml").write_text(text)
    before = waiting(run)
    name = before[0]["document"]["name"]
    answered = [name if word == "WAITS" else word for word in words]
    assert said in run("review", "run", *answered, code=2)
    assert waiting(run) == before


def test_what_does_not_wait_cannot_be_answered(run: Folder) -> None:
    name = waiting(run)[0]["document"]["name"]
    run("review", "run", "--accept", name, "--by", "Ann")
    assert f"{name} does not wait for review" in run("review", "run", "--accept", name, code=2)


def typed(
    folder: Folder, *keys: tuple[str, str], editor: str = "true", place: str = "run", code: int = 0
) -> str:
    """What a reviewer at a terminal reads who types these keys, each when its prompt is there."""
    ours, theirs = pty.openpty()
    environment = {**folder.env, "EDITOR": editor, "VISUAL": editor}
    with Connection(theirs) as terminal:
        words = ("review", place, "--by", "Ann")
        process = forked(at_terminal, terminal, command, words, folder.path, environment)
    seen, unread = "", ""
    waiting_keys: Sequence[tuple[str, str]] = keys
    while select([ours], [], [], PATIENCE)[0]:
        try:
            unread += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # the terminal is closed when the command has ended
            break
        if waiting_keys and waiting_keys[0][0] in unread:
            (_, key), *waiting_keys = waiting_keys
            seen, unread = seen + unread, ""
            os.write(ours, f"{key}\n".encode())
    os.close(ours)  # which ends whoever still reads from it
    process.join()
    assert process.exitcode == code, seen + unread
    return seen + unread


def test_a_reviewer_at_a_terminal_is_shown_each_example_and_asked(run: Folder) -> None:
    before = waiting(run)
    editor = run.path / "edit"
    editor.write_text(f"#!{sys.executable}\n{EDITOR}")
    editor.chmod(0o755)
    keys = [("> ", "x"), ("> ", "f"), ("> ", "e"), ("> ", "e"), ("why: ", "shorter"), ("> ", "q")]
    said = typed(run, *keys, editor=str(editor))
    assert "a accept · r send back · e edit" in said
    assert f"1 of {len(before)}, as Ann" in said
    assert before[0]["document"]["name"] in said
    assert "weak 1" in said  # in full, with answers
    assert "not YAML" in said
    assert "edited by Ann" in said
    assert waiting(run) == before[1:]
    [(edited,)] = run.query(
        "select json_extract(edited, '$.reference_answer') from reviews where edited is not null"
    )
    assert edited == f"In short: {before[0]['candidate']['reference_answer']}"


def test_a_reviewer_who_leaves_at_the_prompt_stops_as_any_command_does(run: Folder) -> None:
    said = typed(run, ("> ", "\x04"), code=130)
    assert said.rstrip().endswith("autodata: stopped")


def test_a_reviewer_at_a_terminal_skips_accepts_and_sends_back(run: Folder) -> None:
    names = [one["document"]["name"] for one in waiting(run)]
    said = typed(run, ("> ", "s"), ("> ", "r"), ("why: ", "two in one"), *[("> ", "q")] * 2)
    assert f"{names[1]}  sent back by Ann" in said
    assert names[1] not in [one["document"]["name"] for one in waiting(run)]
    typed(run, ("> ", "a"), ("> ", "q"))
    assert len(waiting(run)) == len(names) - 2
