"""An optimization whose edits a person reads: told from outside, on simulated models."""

import json
from typing import Any

import pytest

from autodata.prompt_store.store import Commit, Store
from tests.autodata.test_optimize import prepared, words
from tests.autodata.test_review import typed
from tests.outside import Folder

REVIEWED = ("--review", "before-keep")
WAITS = 2  # the first iteration whose edit would be kept
CALLS = "select count(*) from calls"
OTHER = ("--review", "before-accept")


def waiting(folder: Folder) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(folder("review", "opt", "--json"))
    return found


def commit(folder: Folder, number: int) -> Commit:
    """That of an iteration."""
    history = Store.open(folder.path / "prompts").history()
    [found] = [c for c in history if c.trailers.get("Autodata-Iteration") == str(number)]
    return found


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """An optimization that pauses, since all that is left waits for a person; only looked at."""
    return begun(prepared(tmp_path_factory.mktemp("waits")))


def begun(folder: Folder, *more: str) -> Folder:
    said = folder(*words("--iterations", "5", *REVIEWED, *more), code=3)
    assert "paused: 1 waits for review. `autodata review opt` asks you about each" in said
    assert "Go on with: autodata resume opt" in said
    return folder


@pytest.fixture
def folder(paused: Folder, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The same, to go on with."""
    return begun(prepared(tmp_path_factory.mktemp("goes-on")))


def test_it_pauses_before_an_edit_is_committed_and_shows_what_it_would_keep(
    paused: Folder,
) -> None:
    before = paused.query(CALLS, "opt")
    assert "1 waits for review" in paused("resume", "opt", code=3)
    assert paused.query(CALLS, "opt") == before
    [one] = waiting(paused)
    assert one["iteration"] == WAITS
    assert one["diff"].startswith("--- a/cs/")
    assert f"\n+{one['subject'][:40]}" in one["diff"]
    assert one["score"]["score"] > one["parent_score"]["score"] > one["parent_score"]["low"]
    assert one["intent"]
    assert one["predicts"].endswith(("rises", "falls"))
    assert set(one["reply"]) == {"decision", "reason", "by"}
    assert paused.query("select max(number) from iterations", "opt") == [(WAITS - 1,)]
    subjects = {c.subject for c in Store.open(paused.path / "prompts").history()}
    assert one["subject"] not in subjects
    assert json.loads(paused("status", "opt", "--json"))["waiting"] == 1
    assert "1 waits for review" in paused("status", "opt")
    assert one["subject"] in paused("review", "opt", "--list")


SLIPS = [
    (["--accept", "1"], "iteration 1 does not wait for review"),
    (["--reject", str(WAITS)], "reason is missing: say why, since the next analyst reads it"),
    (["--accept", str(WAITS), "--by", " "], "by is blank"),
    (["--edit", str(WAITS), "better.yaml"], "an edit of prompts is kept or turned down"),
    (["--accept", str(WAITS), "--list"], "use them alone"),
    ([], "there is no terminal to ask at; see --list"),
]


@pytest.mark.parametrize(("said", "answer"), SLIPS, ids=str)
def test_a_slip_of_a_reviewer_is_told_in_words_and_changes_nothing(
    paused: Folder, said: list[str], answer: str
) -> None:
    (paused.path / "better.yaml").write_text("{}")
    assert answer in paused("review", "opt", *said, code=2)
    assert [one["iteration"] for one in waiting(paused)] == [WAITS]


def test_what_is_kept_joins_the_population_and_the_commit_says_who_kept_it(
    folder: Folder,
) -> None:
    said = folder("review", "opt", "--accept", str(WAITS), "--by", "Ann")
    assert f"iteration {WAITS}  kept by Ann" in said
    calls = folder.query(CALLS, "opt")
    assert "(kept by Ann)" in folder("resume", "opt", code=3)
    assert folder.query(CALLS, "opt") > calls  # the next iteration studies it
    made = commit(folder, WAITS)
    assert made.trailers["Autodata-Decision"] == "kept"
    assert made.trailers["Reviewed-by"] == "Ann"
    assert made.trailers["Autodata-Review"].startswith("kept by Ann, 20")
    pop = Store.open(folder.path / "prompts").refs("refs/autodata/")
    assert any(ref.endswith(f"/pop/{WAITS}") and pop[ref] == made.sha for ref in pop)
    [(review,)] = folder.query(
        f"select details ->> '$.review.by' from iterations where number = {WAITS}", "opt"
    )
    assert review == "Ann"


def test_what_is_turned_down_is_no_parent_and_the_next_analyst_reads_why(folder: Folder) -> None:
    why = "it says what every prompt says"
    folder("review", "opt", "--reject", str(WAITS), "--reason", why, "--by", "Zoë Quist")
    folder("resume", "opt", code=3)
    made = commit(folder, WAITS)
    assert made.trailers["Autodata-Decision"] == "rejected"
    assert made.trailers["Reviewed-by"] == "Zoë Quist"
    assert f"a reviewer turned it down: {why}" in " ".join(made.body.split())
    assert folder.query(f"select count(*) from iterations where parent = {WAITS}", "opt") == [(0,)]
    assert [one["iteration"] for one in waiting(folder)] != [WAITS]
    history = (folder.path / "opt/evidence" / f"{WAITS + 1:03}" / "history.md").read_text()
    assert f"- Iteration {WAITS}: {why}" in history
    told = folder.query("select group_concat(request) from calls where role = 'editor'", "opt")
    assert "Zoë" not in history + str(told)


def test_a_reviewer_at_a_terminal_is_shown_the_change_and_asked(folder: Folder) -> None:
    keys = [("> ", "x"), ("> ", "f"), ("> ", "r"), ("why: ", " ")]
    keys += [("> ", "r"), ("why: ", "too long")]
    said = typed(folder, *keys, place="opt")
    assert "a keep · r turn down" in said
    assert "Simulated models" in said
    assert f"Iteration {WAITS}: " in said
    assert "+++ b/cs/" in said
    assert "## " in said  # the diagnosis, in full
    assert f"iteration {WAITS}  turned down by Ann" in said
    assert waiting(folder) == []


def test_another_iteration_under_way_goes_on_while_one_waits(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It sees what lies two before it, and so does not build on what waits."""
    folder = begun(prepared(tmp_path_factory.mktemp("two")), "--parallel", "2", "--seed", "8")
    [one] = waiting(folder)
    made = [n for (n,) in folder.query("select number from iterations order by number", "opt")]
    assert one["iteration"] not in made
    assert max(made) == one["iteration"] + 1


@pytest.mark.parametrize(
    ("typed_words", "said"),
    [
        (["run", "train", "--review", "before-keep"], "before_keep is about prompt edits"),
        (
            ["optimize", "--train", "train", "--validation", "validation", *OTHER],
            "an optimization asks no person about examples; it takes before-keep",
        ),
    ],
)
def test_a_review_of_the_other_kind_is_refused(
    paused: Folder, typed_words: list[str], said: str
) -> None:
    assert said in paused(*typed_words, "--task", "cs", "--out", "other", code=2)


def test_reviews_cannot_be_asked_for_or_left_out_later(paused: Folder) -> None:
    said = paused(*words("--iterations", "4"), code=2)
    assert "optimize.review: before_keep → not set" in said
