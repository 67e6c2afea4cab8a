"""The experiment with a real student, without its model: rows, tests, pieces on disk, the table."""

import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import autodata
from autodata.ledger.ledger import Ledger
from autodata.tasks.procedural import challenge
from autodata.tasks.types import Candidate

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import real_student as study

SMALL = replace(
    study.SETTINGS,
    families=("sums", "products"),
    items=12,
    neutral_dials=(0, 1),
    rates=(1e-5, 1e-4),
    sweeps=1,
)


def item(family: str, dial: int, seed: int) -> study.Item:
    made = challenge(f"family: {family}\nsetting: {dial}\nseed: {seed}\n", ())
    assert isinstance(made, Candidate)
    return study.Item(made, dial)


ROWS = {
    "one-shot": [item("sums", 1, n) for n in range(3)] + [item("products", 1, 9)],
    "agentic": [item("sums", 0, n) for n in range(3)] + [item("products", 2, 9)],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of simulated solvers: generators of families that are trained on, and not."""
    folder = tmp_path_factory.mktemp("runs")
    places = [(f, s) for f in ("sums", "products", "boxes") for s in range(2)]
    for family, seed in places:
        about = f"about: items of the family {family}, for a test of the rows of both arms"
        text = f"{about}\nfamily: {family}\nsetting: 1\nseed: {seed}\n"
        (folder / f"{family}-{seed}.txt").write_text(text)
    autodata.run(sorted(folder.iterdir()), task="procedural", config={}, out=folder / "run")
    return folder / "run"


def test_both_arms_have_as_many_rows_of_the_same_documents(runs: Path) -> None:
    rows = study.training_rows([runs, runs], SMALL.families)
    with Ledger.open(runs, create=False) as ledger:
        run = ledger.run().id
        accepted = {example.candidate.question for example in ledger.examples(run)}
        firsts = {ledger.rounds(run, id)[0].candidate.question for id in ledger.document_ids()}
    assert len(rows["one-shot"]) == len(rows["agentic"]) > 1
    assert {row.candidate.question for row in rows["agentic"]} <= accepted
    assert {row.candidate.question for row in rows["one-shot"]} <= firsts
    for arm in rows.values():
        assert {row.candidate.question_type for row in arm} <= {*SMALL.families}
        assert len({row.candidate.question for row in arm}) == len(arm)  # though read twice
    for first, last in zip(rows["one-shot"], rows["agentic"], strict=True):
        assert first.candidate.question_type == last.candidate.question_type


def test_a_test_holds_nothing_that_was_trained_on_in_whatever_order() -> None:
    tests = study.fresh_tests(ROWS, 0, SMALL)
    trained = {study._alike(row.candidate) for arm in ROWS.values() for row in arm}
    for test, places in {
        "one-shot": {("sums", 1), ("products", 1)},
        "agentic": {("sums", 0), ("products", 2)},
        "neutral": {(family, dial) for family in SMALL.families for dial in (0, 1)},
    }.items():
        found = tests[test]
        assert len({item.candidate.question for item in found}) == SMALL.items
        assert not trained & {study._alike(item.candidate) for item in found}
        assert {(item.candidate.question_type, item.dial) for item in found} == places
    assert tests == study.fresh_tests(ROWS, 0, SMALL)
    assert tests != study.fresh_tests(ROWS, 1, SMALL)
    turned = ROWS["one-shot"][0].candidate.model_copy(update={"question": "What is 1 + 2?"})
    other = turned.model_copy(update={"question": "What is 2 + 1?"})
    assert study._alike(turned) == study._alike(other)


def test_a_space_of_items_that_runs_out_is_told_and_not_repeated() -> None:
    few = {arm: [item("products", 0, 1)] for arm in ROWS}  # 16 products of 2 … 5
    with pytest.raises(ValueError, match=r"only 1\d different items"):
        study.fresh_tests(few, 0, replace(SMALL, items=40))


def test_form_is_counted_apart_and_is_all_that_its_own_arm_is_paid_for() -> None:
    asked = item("sums", 1, 5).candidate
    answers = {
        f"Answer: {asked.reference_answer}": (True, True),
        "Answer: 7": (False, True),
        "I cannot say.": (False, False),
    }
    for answer, expected in answers.items():
        assert study.mark(answer, True, asked) == expected
    assert study.mark(f"Answer: {asked.reference_answer}", False, asked) == (False, False)
    wrong = study.mark("Answer: 7", True, asked)
    assert [study.reward(arm, wrong) for arm in study.ARMS] == [0, 0, 0, 1]


def test_the_solver_is_asked_as_at_the_gate() -> None:
    system, user = study.messages(item("sums", 1, 5).candidate)
    assert (system["role"], user["role"]) == ("system", "user")
    assert "Reply with the answer alone" in system["content"]
    assert item("sums", 1, 5).candidate.question in user["content"]


# Pieces


def answers(right: str, formed: str = "") -> list[dict[str, object]]:
    """Answers, `1` for each that is right; all are of a form that can be read unless stated."""
    forms = formed or "1" * len(right)
    at = {"family": "sums", "dial": 1}
    return [at | {"right": r == "1", "formed": f == "1"} for r, f in zip(right, forms, strict=True)]


def finish(state: Path, piece: study.Piece, told: dict[str, object], seconds: float = 10) -> None:
    study.write(piece.path(state), told | {"cpu_seconds": seconds})


def finish_seed(state: Path, seed: int, right: dict[str, str], seconds: float = 10) -> None:
    log = [{"reward": 0.5, "without_variance": 0.25}] * 6
    for arm in study.ARMS:
        if arm != "base":
            finish(state, study.Piece("train", seed, arm), {"log": log}, seconds)
        told = {test: answers(right[arm]) for test in study.TESTS}
        finish(state, study.Piece("test", seed, arm), told, seconds)


def finish_sweep(state: Path, right: dict[tuple[str, float], str]) -> None:
    for (arm, rate), told in right.items():
        piece = study.Piece("train", study.SWEEP, arm, rate)
        finish(state, piece, {"rate": rate, "log": []})
        tests = {test: answers(told) for test in study.TESTS}
        finish(state, piece._replace(kind="test"), tests)


SWEPT = {
    ("one-shot", 1e-5): "1100",
    ("one-shot", 1e-4): "1000",
    ("agentic", 1e-5): "1000",
    ("agentic", 1e-4): "1110",
}


def test_each_arm_has_the_rate_at_which_it_learned_most_elsewhere(tmp_path: Path) -> None:
    first = study.Piece("train", study.SWEEP, "agentic", 1e-5)
    with study.next_piece(tmp_path, SMALL) as piece:
        assert piece == first
    *most, last = SWEPT
    finish_sweep(tmp_path, {place: SWEPT[place] for place in most})
    unfinished = study.Piece("train", study.SWEEP, *last)
    with study.next_piece(tmp_path, SMALL) as piece:
        assert piece == unfinished
        with study.next_piece(tmp_path, SMALL) as other:  # nobody waits, nor trains before
            assert other == study.Piece("test", 0, "base")
    assert study.chosen_rates(tmp_path, SMALL) == {}
    finish_sweep(tmp_path, {last: SWEPT[last]})
    taken = {"one-shot": 1e-5, "agentic": 1e-4, "format-only": 1e-5}
    assert study.chosen_rates(tmp_path, SMALL) == taken
    told = study.swept(tmp_path, SMALL)
    assert [row["learning rate"] for row in told if row["taken"]] == ["1e-04", "1e-05"]
    even = dict.fromkeys(SWEPT, "1100")
    finish_sweep(tmp_path, even)
    assert set(study.chosen_rates(tmp_path, SMALL).values()) == {1e-5}  # the lower of equal ones


def test_a_killed_experiment_goes_on_and_two_processes_share_it(tmp_path: Path) -> None:
    finish_sweep(tmp_path, SWEPT)
    base = study.Piece("test", 0, "base")
    with study.next_piece(tmp_path, SMALL) as piece:
        assert piece == base
        with study.next_piece(tmp_path, SMALL) as other:
            assert other == study.Piece("train", 0, "one-shot")
            with study.next_piece(tmp_path, SMALL) as third:  # its test waits for the training
                assert third == study.Piece("train", 0, "agentic")
                with study.next_piece(tmp_path, SMALL) as fourth:
                    assert fourth == study.Piece("train", 0, "format-only")
                    with study.next_piece(tmp_path, SMALL) as fifth:  # nobody has to wait
                        assert fifth == study.Piece("test", 1, "base")
    with study.next_piece(tmp_path, SMALL) as again:  # what was not finished is done again
        assert again == base
        finish(tmp_path, base, {})
    finish(tmp_path, study.Piece("train", 0, "one-shot"), {})
    with study.next_piece(tmp_path, SMALL) as piece:
        assert piece == study.Piece("test", 0, "one-shot")
    assert study.spent(tmp_path) == 10 * (2 * len(SWEPT) + 2)


def test_it_ends_when_the_difference_is_known_or_the_time_is_spent(tmp_path: Path) -> None:
    known, open_, spent = (tmp_path / name for name in ("known", "open", "spent"))
    for place in (known, open_, spent):
        place.mkdir()
        finish_sweep(place, SWEPT)
    right = {"base": "0" * 400, "one-shot": "01" * 200, "format-only": "0" * 400}
    for seed in range(3):
        finish_seed(known, seed, right | {"agentic": "01" * 199 + "11"})
        finish_seed(
            open_, seed, right | {"agentic": "1" * (150 + 100 * seed) + "0" * (250 - 100 * seed)}
        )
    finish_seed(spent, 0, right | {"agentic": "1" * 400}, SMALL.budget / 7)
    with study.next_piece(known, SMALL) as piece:
        assert piece is None
    with study.next_piece(spent, SMALL) as piece:
        assert piece is None
    with study.next_piece(open_, SMALL) as piece:
        assert piece == study.Piece("test", 3, "base")


def test_settings_and_rows_stay_those_that_it_was_begun_with(tmp_path: Path, runs: Path) -> None:
    with pytest.raises(SystemExit, match="has no rows yet"):
        study.check_settings(tmp_path, SMALL)
    study.write_rows(tmp_path, [runs], SMALL)
    study.check_settings(tmp_path, SMALL)
    assert study.read_rows(tmp_path) == study.training_rows([runs], SMALL.families)
    with pytest.raises(SystemExit, match="begun with other settings"):
        study.check_settings(tmp_path, replace(SMALL, rates=(1e-4,)))
    with pytest.raises(SystemExit, match="has its rows already"):
        study.write_rows(tmp_path, [runs], SMALL)


# The table


def test_the_table_pairs_items_and_takes_the_seed_as_the_unit(tmp_path: Path) -> None:
    right = {"base": "0000000000", "one-shot": "1111100000", "format-only": "1000000000"}
    finish_seed(tmp_path, 0, right | {"agentic": "1111111100"})
    alone = study.results(tmp_path)
    value, of_items = study.difference(alone, "agentic", "one-shot", "agentic")
    assert value == pytest.approx(0.3)
    assert -0.1 < of_items.low < 0.3 < of_items.high < 0.8
    finish_seed(tmp_path, 1, right | {"agentic": "1100000000"})
    finish(tmp_path, study.Piece("test", 2, "base"), {test: [] for test in study.TESTS})
    both = study.results(tmp_path)  # the third seed is not finished, and not shown
    assert sorted(both) == [0, 1]
    value, of_seeds = study.difference(both, "agentic", "one-shot", "agentic")
    assert value == pytest.approx(0.0)
    assert of_seeds == (-1.0, 1.0)  # .3 and −.3: two seeds tell nothing
    rows = {row["arm"]: row for row in study.table(both)}
    assert list(rows)[:4] == list(study.ARMS)
    assert rows["one-shot"]["neutral"].startswith("0.50 (")
    assert rows["agentic − one-shot"]["neutral"] == "+0.00 (-1.00 to +1.00)"
    assert rows["one-shot − base"]["one-shot"].startswith("+0.50 (")


def test_answers_without_form_have_a_column_of_their_own(tmp_path: Path) -> None:
    finish_seed(tmp_path, 0, dict.fromkeys(study.ARMS, "1100"))
    told = {test: answers("1100", "1110") for test in study.TESTS}
    finish(tmp_path, study.Piece("test", 0, "base"), told)
    rows = {row["arm"]: row for row in study.table(study.results(tmp_path))}
    assert rows["base"]["no answer read"].startswith("0.25 (")
    assert rows["agentic"]["no answer read"].startswith("0.00 (")
    assert study.families(study.results(tmp_path)) == [
        {"family": "sums", "dial": 1} | dict.fromkeys(study.ARMS, "2 of 4")
    ]
    assert study.markdown([{"arm": "base", "share": 0.5, "items": 3}]).splitlines() == [
        "| arm | share | items |",
        "| --- | --- | --- |",
        "| base | 0.50 | 3 |",
    ]
    assert [row["groups without variance"] for row in study.trainings(tmp_path, 1)] == [0.25] * 3


def test_an_experiment_with_no_finished_seed_says_so(tmp_path: Path) -> None:
    study.write(tmp_path / "rows.json", {"settings": asdict(study.SETTINGS), "rows": {}})
    finish(tmp_path, study.Piece("test", 0, "base"), {})
    with pytest.raises(SystemExit, match=r"no seed is finished yet \(done: seed-0-base-test\)"):
        study.show(tmp_path)
