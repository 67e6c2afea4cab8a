"""The data sets library opens what is exported, and a row leads back to where it came from."""

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
