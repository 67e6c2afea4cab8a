"""Exports that are folders: a data set, a taskset that needs nothing of ours, and sessions."""

import ast
import asyncio
import importlib.machinery
import importlib.util
import json
import shutil
import sys
import tomllib
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from autodata.ledger.export import Exported, export
from autodata.ledger.filters import ExportError, ExportOptions, digest_of
from autodata.ledger.ledger import Ledger
from autodata.prompt_store.prompt import locked_text
from autodata.tasks import TASKS, procedural, rubric, science
from autodata.tasks.task import Comparison
from autodata.tasks.types import Candidate, Document, Mark
from tests.ledger.test_export import a_ledger, accepted
from tests.outside import Folder

TASKSET = Path(__file__).parents[2] / "ledger" / "taskset"


def written(ledger: Ledger, form: str, place: Path | None = None, share: float = 0.0) -> Exported:
    return export(ledger, form, place, None, ExportOptions(test_share=share), locked_text)


def front_matter(card: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.read_text().split("---")[1])
    return found


@pytest.fixture
def ledger(tmp_path: Path):
    with a_ledger(tmp_path / "run", accepted()) as ledger:
        yield ledger


def test_a_data_set_is_a_folder_whose_card_says_where_each_split_lies(
    ledger: Ledger, tmp_path: Path
) -> None:
    one = written(ledger, "hf")
    assert (one.path, one.rows) == (tmp_path / "run" / "hf", 1)
    [row] = pq.read_table(one.path / "data" / "train.parquet").to_pylist()
    assert row["meta"]["document_name"] == "wal.md"
    rows = f"rows {digest_of([one.path / 'data' / 'train.parquet'])}"
    assert front_matter(one.card)["configs"] == [
        {"config_name": "default", "description": rows, "data_files": "data/train.parquet"}
    ]
    several = [Document.of(f"{n}.md", f"Text {n} of a log.") for n in range(12)]
    ledger.add_documents(several)
    for document in several:
        ledger.record("first", document.id, [accepted()])
    two = written(ledger, "hf", tmp_path / "questions", share=0.5)
    parts = {
        split: pq.read_table(two.path / "data" / f"{split}.parquet") for split in ("train", "test")
    }
    assert {split: len(part) for split, part in parts.items()} == {
        "train": two.rows, "test": two.test_rows,
    }  # fmt: skip
    assert two.rows + two.test_rows == 13
    assert two.test == two.path / "data" / "test.parquet"
    [configs] = front_matter(two.card)["configs"]
    assert configs.pop("description") not in ("", rows)
    assert [configs] == [
        {"config_name": "default", "data_files": [
            {"split": split, "path": f"data/{split}.parquet"} for split in parts]}
    ]  # fmt: skip


def test_an_export_is_written_anew_without_losing_what_else_lies_in_its_folder(
    ledger: Ledger, tmp_path: Path
) -> None:
    place = tmp_path / "questions"
    written(ledger, "hf", place)
    (place / "notes.txt").write_text("mine")
    mine = place / "outputs" / "scores.jsonl"  # as an evaluation leaves it
    mine.parent.mkdir()
    mine.write_text("{}")
    shutil.copy(place / "data" / "train.parquet", place / "data" / "test.parquet")
    assert written(ledger, "hf", place).path == place
    assert sorted(p.name for p in place.rglob("*") if p.is_file()) == [
        "README.md", "notes.txt", "scores.jsonl", "train.parquet",
    ]  # fmt: skip
    # A folder that is no such export is one to put the export into.
    assert written(ledger, "traces", place).path == place / "traces"
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="holds something else"):
        written(ledger, "hf", tmp_path)
    with pytest.raises(ExportError, match="there is no folder"):
        written(ledger, "hf", tmp_path / "no" / "such")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("form", "rows", "others"),
    [
        ("verifiers", "hard_questions/test.jsonl", "outputs/hard/test.jsonl"),
        ("traces", "sessions/test/gone-r1.jsonl", "sessions/notes.jsonl"),
    ],
)
def test_only_rows_of_an_earlier_export_go(
    ledger: Ledger, tmp_path: Path, form: str, rows: str, others: str
) -> None:
    place = tmp_path / "hard-questions"
    written(ledger, form, place)
    for name in (rows, others):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("{}\n")
    written(ledger, form, place)
    assert [(place / name).exists() for name in (rows, others)] == [False, True]


def test_a_taskset_is_a_package_named_after_its_folder_that_imports_nothing_of_ours(
    ledger: Ledger, tmp_path: Path
) -> None:
    place = written(ledger, "verifiers", tmp_path / "hard-questions").path
    project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
    assert project["name"] == "hard-questions"
    module = place / "hard_questions"
    [row] = [json.loads(line) for line in (module / "train.jsonl").read_text().splitlines()]
    assert [c["weight"] for c in row["rubric"]] == [5, -3]
    assert row["meta"]["prompts_revision"] == "seed-0123456789ab"
    for role in ("solver", "judge"):
        assert (module / "prompts" / "cs" / f"{role}.md").read_text() == locked_text("cs", role)
    allowed = {*sys.stdlib_module_names, "verifiers", "openai", "math_verify", "sympy"}
    for file in module.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= allowed
    assert "vf-eval hard-questions" in (place / "README.md").read_text()
    with pytest.raises(ExportError, match="names no package"):
        written(ledger, "verifiers", tmp_path / "Hard Questions")
    assert not (tmp_path / "Hard Questions").exists()


@pytest.fixture(scope="module")
def scoring() -> ModuleType:
    """How a taskset scores: a module of its own."""
    path = TASKSET / "scoring.py.txt"
    loader = importlib.machinery.SourceFileLoader("taskset_scoring", str(path))
    spec = importlib.util.spec_from_loader("taskset_scoring", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_a_taskset_scores_marks_as_the_gate_does(scoring: ModuleType) -> None:
    draw = Random(0)
    for _ in range(200):
        weights = [7, *draw.choices([w for w in range(-10, 11) if w], k=draw.randint(0, 9))]
        marks = [Mark(criterion="c", weight=weight, met=draw.random() < 0.5) for weight in weights]
        theirs = scoring.score_of(weights, [mark.met for mark in marks])
        assert theirs == pytest.approx(float(rubric.score(marks)))


def candidate(reference: str, question: str = "What?", kind: str = "") -> Candidate:
    return Candidate(
        context="", question=question, reference_answer=reference, question_type=kind,
        rubric=science.make_criteria(reference),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "reference", "kind"),
    [
        ("Answer: 1,204", "1204", "sums"),
        ("3 + 4 = 7\nAnswer: 7", "7", "sums"),
        ("The answer is **12**.", "12", "sums"),
        ("Answer: 8", "7", "sums"),
        ("Answer: 3 + 4 = 7", "7", "sums"),
        ("It is 7.", "7", "sums"),
        ("Answer: Tuesday", "Tuesday", "weekdays"),
        ("Answer: tuesday.", "Tuesday", "weekdays"),
        ("Answer: Friday", "Tuesday", "weekdays"),
    ],
)
def test_a_taskset_compares_values_as_the_gate_does(
    scoring: ModuleType, answer: str, reference: str, kind: str
) -> None:
    asked = candidate(reference, kind=kind)
    found = scoring.compared("procedural", asked.question, kind, reference, answer)
    assert asyncio.run(found) == (procedural.compare(answer, asked) is True)


@pytest.mark.parametrize(
    "answer",
    [
        r"Final answer: $\frac{1}{2}(n^2 + n)$",
        r"Final answer: $\frac{n^2+n}{2}$",
        r"Final answer: $\frac{n(n-1)}{2}$",
        "no final answer",
    ],
)
def test_a_taskset_compares_formulas_as_the_gate_does(scoring: ModuleType, answer: str) -> None:
    asked = candidate(r"Final answer: $\frac{1}{2}(n^2 + n)$")
    ours = science.compare(answer, asked)
    if isinstance(ours, Comparison):
        ours = science.equivalent(ours.answer, ours.reference)
    given = scoring.final_formula(answer)
    wanted = scoring.final_formula(asked.reference_answer)
    theirs = asyncio.run(scoring.same_formula(given, wanted)) if given else None
    assert theirs == ours


def test_a_taskset_gives_up_a_comparison_by_the_work_it_takes(scoring: ModuleType) -> None:
    """Loading the algebra takes longer than this, and waiting for a busy machine as long as it
    likes: neither takes from a comparison's time, so that a judge is asked where it is needed."""
    pairs = (r"\frac{1}{2}(n^2 + n)", r"\frac{n^2+n}{2}"), ("(a+b)^{9990}", "(b+a+c)^{9998}")

    async def both() -> list[bool | None]:
        found: list[bool | None] = await asyncio.gather(
            *(scoring.same_formula(*pair, seconds=0.3) for pair in pairs)
        )
        return found

    assert asyncio.run(both()) == [True, None]


def test_a_session_tells_the_whole_loop_of_a_document(ledger: Ledger) -> None:
    [file] = (written(ledger, "traces").path / "sessions" / "train").iterdir()
    header, *lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert (header["type"], header["harness"]) == ("session", "autodata")
    assert header["meta"]["run"] == "first"
    assert {line["type"] for line in lines} == {"message"}
    said = [line["message"] for line in lines]
    asked, wrote, *results, last = said
    assert asked["role"] == "user"
    assert "A log is written before the page." in asked["content"]
    assert "## Question\n\nWhat survives?" in wrote["content"]
    assert [r["toolCallId"] for r in results] == [call["id"] for call in wrote["toolCalls"]]
    names = [call["function"]["name"] for call in wrote["toolCalls"]]
    assert names == ["weak_solver"] * 3 + ["strong_solver"] * 3
    assert all(json.loads(call["function"]["arguments"]) for call in wrote["toolCalls"])
    assert "Score: 0.65" in results[1]["content"]
    assert last == {"role": "user", "content": "Decision: accepted."}


def test_what_simulated_models_said_is_sent_to_no_hub_unless_said(folder: Folder) -> None:
    with a_ledger(folder.path / "run", accepted()):
        pass
    refused = folder("export", "run", "--format", "hf", "--push", "ann/questions", code=2)
    assert "--push-simulated sends them all the same" in refused
    assert not (folder.path / "run" / "hf").exists()
    assert "--push sends hf and traces" in folder(
        "export", "run", "--format", "jsonl", "--push", "ann/questions", code=2
    )


@pytest.mark.parametrize("task", TASKS)
def test_each_task_can_be_asked_and_judged_outside(task: str) -> None:
    assert "{{question}}" in locked_text(task, "solver")
    if TASKS[task].procedure is None:
        assert "{{rubric}}" in locked_text(task, "judge")
