"""Every mistake at the door ends in one message, the right exit code and no traceback."""

import json
import os
import re
import resource
import sqlite3
import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import cast

import click
import pytest
import yaml
from click.testing import CliRunner

from autodata.cli import main
from autodata.ledger.summary import NOTICE
from autodata.options import FLAGS
from autodata.settings import Settings
from autodata.tasks import TASKS
from tests.outside import BIN, DEMO, Folder, Simulated
from tests.processes import simulation, started

DOCUMENT = DEMO / "cs" / "bounded-load-hashing.md"


@pytest.fixture(autouse=True)
def _inside_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def autodata(*words: str | Path, code: int = 0) -> str:
    """What the command prints; it must end with this exit code and without a traceback."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run over one document."""
    autodata("run", DOCUMENT, "--task", "cs", "--out", "run")
    return tmp_path / "run"


EVERY = [[name] for name in main.commands] + [
    [group, name]
    for group in ("prompts", "models")
    for name in cast(click.Group, main.commands[group]).commands
]


@pytest.mark.parametrize("words", [[], *EVERY], ids=" ".join)
def test_help_loads_nothing_but_the_command_line(tmp_path: Path, words: list[str]) -> None:
    """So it answers at once (0.1 s of processor time), and creates nothing."""
    script = (
        "import sys\nfrom autodata.cli import main\n"
        "try: main([*sys.argv[1:], '--help'])\n"
        "finally: print(sorted({name.partition('.')[0] for name in sys.modules}"
        " | {name for name in sys.modules if name.startswith('autodata')}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], check=True, capture_output=True, text=True
    )
    *_, modules = done.stdout.splitlines()
    loaded = set(literal_eval(modules))
    ours = {name for name in loaded if name.startswith("autodata")}
    assert ours == {"autodata", "autodata.cli", "autodata.cli_datasets", "autodata.options"}
    assert not loaded & {"pydantic", "langchain_core", "langgraph", "rich", "yaml", "sqlite_utils"}
    assert list(tmp_path.iterdir()) == []


def test_help_answers_at_once() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([BIN / "autodata", "run", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 0.5  # seconds of processor time, which a busy machine does not stretch


def test_help_names_the_tasks_of_the_registry_and_says_what_the_configuration_says() -> None:
    assert ", ".join(TASKS) in " ".join(autodata("demo", "--help").split())
    for name, flag in FLAGS.items():
        section, key = flag.key.split(".")
        kind = Settings.model_fields[section].annotation
        assert kind is not None
        said = kind.model_fields[key].description
        assert said in (flag.help.format(tasks=", ".join(TASKS)), None), (
            f"--{name} and {flag.key} are described differently"
        )


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_help_with_examples(words: list[str]) -> None:
    told = autodata(*words, "--help")
    assert f"autodata {' '.join(words)}" in told.partition("Examples:")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing/", "--task", "cs"], "missing/: there is no such file or folder"),
        (["empty", "--task", "cs"], "empty: the folder holds no files"),
        (["*.nothing", "--task", "cs"], "*.nothing: no file matches"),
        (["blank.md", "--task", "cs"], "blank.md: empty"),
        (["binary.md", "--task", "cs"], "binary.md: "),
        ([str(DOCUMENT)], "--task cs, --task legal, --task procedural or --task science"),
        ([str(DOCUMENT), "--task", "medicine"], "the tasks are cs, legal, procedural, science"),
        ([str(DOCUMENT), "--task", "cs", "--rounds", "-1"], "--rounds -1: run.rounds must be"),
        ([str(DOCUMENT), "--task", "cs", "--target", "0"], "--target 0: run.target must be"),
        ([str(DOCUMENT), "--task", "cs", "--budget-usd", "-1"], "--budget-usd -1.0: budget.usd"),
        ([str(DOCUMENT), "--task", "cs", "--preset", "strict"], "must be 'paper', 'deployed' or"),
        ([str(DOCUMENT), "--task", "cs", "--set", "run.rouds=2"], "did you mean run.rounds?"),
        ([str(DOCUMENT), "--task", "cs", "--config", "no.yaml"], "no.yaml: cannot be read"),
        ([str(DOCUMENT), "--task", "cs", "--config", "bad.yaml"], "bad.yaml, line 2: not YAML"),
        ([str(DOCUMENT), "--task", "cs", "--prompts", "v9"], "no prompt store"),
    ],
)
def test_a_wrong_run_is_refused_before_anything_is_asked(
    tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.md").write_text(" \n\t\n")
    (tmp_path / "binary.md").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "bad.yaml").write_text("run:\n  rounds: ]\n")
    told = autodata("run", *words, "--out", "run", code=2)
    assert said in told
    assert not (tmp_path / "run" / "run.db").exists()


def test_a_document_that_is_named_twice_is_worked_on_once_and_nothing_failed(
    tmp_path: Path,
) -> None:
    (tmp_path / "copy.md").write_text(DOCUMENT.read_text())
    told = autodata("run", DOCUMENT, DOCUMENT, "copy.md", "--task", "cs", "--out", "run")
    said = [line for line in told.splitlines() if line.startswith("skipped")]
    assert said == [
        f"skipped  {again}: the same text as {DOCUMENT.name}; worked on once"
        for again in (DOCUMENT.name, "copy.md")
    ]
    assert "documents   1: " in told


def test_a_threshold_that_the_domain_does_not_use_is_said_so(tmp_path: Path) -> None:
    document = DEMO / "science" / "capacitor-with-slab.md"
    changed = ("--set", "acceptance.weak_max=0.4", "--set", "acceptance.weak_correct_max=0")
    told = autodata("run", document, "--task", "science", "--rounds", "1", "--out", "run", *changed)
    [line] = [line for line in told.splitlines() if "changes nothing" in line]
    assert line == "acceptance.weak_max changes nothing: science decides without it"


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_run(tmp_path: Path) -> None:
    (tmp_path / "blank.md").write_text(" \n")
    told = autodata("run", DOCUMENT, "blank.md", "--task", "cs", "--out", "run", code=1)
    assert "blank.md: empty" in told
    assert "cs run" in told
    assert ": done" in told


def test_braces_and_placeholders_in_a_document_stay_text(tmp_path: Path) -> None:
    text = DOCUMENT.read_text() + '\n\nUse {{document}} and {{nothing}} as {"a": {"b": 1}}.\n'
    (tmp_path / "braces.md").write_text(text)
    autodata("run", "braces.md", "--task", "cs", "--out", "run")
    with sqlite3.connect("run/run.db") as database:
        [(stored,)] = database.execute("select text from documents").fetchall()
    database.close()
    assert "{{nothing}}" in stored


@pytest.mark.parametrize("name", ["resume", "status", "show", "redecide"])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, name: str) -> None:
    assert "there is no folder missing" in autodata(name, "missing", code=2)
    (tmp_path / "other").mkdir()
    assert "other is not a run folder" in autodata(name, "other", code=2)
    assert list((tmp_path / "other").iterdir()) == []


def test_a_folder_with_other_files_is_not_made_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.md").write_text("precious")
    told = autodata("run", DOCUMENT, "--task", "cs", "--out", ".", code=2)
    assert "holds other files" in told
    assert not (tmp_path / "run.db").exists()


def test_a_corrupt_or_newer_database_is_refused(tmp_path: Path, run: Path) -> None:
    with sqlite3.connect(run / "run.db") as database:
        database.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at)"
            " values ('autodata', 'from_the_future', '2030-01-01')"
        )
    database.close()
    assert "a newer autodata wrote it" in autodata("status", "run", code=2)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.db").write_bytes(b"not a database" * 100)
    assert "broken/run.db" in autodata("status", "broken", code=2)


def test_status_is_readable_by_people_and_programs(run: Path) -> None:
    told = autodata("status", "run")
    assert "1 accepted" in told or "1 rejected" in told
    assert "Simulated models" in told
    said = json.loads(autodata("status", "run", "--json"))
    assert said["status"] == "done"
    assert said["simulated"] is True
    assert said["documents"]["total"] == 1
    assert said["calls"] == sum(usage["calls"] for usage in said["usage"].values())


def test_the_folder_holds_the_whole_configuration_and_no_secret(run: Path) -> None:
    kept = (run / "config.yaml").read_text()
    assert "task: cs" in kept
    assert "seed: 0" in kept
    assert "revision: seed-" in kept


def test_show_tells_a_run_as_a_table_and_a_document_as_a_story(run: Path) -> None:
    table = autodata("show", "run")
    assert "bounded-load-hashing.md" in table
    document = table.splitlines()[1].split()[0]
    for wanted in (document, "bounded-load-hashing.md", "HASHING"):
        story = autodata("show", "run", wanted)
        assert "Round 1: " in story
        assert "objection" in story
        assert "Simulated models" in story
    assert len(autodata("show", "run", document, "--full")) > len(story)
    assert "no document of this run is called 'nope'" in autodata("show", "run", "nope", code=2)


def test_several_documents_may_be_meant(tmp_path: Path) -> None:
    autodata("run", DEMO / "cs", "--task", "cs", "--out", "run", "--budget-calls", "0", code=3)
    told = autodata("show", "run", "l", code=2)
    assert "'l' may be any of these" in told
    assert "has no recorded round yet" in autodata("show", "run", "leader", code=2)


def test_names_and_words_with_brackets_are_shown_as_they_are(tmp_path: Path) -> None:
    """A model's or a server's “[/INST]” reads like the markup of the library that prints."""
    place = tmp_path / "[bold]a[" / "b].md"
    place.parent.mkdir()
    place.write_text(DOCUMENT.read_text())
    assert "[bold]a[/b].md" in autodata("run", ".", "--task", "cs", "--out", "run", "--rounds", "1")
    assert "[bold]a[/b].md" in autodata("show", "run")
    assert "[bold]a[/b].md" in autodata("show", "run", "b].md")


@pytest.mark.parametrize("words", ["status run", "status run --json", "status --help"])
def test_a_command_whose_reader_has_seen_enough_ends_quietly(run: Path, words: str) -> None:
    """As printed by rich, by us and by click. The reader has left before anything is written."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [BIN / "autodata", *words.split()], cwd=run.parent, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_export_writes_examples_or_says_why_not(tmp_path: Path, run: Path) -> None:
    autodata("run", DEMO / "cs", "--task", "cs", "--out", "all")
    assert "dataset card in" in autodata("export", "all", "--format", "jsonl", "-o", "x.jsonl")
    rows = (tmp_path / "x.jsonl").read_text().splitlines()
    assert len(rows) == json.loads(autodata("status", "all", "--json"))["documents"]["accepted"]
    assert "unknown format 'csv'" in autodata("export", "all", "--format", "csv", code=2)
    autodata("run", DOCUMENT, "--task", "cs", "--out", "none", "--budget-calls", "0", code=3)
    assert "no accepted example" in autodata("export", "none", "--format", "jsonl", code=2)
    said = autodata("run", DOCUMENT, "--task", "cs", "--out", "rejected", "--rounds", "1")
    assert "0 accepted" in said
    assert "autodata export" not in said  # there is nothing to take along


def test_a_measured_run_that_ran_out_of_budget_decides_as_before_and_again_as_it_was() -> None:
    """Every document keeps the prior under which it was begun, at resuming and at redeciding."""
    words = ("--task", "cs", "--out", "run", "--preset", "measured", "--rounds", "4")
    autodata("run", DEMO / "cs", *words, "--budget-calls", "150", code=3)
    folder = Folder(Path.cwd())
    begun = dict(folder.query("select document_id, prior from priors"))
    decided = folder.query("select document_id, number, decision, objections from rounds")
    autodata("resume", "run", "--budget-calls", "5000")
    assert begun.items() <= dict(folder.query("select document_id, prior from priors")).items()
    again = folder.query("select document_id, number, decision, objections from rounds")
    assert set(decided) <= set(again)
    [(accepted,)] = folder.query("select count(*) from examples")
    assert f"by these thresholds {accepted} accepted, {8 - accepted} rejected, 0 open" in autodata(
        "redecide", "run"
    )


def test_every_figure_has_an_interval_on_screen_in_json_and_on_the_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    autodata("run", DEMO / "cs", "--task", "cs", "--out", "run")
    told = autodata("status", "run").splitlines()
    status = json.loads(autodata("status", "run", "--json"))
    for name in ("pass_rate", "rounds_mean", "weak_mean", "strong_mean", "gap_mean",
                 "calls_per_example", "tokens_per_example"):  # fmt: skip
        low, high = status[f"{name}_interval"]
        assert low < status[name] < high, name
    low, high = status["pass_rate_interval"]
    accepted = status["documents"]["accepted"]
    rate = f"{accepted} of 8 accepted ({100 * status['pass_rate']:.0f} %, "
    assert f"pass rate   {rate}{100 * low:.0f}–{100 * high:.0f})" in told
    [shown] = [line for line in told if line.startswith("shown")]
    for name in ("weak", "strong", "gap"):
        low, high = status[f"{name}_mean_interval"]
        assert f"{name} {status[f'{name}_mean']:.2f} ({low:.2f}–{high:.2f})" in shown
    assert status["calls_per_example"] == status["calls"] / accepted
    assert [
        line for line in told if len(line) > 80 and not line.startswith(("objections", NOTICE))
    ] == []
    assert shown in autodata("show", "run").splitlines()
    assert any("autodata remeasure" in line for line in told)
    autodata("export", "run", "--format", "jsonl", "-o", "rows.jsonl")
    card = Path("rows.md").read_text()
    assert "% of those tried, " in card
    assert re.search(r"weak mean \| 0\.\d+ \(0\.\d+–0\.\d+, \d examples\)", card)
    assert "measured afresh | not measured" in card


def test_an_example_says_how_likely_its_thresholds_truly_hold() -> None:
    autodata("run", DEMO / "cs", "--task", "cs", "--out", "run")
    database = sqlite3.connect("run/run.db")
    document, *known = database.execute(
        "select document_id, certainty, gap_estimate, gap_low, gap_high from examples limit 1"
    ).fetchone()
    database.close()
    holds, gap, low, high = (f"{value:.2f}" for value in known)
    told = f"{gap} ({low}–{high}); the thresholds truly hold with P = {holds}"
    assert told in autodata("show", "run", document)


def test_what_was_measured_afresh_is_told_beside_what_was_shown() -> None:
    autodata("run", DEMO / "cs", "--task", "cs", "--out", "run")
    autodata("remeasure", "run", "--attempts", "2")
    status = json.loads(autodata("status", "run", "--json"))
    told = autodata("status", "run")
    passed, measured = round(status["passed_again"] * status["confirmed"]), status["confirmed"]
    assert measured == status["documents"]["accepted"]
    assert f"afresh      {passed} of {measured} passed again (" in told
    assert f"gap {status['fresh_gap_mean']:.2f} (" in told
    assert "as the gate saw them" not in told


def test_redecide_shows_what_other_thresholds_would_change() -> None:
    autodata("run", DEMO / "cs", "--task", "cs", "--out", "run")
    accepted = json.loads(autodata("status", "run", "--json"))["documents"]["accepted"]
    same = autodata("redecide", "run")
    assert f"{accepted} accepted as recorded; by these thresholds {accepted} accepted" in same
    stricter = autodata("redecide", "run", "--set", "acceptance.weak_max=0.01")
    assert "by these thresholds 0 accepted" in stricter
    assert f"as recorded  {accepted} of 8 accepted (" in stricter
    # Four of eight lost: −50 points, Newcombe's paired interval, and from 0 % Cohen's h of 1.40
    assert "-50 points (-78 to -" in stricter
    refused = autodata("redecide", "run", "--set", "run.rounds=1", code=2)
    assert "redecide takes keys of acceptance" in refused


def test_the_demo_shows_acceptances_rejections_and_a_story(tmp_path: Path) -> None:
    told = autodata("demo", "--out", "demo")
    for word in ("accepted", "rejected", "skipped", "TOO_EASY", "LEAK", "Round 1", "Simulated"):
        assert word in told
    assert {folder.name for folder in (tmp_path / "demo").iterdir()} == {
        "cs",
        "legal",
        "science",
        "procedural",
    }
    assert "the tasks are" in autodata("demo", "--task", "medicine", code=2)


def test_the_demo_may_be_one_task_and_few_documents() -> None:
    told = autodata("demo", "--task", "legal", "--documents", "2", "--out", "demo")
    assert "documents   2:" in told


def test_the_procedural_demo_needs_solvers_alone_and_is_exported_with_its_answers(
    tmp_path: Path,
) -> None:
    told = autodata("demo", "--task", "procedural", "--out", "demo")
    assert "Simulated" in told
    assert "attempts failed without a final answer" in told
    assert "setting" in autodata("show", "demo", "products")
    database = sqlite3.connect(tmp_path / "demo" / "run.db")
    roles = {role for (role,) in database.execute("select distinct role from calls")}
    database.close()
    assert roles == {"weak_solver", "strong_solver"}
    for format in ("jsonl", "parquet", "trl-grpo", "verl", "sft", "dpo"):
        autodata("export", "demo", "--format", format)
    lines = (tmp_path / "demo" / "trl-grpo.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows
    assert all(row["reference_answer"] for row in rows)
    accepted = json.loads(autodata("status", "demo", "--json"))["documents"]["accepted"]
    assert f"by these thresholds {accepted} accepted" in autodata("redecide", "demo")
    words = ("--train", DEMO / "procedural", "--validation", DEMO / "procedural", "--out", "opt")
    assert "no prompt to improve" in autodata("optimize", "--task", "procedural", *words, code=2)


def test_worked_examples_are_shown_where_the_task_has_some(tmp_path: Path) -> None:
    solvers = "{endpoint: here, model: m, examples: 4}"
    (tmp_path / "autodata.yaml").write_text(
        "endpoints: {here: {base_url: 'http://127.0.0.1:9/v1', give_up_after: 0}}\n"
        f"models: {{weak_solver: {solvers}, strong_solver: {solvers}}}\n"
    )
    told = autodata("run", DEMO / "procedural", "--task", "procedural", "--out", "p", code=3)
    assert "challenger" not in told  # nobody else has to be configured
    told = autodata("run", DOCUMENT, "--task", "cs", "--out", "cs", code=2)
    assert "add models.challenger" in told or "has no worked examples" in told


def test_the_local_demo_asks_the_model_that_is_served_and_names_it(
    tmp_path: Path,
) -> None:
    """The server stands in for one of a small real model; what it is called, it says itself."""
    with started(simulation, ("--port", "0")) as process:
        served = Simulated(process.stdout.readline().split(" at ")[1].split()[0])
        words = ("--models", "local", "--address", served.base_url, "--documents", "2")
        told = autodata("demo", *words, "--out", "demo")
        assert served.stats["roles"].keys() == {"solver"}
    assert f"procedural with simulated-weak at {served.base_url}" in told
    assert "shown 4 worked examples" in told
    config = yaml.safe_load((tmp_path / "demo" / "config.yaml").read_text())
    assert config["models"]["strong_solver"]["examples"] == 4


def test_the_local_demo_says_what_it_lacks() -> None:
    words = ("demo", "--models", "local", "--address", "http://127.0.0.1:9/v1")
    assert "no model is served at http://127.0.0.1:9/v1" in autodata(*words, code=2)
    assert "tasks that have: procedural" in autodata(*words, "--task", "cs", code=2)


def test_a_target_stops_the_run_when_enough_is_accepted() -> None:
    words = ("--task", "cs", "--out", "run", "--set", "run.documents_in_flight=1")
    autodata("run", DEMO / "cs", *words, "--target", "1")
    counts = json.loads(autodata("status", "run", "--json"))["documents"]
    assert counts["accepted"] == 1
    assert counts["undecided"]
    autodata("resume", "run", "--target", "2")
    assert json.loads(autodata("status", "run", "--json"))["documents"]["accepted"] == 2


def test_the_doctor_examines_every_model(folder: Folder, server: Simulated) -> None:
    told = folder("doctor")
    assert "structured replies by json_schema" in told
    assert "no problems" in told
    assert "folder    . can hold runs" in told
    folder.env["SIMULATED_KEY"] = "wrong"
    report = json.loads(folder("doctor", "--json", code=1))
    assert {model["model"] for model in report["models"]} == {
        "simulated",
        "simulated-weak",
        "simulated-strong",
    }
    assert all("401" in model["probe"]["problem"] for model in report["models"])
    assert all("SIMULATED_KEY" in model["probe"]["remedy"] for model in report["models"])
    folder.env["SIMULATED_KEY"] = "right"
    assert "no price" not in folder("doctor")
    assert "a budget in USD cannot be kept" in folder("doctor", "--set", "budget.usd=1", code=1)
    (folder.path / "file").touch()
    report = json.loads(folder("doctor", "--json", "--out", "file", code=1))
    assert "file cannot be written: Not a directory" in report["folder"]["problem"]
