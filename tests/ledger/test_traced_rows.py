"""Whoever doubts a row finds what it came from: document, round, calls, and the prompts' commit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import autodata
from autodata.ledger.ledger import Ledger
from autodata.prompt_store.store import Store
from tests.outside import DEMO


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> autodata.Run:
    """One accepted example, written under the prompts of a store."""
    folder = tmp_path_factory.mktemp("traced")
    Store.init(folder / "prompts")
    return autodata.run(
        DEMO / "cs" / "work-stealing-scheduler.md",
        task="cs",
        out=folder / "run",
        config={"prompts": {"path": str(folder / "prompts")}},
        progress=False,
    )


def rows(run: autodata.Run, format: str) -> list[dict[str, Any]]:
    path = run.export(format).path
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(row: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Each answer in a row: who is said to have given it, in which call, and its words."""
    for side in ("weak", "strong"):
        for attempt in row.get(side, ()):
            yield side, attempt["call_id"], attempt["answer"]
    if "messages" in row:
        yield "strong", row["call_id"], row["messages"][-1]["content"]
    if "chosen" in row:
        yield "strong", row["chosen_call_id"], row["chosen"][-1]["content"]
        yield "weak", row["rejected_call_id"], row["rejected"][-1]["content"]


@pytest.mark.parametrize("format", ["jsonl", "parquet", "trl-grpo", "verl", "sft", "dpo"])
def test_a_row_leads_back_to_where_it_came_from(run: autodata.Run, format: str) -> None:
    found = rows(run, format)
    assert found
    store = Store.open(run.path.parent / "prompts")
    with Ledger.open(run.path, create=False) as ledger:
        for row in found:
            meta = row.get("meta") or row["extra_info"]
            assert ledger.document(meta["document_id"]).name == meta["document_name"]
            [made] = ledger.query(
                "select candidate from rounds where run_id = ? and document_id = ? and number = ?",
                [meta["run"], meta["document_id"], meta["round"]],
            )
            question = json.loads(made["candidate"])["question"]
            asked = row.get("question") or meta.get("question") or _asked(row)
            assert asked.endswith(question)
            [wrote] = ledger.query("select * from calls where id = ?", [meta["challenger_call_id"]])
            assert (wrote["role"], wrote["scope"]) == ("challenger", meta["document_id"])
            assert json.loads(wrote["response"])["question"] == question
            assert store.resolve(meta["prompts_revision"]) == meta["prompts_revision"]
            for side, call_id, words in answers(row):
                [gave] = ledger.query("select * from calls where id = ?", [call_id])
                assert (gave["role"], gave["response"]) == (f"{side}_solver", words)


def _asked(row: dict[str, Any]) -> str:
    prompt = row.get("prompt") or row["messages"]
    return str(prompt[0]["content"])


def test_what_no_model_wrote_names_no_call(tmp_path: Path) -> None:
    made = autodata.run(
        DEMO / "procedural" / "sums.txt", task="procedural", out=tmp_path / "run", progress=False
    )
    [row] = rows(made, "trl-grpo")
    assert row["meta"]["challenger_call_id"] is None
