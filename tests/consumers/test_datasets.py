"""The data sets library opens what is exported, and a row leads back to where it came from."""

import json
from pathlib import Path

import pytest
from git import Repo

from tests.outside import Folder

pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("default")]

FILES = ("jsonl", "parquet", "trl-grpo", "verl", "sft", "dpo")


def rows_of(path: Path) -> list[dict[str, object]]:
    import datasets  # takes a second, which every other test would wait for

    builder = "parquet" if path.suffix == ".parquet" else "json"
    return list(datasets.load_dataset(builder, data_files=str(path), split="train"))


def exported(made: Folder, domain: str, form: str, place: Path) -> Path:
    """The file of this format, written into a folder of its own."""
    place.mkdir()
    made("export", domain, "--format", form, "-o", str(place))
    [file] = [path for path in place.iterdir() if path.suffix in (".jsonl", ".parquet")]
    return file


@pytest.mark.parametrize("form", FILES)
def test_each_row_is_loaded_and_leads_to_document_round_call_and_prompt_commit(
    made: Folder, domain: str, form: str, tmp_path: Path
) -> None:
    rows = rows_of(exported(made, domain, form, tmp_path / form))
    assert rows
    store = Repo(made.path / "prompts")
    for row in rows:
        traced(made, domain, row["extra_info" if form == "verl" else "meta"], store)


@pytest.mark.parametrize("form", ["hf", "verifiers"])
def test_a_folder_is_opened_with_its_splits_and_each_row_leads_back(
    made: Folder, domain: str, form: str, tmp_path: Path
) -> None:
    import datasets

    place = tmp_path / f"{domain}-questions"
    made("export", domain, "--format", form, "--test-share", "0.4", "-o", str(place))
    opened = datasets.load_dataset(str(place))
    assert set(opened) == {"train", "test"}
    store, documents = Repo(made.path / "prompts"), set[str]()
    for split, rows in opened.items():
        for row in rows:
            assert row["split"] == split
            traced(made, domain, row["meta"], store)
        named = [row["meta"]["document_id"] for row in rows]
        assert not documents & set(named)
        documents |= set(named)


def test_sessions_are_read_as_traces_and_lead_back(
    made: Folder, domain: str, tmp_path: Path
) -> None:
    import datasets

    made("export", domain, "--format", "traces", "-o", str(tmp_path / f"{domain}-sessions"))
    rows = datasets.load_dataset(str(tmp_path / f"{domain}-sessions"), split="train")
    assert len(rows) == made.query("select count(*) from examples", run=domain)[0][0]
    for row in rows:
        header = json.loads(row["trace"].splitlines()[0])
        assert (header["id"], header["harness"]) == (row["session_id"], "autodata")
        traced(made, domain, header["meta"], Repo(made.path / "prompts"))
        roles = [message["role"] for message in row["messages"]]
        assert roles.count("assistant") == header["meta"]["round"]


def traced(made: Folder, domain: str, meta: object, store: Repo) -> None:
    """Follows a row's `meta` through `run.db` and the prompt store."""
    assert isinstance(meta, dict)
    [(name,)] = made.query(
        f"select name from documents where id = '{meta['document_id']}'", run=domain
    )
    assert name == meta["document_name"]
    calls = made.query(
        "select calls.role, calls.status from rounds join attempts on round_id = rounds.id"
        " join calls on calls.id = call_id"
        f" where run_id = '{meta['run']}' and document_id = '{meta['document_id']}'"
        f" and rounds.number = {meta['round']}",
        run=domain,
    )
    assert {role for role, _ in calls} == {"weak_solver", "strong_solver"}
    assert store.commit(meta["prompts_revision"]).tree


@pytest.mark.parametrize("form", ["hf", "traces"])
def test_folders_of_one_name_and_a_folder_that_is_written_anew_give_their_own_rows(
    made: Folder, form: str, tmp_path: Path
) -> None:
    """The library keeps what it read of a folder under the name of the folder."""
    import datasets

    def opened(domain: str, *conditions: str) -> set[str]:
        place = tmp_path / domain / "questions"
        place.parent.mkdir(exist_ok=True)
        made("export", domain, "--format", form, *conditions, "-o", str(place))
        [rows] = datasets.load_dataset(str(place)).values()
        return {str(row) for row in rows}

    cs, science = opened("cs"), opened("science")
    assert cs
    assert cs.isdisjoint(science)
    assert 0 < len(opened("science", "--where", "round <= 2")) < len(science)
