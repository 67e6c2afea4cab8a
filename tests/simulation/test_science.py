"""The simulated science roles do real mathematics."""

import json
from statistics import fmean

import pytest

from autodata.agents.replies import CandidateReply, MarksReply, VerdictReply
from autodata.prompt_store.prompt import locked, packaged
from autodata.simulation.formulas import (
    NotAFormula,
    formulas,
    letters,
    parse,
    read,
    same,
    write,
)
from autodata.simulation.messages import Rng
from autodata.simulation.science import FAMILIES, Family, recognise
from autodata.tasks.science import final_answer
from tests.models.asking import answer, candidates, document, reply, said

OSCILLATOR = document("science", "driven-oscillator")
LETTERS = ("m", "\\omega")
ANGLE = "**The border.** Push a parameter of a result to a limit."

# Solved by hand.
SOLVED = [
    ("W = \\begin{pmatrix} 3 a & b \\\\ 1 & 2 b \\end{pmatrix}", "inverse of $W$", "matrix",
     "\\begin{pmatrix} \\frac{2}{6a-1} & -\\frac{1}{6a-1} \\\\"
     " -\\frac{1}{b(6a-1)} & \\frac{3a}{b(6a-1)} \\end{pmatrix}"),
    ("V(x) = x^3 - 6 a x^2 + 9 a^2 x", "stationary points", "set", "\\{a, 3a\\}"),
    ("y = x^3 - 3 a^2 x", "exactly three points", "interval", "(-2a^3, 2a^3)"),
    ("\\frac{dy}{dt} = 2 b t - a y", "for all times", "expression",
     "\\frac{2b}{a} t - \\frac{2b}{a^2} (1 - e^{-a t})"),
    ("f(x) = 2 |x - a| + |x - 3 a|", "absolute values", "piecewise",
     "\\begin{cases} 5a - 3x & \\text{if } x < a \\\\ a + x & \\text{if } a \\leq x < 3 a \\\\"
     " 3x - 5a & \\text{if } x \\geq 3 a \\end{cases}"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "asked", "kind", "expected"), SOLVED, ids=lambda v: v[:12])
def test_problems_are_solved_right(given: str, asked: str, kind: str, expected: str):
    family = next(f for f in FAMILIES if f.sign in asked or recognise(f"Give the {asked}") is f)
    found = family.solve([given])
    assert found.kind == kind
    assert same(found, read(expected))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_solver_finds_in_the_text_what_the_challenger_put_there(family: Family):
    for seed in range(5):
        rng = Rng("posed", family.name, seed)
        context, question = family.pose(rng, LETTERS)
        assert recognise(question) is family
        right = family.solve(formulas(f"{context} {question}"))
        assert right.kind == family.kind
        assert same(read(right.latex()), read(right.rewritten(rng).latex()))
        assert not same(read(right.latex()), read(right.slipped(rng).latex()))


@pytest.mark.parametrize(
    "latex",
    [
        "\\frac{a}{2} - \\left(b + 1\\right)^{2}",
        "3 x^2 e^{-2 a x}",
        "\\sqrt{k/m} \\omega t",
        "2 |x - 3 a| + \\tau",
    ],
)
def test_formulas_survive_being_read_and_written(latex: str):
    assert parse(write(parse(latex))) == parse(latex)


@pytest.mark.parametrize("latex", ["", "a +", "\\foo{x}", "\\frac{a}{b", "x = 3", "Γ"])
def test_what_is_no_formula_is_refused(latex: str):
    with pytest.raises(NotAFormula):
        parse(latex)


def test_a_documents_letters_are_taken_up():
    found = letters("The energy is $U = \\frac{1}{2} k x^2$; its mass $m$ is $m = 3.2$ kg.")
    assert found[:2] == ("m", "k")


def problems(count: int, **values: str) -> list[CandidateReply]:
    return candidates("science", OSCILLATOR, count, **{"angle": ANGLE, **values})


def test_problems_use_the_documents_letters_and_ask_for_one_object():
    for problem in problems(20):
        assert letters(OSCILLATOR)[0] in problem.context
        assert problem.reference_answer.startswith("$")
        assert problem.rubric == []


def test_the_strong_solver_is_right_more_often_and_says_so_in_the_last_line():
    right = {"simulated-weak": 0, "simulated-strong": 0}
    sound = [p for p in problems(30) if recognise(p.question) and verdict(p).verdict == "PASS"]
    for problem in sound:
        for model in right:
            for seed in range(4):
                given = final_answer(answer("science", problem, model, seed))
                right[model] += given is not None and same(
                    read(given), read(problem.reference_answer)
                )
    assert right["simulated-strong"] > 1.2 * right["simulated-weak"] > 0


def test_a_rambling_answer_is_cut_off_and_gives_no_result():
    hard = next(p for p in problems(80) if "exactly three" in p.question)
    messages = locked("science", "solver").render(context=hard.context, question=hard.question)
    replies = [said(messages, "simulated-weak", seed) for seed in range(150)]
    cut = [r for r in replies if r.finish_reason == "length"]
    assert 0 < len(cut) < 20
    assert all(final_answer(r.content) is None for r in cut)


def verdict(problem: CandidateReply, seed: int = 0) -> VerdictReply:
    messages = (
        packaged()
        .prompt("science", "verifier")
        .render(
            document=OSCILLATOR,
            **problem.model_dump(include={"context", "question", "question_type"}),
            reference_answer=problem.reference_answer,
        )
    )
    return next(v for s in range(seed, seed + 9) if (v := reply(messages, VerdictReply, s)))


def test_the_verifier_solves_the_problem_itself_and_sees_a_wrong_reference():
    sound = next(p for p in problems(60) if verdict(p).verdict == "PASS")
    wrong = sound.model_copy(update={"reference_answer": "$\\frac{m}{17}$"})
    found = [verdict(wrong, seed) for seed in range(30)]
    assert 0.6 < fmean(not v.grounded for v in found) < 1.0  # some are overlooked, as declared


@pytest.mark.parametrize(
    ("given", "met"),
    [("b + a", True), ("\\frac{a^2 - b^2}{a - b}", True), ("a - b", False), ("a + b + ?", False)],
)
def test_the_judge_compares_objects_not_words(given: str, met: bool):
    messages = locked("science", "judge").render(
        context="Let $a > b > 0$.",
        question="What is the sum?",
        rubric="1. The final answer is equivalent to: $a + b$",
        answer=f"Adding up.\n\nFinal answer: ${given}$",
    )
    marks = [m.marks[0].met for seed in range(25) if (m := reply(messages, MarksReply, seed))]
    assert (sum(marks) > len(marks) * 0.8) is met
    assert (sum(marks) < len(marks) * 0.2) is not met


def test_a_challenger_told_to_check_twice_writes_fewer_wrong_references():
    def wrong(rules: str) -> int:
        found = problems(120, rules=rules)
        return sum(not verdict(p).grounded for p in found if recognise(p.question))

    assert wrong("Solve it twice by independent derivations.") < wrong("")


def test_replies_are_json_with_doubled_backslashes():
    assert all("\\" in json.loads(problem.model_dump_json())["context"] for problem in problems(3))
