"""An optimization at the door: begun, interrupted, resumed, reviewed with git, adopted."""

import json
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from autodata.optimizer.state import same_text
from autodata.prompt_store.prompt import packaged
from autodata.prompt_store.store import Store, champion_ref
from tests.invented import invented
from tests.outside import Folder

DOCUMENTS = {"train": 5, "validation": 4, "test": 3}


def words(*more: str) -> list[str]:
    return [
        *("optimize", "--task", "cs", "--out", "opt", "--rounds", "2", "--minibatch", "3"),
        *("--seed", "4"),
        *("--train", *sorted(f"train/invented-0-{n:03}.md" for n in range(1, 6))),
        *("--validation", "validation", "--test", "test", *more),
    ]


def prepared(folder: Path) -> Folder:
    documents = invented(sum(DOCUMENTS.values()))
    for side, count in DOCUMENTS.items():
        (folder / side).mkdir()
        for _ in range(count):
            document = next(documents)
            (folder / side / document.name).write_text(document.text)
    return Folder(folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, str]:
    """A finished optimization of three iterations, and what it printed."""
    folder = prepared(tmp_path_factory.mktemp("door"))
    return folder, folder(*words("--iterations", "3"))


def champion(folder: Folder) -> str:
    [branch] = git(folder, "for-each-ref", "--format=%(refname:short)", "refs/heads/autodata")
    return branch


def git(folder: Folder, *arguments: str) -> list[str]:
    command = ["git", "-C", str(folder.path / "prompts"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_each_iteration_gets_a_line_and_the_end_says_what_it_is_worth(
    done: tuple[Folder, str],
) -> None:
    folder, said = done
    for number in range(4):
        assert f"\n{number:>4}  " in said
    assert "A prompt store was created at prompts" in said
    for part in ("validation, 5 times: start", "counting for", "Simulated models"):
        assert part in said
    assert "3 iterations" in folder("status", "opt")


def test_the_same_command_goes_on_and_finds_nothing_left(done: tuple[Folder, str]) -> None:
    folder, _ = done
    before = folder.query("select count(*) from calls", "opt")
    assert "done" in folder(*words("--iterations", "3"))
    folder("resume", "opt")
    assert folder.query("select count(*) from calls", "opt") == before


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--rule", "confirm"], "optimize.rule: strict → confirm"),
        (["--score", "accepted"], "optimize.score: certainty → accepted"),
        (["--rule", "lucky"], "rule: Input should be 'strict', 'paper' or 'confirm'"),
        (["--parallel", "0"], "parallel: Input should be greater than or equal to 1"),
        (["--set", "acceptance.weak_max=0.9"], "acceptance.weak_max"),
        (["--test", "validation/invented-0-006.md"], "serve validation and test"),
        (["--minibatch", "2"], "optimize.minibatch: 3 → 2"),
    ],
)
def test_another_plan_is_refused_with_the_difference(
    done: tuple[Folder, str], more: list[str], expected: str
) -> None:
    folder, _ = done
    assert expected in folder(*words("--iterations", "3", *more), code=2)


def test_documents_that_serve_two_purposes_are_refused(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    said = folder(
        *("optimize", "--task", "cs", "--out", "opt", "--train", "train"),
        *("--validation", "validation", "train"),
        code=2,
    )
    assert "5 documents serve training and validation" in said


def test_the_log_is_what_plain_git_draws(done: tuple[Folder, str]) -> None:
    folder, _ = done
    said = folder("prompts", "log", "--all")
    drawn, _, line = said.partition("\nWith plain git: ")
    again = subprocess.run(
        shlex.split(line), cwd=folder.path, env=folder.env, capture_output=True, text=True
    )
    assert again.stdout.splitlines() == drawn.splitlines()
    assert "Start from the packaged prompts" in drawn


def test_the_log_as_json_says_what_became_of_each(done: tuple[Folder, str]) -> None:
    folder, _ = done
    commits = json.loads(folder("prompts", "log", "--all", "--json"))
    decided = {c["iteration"]: c["decision"] for c in commits if c["iteration"] is not None}
    rows = folder.query("select number, decision from iterations where number > 0", "opt")
    assert decided == dict(rows)


def test_a_diff_names_the_failures_that_moved(done: tuple[Folder, str]) -> None:
    folder, _ = done
    decided = "select revision from iterations where decision in ('kept', 'rejected')"
    (revision,) = folder.query(decided, "opt")[0]
    said = folder("prompts", "diff", "main", revision, "--run", "opt")
    assert said.startswith("diff --git a/cs/")
    assert "validation documents that both were tried on" in said
    assert revision[:12] in folder("prompts", "show", revision[:12])


def test_the_report_is_one_page_that_loads_nothing(done: tuple[Folder, str]) -> None:
    folder, _ = done
    folder("report", "opt", "-o", "opt.html")
    page = (folder.path / "opt.html").read_text()
    for part in ("<svg", "Score against iteration", "Family", "sealed test, once", "analyst"):
        assert part in page
    assert "src=" not in page
    assert "http" not in page


def test_a_broken_prompt_is_found_before_it_is_used(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder("prompts", "init")
    assert "main can be used" in folder("prompts", "check")
    prompt = tmp_path / "prompts/cs/challenger.md"
    prompt.write_text(prompt.read_text().replace("{{document}}", "the document"))
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    git(folder, *identity, "commit", "-qam", "Break it")
    said = folder("prompts", "check", code=1)
    assert "placeholder {{document}} is missing" in said
    assert "PLACEHOLDER" in folder("prompts", "check", "--against", "main~1", code=1)


def test_a_champion_is_merged_into_main_or_copied_to_the_seeds(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder("prompts", "init")
    store = Store.open(tmp_path / "prompts")
    files = dict(packaged().files)
    files["cs/challenger.md"] = files["cs/challenger.md"].replace("\n\n", "\n\nBe brief.\n\n", 1)
    revision = store.commit(files, ["main"], "Ask for brevity")
    store.update_refs({champion_ref("climb"): (revision, None)})
    branch = champion(folder)
    folder("prompts", "adopt", branch, "--to", "seeds")
    copied = {
        str(p.relative_to(tmp_path / "seeds")): p.read_text()
        for p in (tmp_path / "seeds").rglob("*")
        if p.is_file()
    }
    assert copied == files
    assert "a merge of" in folder("prompts", "adopt", branch)
    assert git(folder, "diff", "main", branch) == []
    assert git(folder, "status", "--porcelain") == []
    for path, text in copied.items():
        assert (tmp_path / "prompts" / path).read_text() == text
    assert f"main contains {branch} already; nothing to adopt" in folder("prompts", "adopt", branch)


def test_a_text_that_serves_two_purposes_is_refused_under_any_name(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    studied = tmp_path / "train/invented-0-002.md"
    again = studied.read_text().upper().replace(" ", "  ").replace("\n\n", "\n\n\n")
    (tmp_path / "validation/another-name.md").write_text(again)
    said = folder(*words(), code=2)
    assert "1 documents serve training and validation" in said
    assert "“invented-0-002.md” and “another-name.md”" in said
    assert not (tmp_path / "opt").exists()


def test_a_used_test_set_is_named_and_nothing_is_offered_that_did_not_win(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    folder("prompts", "init")
    used = sorted((tmp_path / "test").iterdir())[:2]
    Store.open(tmp_path / "prompts").note_tested(
        "main", "cs-earlier", [same_text(path.read_text()) for path in used]
    )
    said = folder(*words("--iterations", "0"))
    assert "Test documents that were used before, by cs-earlier (2 of 3)" in said
    assert (
        "No edit beat the prompts that the run started from, so there is nothing to adopt" in said
    )
    assert "Adopt it with" not in said
    [(run,)] = folder.query("select id from runs where kind = 'optimization'", "opt")
    said = folder("prompts", "adopt", f"autodata/{run}/champion", code=2)
    assert f"the optimization {run} offers nothing to adopt" in said
    folder("report", "opt")
    assert "so there is nothing to adopt" in (tmp_path / "opt/report.html").read_text()


def test_an_interrupted_optimization_says_how_to_go_on_and_does(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    with folder.started(*words("--iterations", "1")) as process:
        assert any(line.startswith("   0  start") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait() == 130, said
    assert "Go on with: autodata resume opt" in said
    assert "1 iteration:" in folder("resume", "opt")


def test_an_optimization_is_scored_to_its_end_as_it_was_begun(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    folder(*words("--iterations", "0", "--score", "accepted"))
    said = folder(*words("--iterations", "1"))
    assert "1 iteration:" in said
    assert "counting for" not in said
    store = Store.open(tmp_path / "prompts")
    [made] = [c.trailers for c in store.history() if c.trailers.get("Autodata-Iteration") == "1"]
    assert made["Autodata-Scoring"] == "accepted"


def test_an_optimization_from_before_the_editor_was_told_what_counts_goes_on(
    tmp_path: Path,
) -> None:
    """Its own task's prompts are as they were; those of unknown versions are taken for others."""
    folder = prepared(tmp_path)
    folder(*words("--iterations", "0"))
    pin = "update runs set locked_revision = '{}'"
    folder.query(pin.format("locked-94fb46689384"), "opt")
    assert "1 iteration:" in folder(*words("--iterations", "1"))
    folder.query(pin.format("locked-000000000000"), "opt")
    said = folder(*words("--iterations", "2"), code=2)
    assert "locked prompts: locked-000000000000 → locked-" in said


def test_a_spent_budget_pauses_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    said = folder(*words("--iterations", "1", "--budget-calls", "150"), code=3)
    assert "150 of 150 calls are made" in said
    assert folder.query("select count(*) from calls", "opt") == [(150,)]
    assert "1 iteration:" in folder("resume", "opt", "--budget-calls", "100000")


def test_other_documents_are_another_optimization(done: tuple[Folder, str]) -> None:
    folder, _ = done
    (folder.path / "more.md").write_text(next(invented(1, seed=9)).text)
    said = folder(*words("--iterations", "3"), "--train", "more.md", code=2)
    assert "optimize.training: other documents" in said


def test_an_optimization_asks_no_person(tmp_path: Path) -> None:
    """Even where the configuration that it shares with runs asks for reviews."""
    folder = prepared(tmp_path)
    folder(*words("--iterations", "1", "--set", "run.review=before_accept"))
    assert folder.query("select count(*) from reviews", "opt") == [(0,)]
    assert folder.query("select count(*) > 0 from examples", "opt") == [(1,)]
