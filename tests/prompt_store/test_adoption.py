"""Adopting merges into what belongs to people, so it begins only where nothing can be spoilt."""

import subprocess
from pathlib import Path

import pytest

from autodata.prompt_store.store import Store, StoreError, champion_ref, merge, superproject
from tests.prompt_store.conftest import Person
from tests.prompt_store.test_store import CHALLENGER, VERIFIER, mutant

BRANCH = champion_ref("r1").removeprefix("refs/heads/")


def offered(store: Store, **edit: str) -> str:
    """A champion that rewords the challenger."""
    sha = mutant(store, **edit)
    store.update_refs({champion_ref("r1"): (sha, None)})
    return sha


def seen(folder: Path) -> dict[str, bytes]:
    """Every file of a work tree and its git folder, without what git rewrites as it looks."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    left_out = (".git/objects", ".git/logs", ".git/index", ".git/AUTO_MERGE")
    return {name: data for name, data in found.items() if not name.startswith(left_out)}


def test_adopting_makes_a_merge_in_the_work_tree(store: Store, person: Person) -> None:
    sha = offered(store)
    merged = merge(store, BRANCH, "Adopt it")
    assert person("log", "-1", "--format=%H %P main").split()[1:] == [
        store.resolve("main~1"),
        sha,
        "main",
    ]
    assert merged == store.resolve("main")
    assert person("status", "--porcelain") == ""
    assert "Be brief." in (store.path / CHALLENGER).read_text()


def test_adopting_twice_says_so_and_makes_no_second_merge(store: Store, person: Person) -> None:
    offered(store)
    merged = merge(store, BRANCH, "Adopt it")
    assert merge(store, BRANCH, "Adopt it") is None
    assert merge(store, "main", "Adopt it") is None
    assert store.resolve("main") == merged


def conflict(store: Store, person: Person) -> None:
    """Two branches of a person's that change the same line."""
    for branch, text in (("mine", "one"), ("main", "two")):
        person("checkout", "-q", *(["-b"] if branch == "mine" else []), branch)
        (store.path / VERIFIER).write_text(text)
        person("commit", "-qam", f"Say {text}")


@pytest.mark.parametrize(
    ("begun", "what"),
    [
        (("merge", "mine"), "a merge is under way there"),
        (("cherry-pick", "mine"), "a cherry-pick is under way there"),
        (("rebase", "mine"), "a rebase is under way there"),
        (("bisect", "start"), "a bisection is under way there"),
    ],
)
def test_what_a_person_has_under_way_is_left_as_it_is(
    store: Store, person: Person, begun: tuple[str, ...], what: str
) -> None:
    offered(store)
    conflict(store, person)
    try:
        person(*begun)
    except subprocess.CalledProcessError:
        (store.path / VERIFIER).write_text("one and two, settled by hand after an hour")
        person("add", VERIFIER)
    before, status = seen(store.path), person("status", "--porcelain")
    with pytest.raises(StoreError, match=what):
        merge(store, BRANCH, "Adopt it")
    assert seen(store.path) == before
    assert person("status", "--porcelain") == status


def test_changes_in_the_way_stay_and_nothing_is_merged(store: Store, person: Person) -> None:
    offered(store)
    (store.path / CHALLENGER).write_text("half an edit")
    before = seen(store.path)
    with pytest.raises(StoreError, match=r"not merged, and nothing changed.*overwritten by merge"):
        merge(store, BRANCH, "Adopt it")
    assert seen(store.path) == before


def test_a_conflict_with_what_people_wrote_ends_as_it_began(store: Store, person: Person) -> None:
    offered(store)
    text = (store.path / CHALLENGER).read_text()
    (store.path / CHALLENGER).write_text(text.replace("<!-- user -->", "Mine.\n\n<!-- user -->"))
    person("commit", "-qam", "Mine")
    before, main = seen(store.path), store.resolve("main")
    with pytest.raises(StoreError, match=r"not merged, and nothing changed[^*]*CONFLICT"):
        merge(store, BRANCH, "Adopt it")
    after = seen(store.path)
    assert {name for name in after if after[name] != before.get(name)} <= {".git/ORIG_HEAD"}
    assert store.resolve("main") == main
    assert person("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("leave", "where"),
    [
        (("checkout", "-q", "--detach"), r"no branch \(HEAD is detached\) is checked out"),
        (("checkout", "-q", "-b", "drafts"), "drafts is checked out"),
    ],
)
def test_without_main_checked_out_the_way_back_is_named(
    store: Store, person: Person, leave: tuple[str, ...], where: str
) -> None:
    sha = offered(store)
    person(*leave)
    with pytest.raises(StoreError, match=rf"{where}.*checkout main` first"):
        merge(store, BRANCH, "Adopt it")
    assert store.resolve("main") != sha
    assert person("log", "-1", "--format=%s", "main").strip() == "Start from the packaged prompts"


def test_a_store_that_is_a_submodule_adopts_like_any_other(
    store: Store, tmp_path: Path, person: Person
) -> None:
    project = tmp_path / "project"
    person("init", "-q", str(project), cwd=tmp_path)
    allowed = ("-c", "protocol.file.allow=always")
    person(*allowed, "submodule", "--quiet", "add", str(store.path), "prompts", cwd=project)
    person("commit", "-qm", "Add prompts", cwd=project)
    inside = Store.open(project / "prompts")
    assert inside.path == project / "prompts"
    assert inside.read("main").revision == store.resolve("main")
    offered(inside)
    person("checkout", "-q", "--detach", cwd=inside.path)
    with pytest.raises(StoreError, match="HEAD is detached"):
        merge(inside, BRANCH, "Adopt it")
    person("checkout", "-q", "main", cwd=inside.path)
    assert merge(inside, BRANCH, "Adopt it") == inside.resolve("main")
    assert "Be brief." in (project / "prompts" / CHALLENGER).read_text()
    assert superproject(inside) == project
    assert superproject(store) is None
    assert person("status", "--porcelain", cwd=inside.path) == ""


def test_a_linked_work_tree_is_merged_in_itself(
    store: Store, tmp_path: Path, person: Person
) -> None:
    offered(store)
    person("checkout", "-q", "--detach")
    person("worktree", "add", "-q", str(tmp_path / "beside"), "main")
    beside = Store.open(tmp_path / "beside")
    assert merge(beside, BRANCH, "Adopt it") == store.resolve("main")
    assert "Be brief." in (tmp_path / "beside" / CHALLENGER).read_text()


def test_a_bare_store_cannot_adopt(store: Store, tmp_path: Path, person: Person) -> None:
    offered(store)
    person("clone", "-q", "--bare", str(store.path), str(tmp_path / "bare.git"), cwd=tmp_path)
    with pytest.raises(StoreError, match="a bare store has no work tree"):
        merge(Store.open(tmp_path / "bare.git"), BRANCH, "Adopt it")
