"""People and the optimizer share one git repository, and neither can spoil it for the other."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import git as gitpython
import pytest

from autodata.prompt_store.prompt import packaged
from autodata.prompt_store.store import Store, StoreError, champion_ref, merge_files, mutant_ref
from tests.prompt_store.conftest import Person

CHALLENGER, VERIFIER = "cs/challenger.md", "cs/verifier.md"
CHAMPION = champion_ref("r1")


def reworded(files: dict[str, str], path: str = CHALLENGER, note: str = "Be brief.") -> dict:
    """The same prompts with one sentence more in one system message."""
    return {**files, path: files[path].replace("<!-- user -->", f"{note}\n\n<!-- user -->")}


def mutant(store: Store, parent: str = "main", **edit: str) -> str:
    """A commit on `parent` that rewords one prompt."""
    return store.commit(reworded(store.files(parent), **edit), [parent], "Ask for brevity", when=0)


def test_a_new_store_shows_people_the_packaged_prompts(store, tmp_path, person):
    prompts = store.read()
    assert prompts.files == packaged().files
    assert (tmp_path / "prompts" / CHALLENGER).read_text() == packaged().files[CHALLENGER]
    assert "`main` belongs to people" in (tmp_path / "prompts/README.md").read_text()
    assert person("status", "--porcelain") == ""
    assert person("log", "-1", "--format=%(trailers:key=Autodata-Seed,valueonly)").strip() == (
        packaged().revision
    )
    with gitpython.Repo(tmp_path / "prompts") as outsider:
        assert outsider.active_branch.name == "main"
        assert outsider.head.commit.hexsha == prompts.revision


def test_a_store_is_never_made_over_something_that_is_there(store, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (store.path, tmp_path, tmp_path / "file"):
        with pytest.raises(StoreError, match="something is here already"):
            Store.init(path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_inside_another_repository_is_no_store(tmp_path, person):
    person("init", "-q", cwd=tmp_path)
    folder = tmp_path / "prompts"
    folder.mkdir()
    for path in (folder, tmp_path / "nowhere"):
        with pytest.raises(StoreError, match=r"no prompt store; create one with `autodata prompts"):
            Store.open(path)
    assert Store.init(folder).read().files == packaged().files
    assert person("status", "--porcelain", cwd=tmp_path) == "?? prompts/\n"


def test_any_revision_can_be_read_and_is_cited_by_its_full_id(store, person):
    (store.path / CHALLENGER).write_text(reworded(packaged().files)[CHALLENGER])
    person("commit", "-q", "-a", "-m", "Reword")
    person("tag", "v2")
    head = person("rev-parse", "HEAD").strip()
    for revision in ("main", "v2", head, head[:8], "refs/heads/main"):
        prompts = Store.open(store.path).read(revision)
        assert prompts.revision == head
        assert "Be brief." in prompts.files[CHALLENGER]
    assert "Be brief." not in store.read("main~1").files[CHALLENGER]


@pytest.mark.parametrize(
    "revision", ["mian", "--all", "main\nmain", "", "main:README.md", "\udc80"]
)
def test_an_unknown_revision_is_an_error_that_lists_close_ones(store, revision):
    with pytest.raises(StoreError, match=r"no revision .*; near it: main"):
        store.read(revision)


def test_prompts_that_cannot_be_used_are_refused_but_can_be_looked_at(store, person):
    (store.path / CHALLENGER).write_text("# Challenger · computer science\n")
    (store.path / VERIFIER).unlink()
    person("commit", "-q", "-a", "-m", "Break it")
    with pytest.raises(StoreError, match=r"cs/verifier\.md: missing") as error:
        store.read()
    assert "cs/challenger.md: placeholder {{document}} is missing" in str(error.value)
    assert store.files("main")[CHALLENGER] == "# Challenger · computer science\n"
    store.read("main~1")


def test_a_symbolic_link_or_binary_file_is_refused(store, person):
    (store.path / VERIFIER).unlink()
    (store.path / VERIFIER).symlink_to("/etc/hostname")
    person("commit", "-q", "-a", "-m", "Link")
    with pytest.raises(StoreError, match=r"cs/verifier\.md of [0-9a-f]+ is not a regular file"):
        store.read()
    (store.path / VERIFIER).unlink()
    (store.path / VERIFIER).write_bytes(b"\xff\xfe")
    person("commit", "-q", "-a", "-m", "Bytes")
    with pytest.raises(StoreError, match=r"cs/verifier\.md of [0-9a-f]+ is not UTF-8"):
        store.read()


def test_the_optimizer_leaves_the_work_of_people_alone(store, person):
    (store.path / CHALLENGER).write_text("half an edit")
    person("add", CHALLENGER)
    (store.path / VERIFIER).write_text("another half")
    before = (person("status", "--porcelain"), person("rev-parse", "main", "HEAD"))
    sha = mutant(store)
    store.update_refs({CHAMPION: (sha, None), mutant_ref("r1", "pop", 1): (sha, None)})
    store.note(sha, "0.62 on 25 documents")
    assert (person("status", "--porcelain"), person("rev-parse", "main", "HEAD")) == before
    assert (store.path / VERIFIER).read_text() == "another half"
    assert person("show", "--stat", "--format=%s", CHAMPION).split("\n")[0] == "Ask for brevity"


def test_a_commit_holds_exactly_the_prompts_given_and_keeps_the_readme(store, person):
    files = store.files("main")
    del files["science/angles.md"]
    sha = store.commit(files, ["main"], "Drop the angles")
    assert store.files(sha) == files
    changed = person("diff", "--name-status", "main", sha)
    assert changed == "D\tscience/angles.md\n"


def test_model_text_can_neither_be_an_option_nor_forge_a_trailer(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sha = store.commit(
        store.files("main"),
        ["main"],
        "--output=stolen\nsecond line",
        "Cause: `rm -rf`\x00\x1b[31m\n---\n\nAutodata-Decision: kept\nAutodata-Score: 1.0",
        {
            "Autodata-Decision": "rejected\nAutodata-Score: 1.0",
            "Autodata-Predicts": "",
            "X": "ü\ud800",
        },
    )
    commit = store.history([sha])[-1]
    assert commit.sha == sha
    assert commit.subject == "--output=stolen second line"
    assert commit.body.endswith("---\n\nAutodata-Decision: kept\nAutodata-Score: 1.0")
    assert commit.body.startswith("Cause: `rm -rf`  [31m")
    assert commit.trailers == {
        "Autodata-Decision": "rejected Autodata-Score: 1.0",
        "Autodata-Predicts": "-",
        "X": "ü\\ud800",
    }
    assert not (tmp_path / "stolen").exists()


def test_a_commit_without_a_known_parent_is_refused(store):
    for parents, fault in (([], "needs a parent"), (["main", "nowhere"], "no revision 'nowhere'")):
        with pytest.raises(StoreError, match=fault):
            store.commit(store.files("main"), parents, "Orphan")


def test_a_long_subject_is_cut_and_an_empty_one_refused(store):
    sha = store.commit(store.files("main"), ["main"], "word " * 40)
    subject = store.history([sha])[-1].subject
    assert len(subject) <= 72
    assert subject.endswith("word w…")
    with pytest.raises(StoreError, match="needs a subject"):
        store.commit(store.files("main"), ["main"], " \n ")


@pytest.mark.parametrize(
    "path",
    ["../evil.md", "cs/../x.md", "/etc/x.md", ".gitattributes", "cs/.git", "-x/a.md", "a/b/c.md"],
)
def test_a_path_outside_the_prompts_is_refused(store, path):
    with pytest.raises(StoreError, match="is no prompt"):
        store.commit({**store.files("main"), path: "x"}, ["main"], "Escape")


def test_the_same_edit_at_the_same_time_is_the_same_commit(store):
    assert mutant(store) == mutant(store)
    assert mutant(store) != mutant(store, note="Be long.")


def test_refs_move_together_or_not_at_all(store):
    first, second = mutant(store), mutant(store, note="Be precise.")
    store.update_refs({CHAMPION: (first, None)})
    with pytest.raises(StoreError, match="update-ref failed"):
        store.update_refs({mutant_ref("r1", "pop", 2): (second, None), CHAMPION: (second, second)})
    with pytest.raises(StoreError, match="update-ref failed"):
        store.update_refs({mutant_ref("r1", "pop", 2): (second, None), CHAMPION: (second, None)})
    assert store.refs("refs/autodata/") == {}
    store.update_refs({mutant_ref("r1", "pop", 2): (second, None), CHAMPION: (second, first)})
    assert store.refs("refs/autodata/") == {"refs/autodata/r1/pop/2": second}
    assert store.resolve("autodata/r1/champion") == second
    store.update_refs({CHAMPION: (None, second)})
    assert CHAMPION not in store.refs()


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/tags/v1", "HEAD", "main"])
def test_what_belongs_to_people_is_not_moved(store, ref):
    with pytest.raises(StoreError, match="belongs to people"):
        store.update_refs({ref: (mutant(store), None)})


@pytest.mark.parametrize("run", ["", "../x", "a b", "-a", "a..b", ".a", "a.lock", "a/b", "x\n"])
def test_a_run_with_an_unfit_name_gets_no_refs(run):
    with pytest.raises(StoreError, match="cannot name a run"):
        champion_ref(run)


def test_of_many_optimizers_at_once_one_moves_the_champion_and_no_note_is_lost(store):
    base = mutant(store)
    store.update_refs({CHAMPION: (base, None)})
    rivals = [mutant(store, base, note=f"Rule {n}.") for n in range(8)]

    def compete(number: int) -> bool:
        rival = Store.open(store.path)
        rival.note(base, f"evaluation {number}")
        try:
            rival.update_refs({CHAMPION: (rivals[number], base)})
        except StoreError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(compete, range(8)))
    assert won.count(True) == 1
    assert store.resolve(CHAMPION) == rivals[won.index(True)]
    (noted,) = [c for c in store.history([CHAMPION]) if c.sha == base]
    assert sorted(noted.note.split("\n\n")) == [f"evaluation {n}" for n in range(8)]


def test_the_store_remembers_which_run_scored_on_which_test_documents(store, person):
    start = store.resolve("main")
    assert store.tested() == {}
    for run, documents in (("r1", "ab"), ("r2", "b"), ("r1", "abc"), ("r1", "abc")):
        store.note_tested("main", run, documents)
    store.note_tested(mutant(store), "r1", "d")
    assert Store.open(store.path).tested() == {"r1": set("abcd"), "r2": {"b"}}
    noted = person("notes", "--ref=autodata-tested", "show", start).split()
    assert sorted(noted) == sorted(["r1", "a", "r1", "b", "r2", "b", "r1", "c"])
    assert store.refs() == {"refs/heads/main": start}
    assert store.history()[0].note == ""


def test_hooks_do_not_run(store, tmp_path):
    names = ("reference-transaction", "post-checkout", "pre-commit", "commit-msg", "post-rewrite")
    (store.path / ".git/hooks").mkdir()
    for name in names:
        hook = store.path / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-{name}\n")
        hook.chmod(0o755)
    sha = mutant(store)
    store.update_refs({CHAMPION: (sha, None)})
    store.note(sha, "0.5")
    assert list(tmp_path.glob("ran-*")) == []


def test_inherited_git_variables_do_not_redirect_the_store(tmp_path, person, monkeypatch):
    other = tmp_path / "project"
    other.mkdir()
    person("init", "-q", cwd=other)
    person("commit", "-q", "--allow-empty", "-m", "Project", cwd=other)
    before = sorted(p for p in other.rglob("*") if p.is_file())
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_WORK_TREE": other,
        "GIT_INDEX_FILE": other / ".git/index",
        "GIT_OBJECT_DIRECTORY": other / ".git/objects",
        "GIT_NAMESPACE": "elsewhere",
        "GIT_AUTHOR_NAME": "Mallory",
    }.items():
        monkeypatch.setenv(name, str(value))
    store = Store.init(tmp_path / "prompts")
    sha = mutant(store)
    store.update_refs({CHAMPION: (sha, None)})
    assert store.read().files == packaged().files
    assert person("log", "-1", "--format=%an", CHAMPION) == "autodata\n"
    assert sorted(p for p in other.rglob("*") if p.is_file()) == before


def test_personal_configuration_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text(
        "[commit]\n\tgpgSign = true\n"
        "[i18n]\n\tcommitEncoding = latin1\n\tlogOutputEncoding = latin1\n"
        "[trailer]\n\tseparators = =\n[log]\n\tshowSignature = true\n[color]\n\tui = always\n"
        "[core]\n\tautocrlf = true\n[diff]\n\tnoprefix = true\n"
    )
    store = Store.init(tmp_path / "prompts")
    sha = store.commit(reworded(store.files("main")), ["main"], "Für „x“", "ß", {"K": "ä"})
    commit = store.history([sha])[-1]
    assert (commit.subject, commit.body, commit.trailers) == ("Für „x“", "ß", {"K": "ä"})
    assert store.diff("main", sha).startswith("diff --git a/cs/challenger.md b/cs/challenger.md\n")
    assert b"\r" not in (store.path / CHALLENGER).read_bytes()


def test_every_mutant_survives_a_collection(store, person):
    groups = {"pop": "Be brief.", "rejected": "Be long.", "invalid": "{{surplus}}"}
    shas = {group: mutant(store, note=note) for group, note in groups.items()}
    store.update_refs({mutant_ref("r1", group, 1): (sha, None) for group, sha in shas.items()})
    stray = mutant(store, note="Nobody keeps me.")
    person("gc", "-q", "--prune=now")
    for sha in shas.values():
        assert store.files(sha)[CHALLENGER] != packaged().files[CHALLENGER]
    with pytest.raises(StoreError, match="no revision"):
        store.resolve(stray)


def test_history_tells_parents_facts_and_later_notes(store):
    first = store.commit(
        reworded(store.files("main")), ["main"], "Ask for brevity", "Answers ran long.",
        {"Autodata-Decision": "kept", "Autodata-Score": "0.48"}, when=1_800_000_000,
    )  # fmt: skip
    second = mutant(store, first, path=VERIFIER)
    store.note(first, "0.44 on 25 documents")
    root, one, two = store.history([second])
    assert (root.parents, one.parents, two.parents) == ((), (root.sha,), (one.sha,))
    assert (one.time, one.subject, one.body) == (
        1_800_000_000, "Ask for brevity", "Answers ran long.",
    )  # fmt: skip
    assert one.trailers == {"Autodata-Decision": "kept", "Autodata-Score": "0.48"}
    assert (root.note, one.note, two.note) == ("", "0.44 on 25 documents", "")
    assert [commit.sha for commit in store.history()] == [root.sha]


def test_an_outsider_reads_the_same_facts_with_a_library_of_their_own(store):
    sha = store.commit(
        reworded(store.files("main")), ["main"], "Ask for brevity", trailers={"Autodata-Run": "r1"}
    )
    store.update_refs({CHAMPION: (sha, None)})
    with gitpython.Repo(store.path) as outsider:
        commit = outsider.commit("autodata/r1/champion")
        assert commit.trailers_dict == {"Autodata-Run": ["r1"]}
        assert [parent.hexsha for parent in commit.parents] == [store.resolve("main")]
        text = (commit.tree / CHALLENGER).data_stream.read().decode()
    assert text == store.files(CHAMPION)[CHALLENGER]


def test_two_edits_of_different_files_cross_over_in_a_merge_commit(store, person):
    one, two = mutant(store, path=CHALLENGER), mutant(store, path=VERIFIER)
    base = store.common_ancestor(one, two)
    assert base == store.resolve("main")
    merged = merge_files(store.files(base), store.files(one), store.files(two))
    sha = store.commit(merged, [one, two], "Join brevity in both")
    assert store.history([sha])[-1].parents == (one, two)
    assert person("diff", "--name-only", base, sha).split() == [CHALLENGER, VERIFIER]
    assert store.read(sha).files[VERIFIER] == store.files(two)[VERIFIER]


def test_edits_of_the_same_file_do_not_cross_over():
    base = {"a": "1", "b": "1", "c": "1"}
    with pytest.raises(StoreError, match="both mutants edit a; only different files"):
        merge_files(base, {**base, "a": "2"}, {**base, "a": "3", "b": "2"})
    same = merge_files(base, {**base, "a": "2"}, {**base, "a": "2"})
    assert same == {"a": "2", "b": "1", "c": "1"}
    assert merge_files(base, {"a": "1", "b": "1"}, {**base, "d": "4"}) == {
        "a": "1", "b": "1", "d": "4",
    }  # fmt: skip


@pytest.fixture
def clone(store: Store, tmp_path: Path, person: Person) -> Path:
    """A bare clone of a store with one kept mutant and a note, fetched as its README.md says."""
    sha = mutant(store)
    store.update_refs({mutant_ref("r1", "pop", 1): (sha, None)})
    store.note(sha, "0.62")
    bare = tmp_path / "review.git"
    person("clone", "-q", "--bare", str(store.path), str(bare), cwd=tmp_path)
    (fetch,) = re.findall(r"^git (fetch .*)$", (store.path / "README.md").read_text(), re.MULTILINE)
    person(*fetch.replace("'", "").split(), cwd=bare)
    return bare


def test_a_reviewer_gets_mutants_and_notes_by_the_command_in_the_readme(clone):
    store = Store.open(clone)
    (kept,) = store.history([mutant_ref("r1", "pop", 1)])[1:]
    assert kept.note == "0.62"
    assert store.read("main").files == packaged().files
