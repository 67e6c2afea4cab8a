"""The training scripts score as the gate does, though they import nothing of ours."""

import ast
import asyncio
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random

import pytest

import scoring
from autodata.models.replies import split_thinking
from autodata.prompt_store.prompt import locked
from autodata.tasks import procedural, rubric, science
from autodata.tasks.task import Comparison
from autodata.tasks.types import Candidate, Mark
from tests.outside import ROOT, Folder
from tests.training.conftest import Rows

TRAINING = ROOT / "training"
SCRIPTS = sorted(TRAINING.glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def algebra() -> Iterator[None]:
    """The processes that compare formulas, ended at the end."""
    yield
    scoring.close()


def test_no_script_imports_anything_of_ours() -> None:
    """They run where nothing but what their heads name is installed."""
    rooms = {
        "autodata",
        *(link.name for link in (ROOT / "autodata").iterdir() if link.is_symlink()),
    }
    for file in SCRIPTS:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert not node.level, file
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & rooms, file


def test_a_script_that_is_run_names_what_it_needs() -> None:
    for file in SCRIPTS:
        text = file.read_text()
        if 'if __name__ == "__main__"' not in text or file.name == "scoring.py":
            continue
        head = re.match(r"# /// script\n(.*?)# ///\n", text, re.DOTALL)
        assert head, f"{file.name} has no inline metadata"
        lines = (line.removeprefix("#").removeprefix(" ") for line in head[1].splitlines())
        assert tomllib.loads("\n".join(lines))["requires-python"] == ">=3.11"


def test_the_taskset_and_the_scripts_score_by_one_file() -> None:
    assert (ROOT / "ledger/taskset/scoring.py.txt").resolve() == TRAINING / "scoring.py"


@pytest.mark.parametrize("domain", ["cs", "legal"])
def test_marks_on_record_come_to_the_score_on_record(
    examples: Callable[[str], Rows], runs: Folder, domain: str
) -> None:
    examples(domain)
    recorded = runs.query("select marks, score from attempts where score is not null", run=domain)
    assert len(recorded) > 20
    for text, score in recorded:
        marks = json.loads(text)
        weights, met = [m["weight"] for m in marks], [m["met"] for m in marks]
        assert scoring.score_of(weights, met) == pytest.approx(score)


@pytest.mark.parametrize("domain", ["procedural", "science"])
def test_answers_on_record_are_compared_as_they_were(
    examples: Callable[[str], Rows], domain: str
) -> None:
    asked = [
        (row, attempt)
        for row in examples(domain)
        for attempt in row["weak"] + row["strong"]
        if not attempt["truncated"]
    ]

    async def compared() -> list[bool | None]:
        return await asyncio.gather(
            *(
                scoring.compared(
                    domain, row["question"], row["question_type"], row["reference_answer"],
                    attempt["answer"],
                )
                for row, attempt in asked
            )
        )  # fmt: skip

    found = asyncio.run(compared())
    settled = [
        (right, attempt["score"])
        for right, (_, attempt) in zip(found, asked, strict=True)
        if right is not None
    ]
    assert len(settled) >= 8
    assert {float(right) for right, _ in settled} == {0.0, 1.0}
    assert [float(right) for right, _ in settled] == [score for _, score in settled]


FORMS = (
    "{}", "Answer: {}", "The answer is **{}**.", "Answer: {} or {other}", "It is {}, not {other}.",
    "It is {} or {other}.", "{other} + 2 = {}", "Answer: {other} {}", "I do not know",
    "I think {other}. Final answer: {}.", "answer to this: {} (of {other})", "{}\n{other}",
    "Answer: {} because {other} is less", "Answer: {other}\nAnswer: {}",
    "all of {other}, {}, {other}", "The answer is {} hundred",
)  # fmt: skip


@pytest.mark.parametrize("family", procedural.ITEM_FAMILIES)
def test_values_are_read_as_the_gate_reads_them(family: str) -> None:
    """Of every family, so that one which is added is told apart here, too."""
    its, draw, verdicts = procedural.ITEM_FAMILIES[family], Random(family), set()
    for sizes in its.settings:
        context, question, answer, _ = its.pose(draw, sizes)
        asked = Candidate(
            context=context, question=question, reference_answer=answer, question_type=family,
            rubric=procedural.make_criteria(answer),
        )  # fmt: skip
        choices = its.choices(question)
        assert scoring.choices_of(question, family) == choices
        others = [other for other in choices or ("7", "12", "1,204") if other != answer]
        for form in FORMS:
            for said in (
                form.format(answer, other=others[0]),
                f"{question} {form}".format(others[0], other=answer),
            ):
                ours = procedural.compare(said, asked)
                theirs = asyncio.run(scoring.compared("procedural", question, family, answer, said))
                assert theirs == (ours is True), said
                formless = scoring.final_answer("procedural", question, family, said) is None
                assert formless == isinstance(ours, procedural.Unreadable), said
                verdicts.add((theirs, formless))
    assert verdicts == {(True, False), (False, False), (False, True)}


FORMULAS = [
    r"Final answer: $\frac{n^2+n}{2}$",
    r"Final answer: $\frac{n(n-1)}{2}$",
    r"so \boxed{\frac{n(n+1)}{2}}",
    r"Final answer: $S = \frac{1}{2} n (n + 1)$",
    r"Final answer: $2^{10^{10}}$",
    r"Final answer: $n$ or $2n$",
    r"Final answer: $\begin{cases} 1 & n > 0 \end{cases}$",
    "it grows",
]


def test_formulas_are_compared_as_the_gate_compares_them() -> None:
    wanted = r"Final answer: $\frac{1}{2}(n^2 + n)$"
    asked = Candidate(
        context="", question="?", reference_answer=wanted, rubric=science.make_criteria(wanted)
    )
    found = []
    for answer in FORMULAS:
        ours = science.compare(answer, asked)
        if isinstance(ours, Comparison):
            ours = science.equivalent(ours.answer, ours.reference)
        theirs = asyncio.run(scoring.compared("science", "?", None, wanted, answer))
        assert theirs == ours, answer
        assert scoring.final_formula(answer) == science.final_answer(answer)
        found.append(theirs)
    assert found[:4] == [True, False, True, True]


HOSTILE = r"\int_0^1 \sqrt{\tan(x^{7} + \sin x)} \, dx + \prod_{k=1}^{40} (x + k)^{90}"


def test_a_formula_that_takes_too_long_is_left_to_the_judge_and_the_next_is_compared() -> None:
    algebra = scoring.AlgebraProcesses(1)
    assert algebra.settle(HOSTILE, "x", seconds=1.0) is None
    assert algebra.settle("x + y", "x - y") is False
    algebra.close()


def test_prompts_are_filled_and_reasoning_is_left_out_as_at_the_gate() -> None:
    values = dict.fromkeys(("context", "question", "rubric", "answer"), "a {{rubric}} of <b>")
    for task in ("cs", "legal", "science"):
        template = (TRAINING / "prompts" / task / "judge.md").read_text()
        ours = [message.content for message in locked(task, "judge").render(**values)]
        assert list(scoring.messages_of(template, **values)) == ours
    for text in (
        "<think>hm</think> 7", "hm</think>7", "<think>hm", "7 <think> 8",
        " <thinking>a</think>b</think>c",
    ):  # fmt: skip
        assert scoring.without_reasoning(text) == split_thinking(text)[1], text


def test_a_reply_has_one_mark_for_each_criterion_or_is_none() -> None:
    told = 'so: {"marks": [{"number": 2, "met": true}, {"number": 1, "met": false}]} there'
    assert scoring.marks_of(told, 2) == [False, True]
    for reply in (
        "", "{", "[]", '{"marks": 3}', told.replace("2", "1"), told.replace("true", '"y"'),
        '{"marks": ' + 100_000 * "[" + "}",
        '{"marks": [{"number": [1], "met": true}, {"number": 2, "met": true}]}',
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"marks|mark,|JSON|Expecting"):
            scoring.marks_of(reply, 2)
    with pytest.raises(ValueError, match="without positive weights"):
        scoring.score_of([-3], [True])


def test_scores_of_any_marks_are_those_of_the_gate() -> None:
    draw = Random(0)
    for _ in range(200):
        weights = [7, *draw.choices([w for w in range(-10, 11) if w], k=draw.randint(0, 9))]
        met = [draw.random() < 0.5 for _ in weights]
        marks = [Mark(criterion="c", weight=w, met=m) for w, m in zip(weights, met, strict=True)]
        exact = rubric.score(marks)
        assert isinstance(exact, Fraction)
        assert scoring.score_of(weights, met) == pytest.approx(float(exact))
