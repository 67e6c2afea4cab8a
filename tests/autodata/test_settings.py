"""The configuration: one file, overridden by flags; every fault is named with its place."""

from pathlib import Path

import pytest

from autodata.graph.state import RunChoices
from autodata.models.config import CONFIGURED
from autodata.models.errors import UnknownRole
from autodata.settings import Override, Settings, SettingsError, changes, dump, load, with_attempts

COMPLETE = """
endpoints:
  openai:
  local: {base_url: http://localhost:8000/v1, api_key_env: VLLM_API_KEY, max_concurrency: 8}
models:
  challenger: {endpoint: openai, model: gpt-5-mini, temperature: 1.0}
  weak_solver: {endpoint: local, model: Qwen/Qwen3.5-4B, attempts: 4, max_tokens: 8192}
  strong_solver: {endpoint: openai, model: gpt-5}
prices: {local/Qwen/Qwen3.5-4B: {input: 0, output: 0}}
acceptance: {preset: deployed, gap_min: 0.25}
run: {rounds: 6, documents_in_flight: auto}
budget: {usd: 20}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "autodata.yaml"
    path.write_text(text)
    return path


def fault(path: Path | None, *sets: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load(path, [Override.parse(text) for text in sets])
    return str(raised.value)


def test_the_file_of_the_current_folder_is_read_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, COMPLETE)
    monkeypatch.chdir(tmp_path)
    settings = load()
    assert settings.choices.rounds == 6
    assert settings.choices.weak_attempts == 4
    assert settings.choices.gap_min == 0.25
    assert settings.roles["judge"] == "openai/gpt-5-mini"
    assert not settings.simulated


def test_without_a_file_every_role_is_simulated_with_seed_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load().resolved("cs", "seed-0", None)
    assert settings.simulated
    assert settings.run.seed == 0
    assert {role.partition("/")[0] for role in settings.roles.values()} == {"simulated"}


def test_a_seed_stays_open_with_real_models(tmp_path: Path) -> None:
    assert load(written(tmp_path, COMPLETE)).resolved("cs", "seed-0", None).run.seed is None


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, COMPLETE)
    settings = load(path, [Override("run.rounds", 3, "--rounds 3"), Override.parse("budget.usd=")])
    assert settings.run.rounds == 3
    assert settings.budget.usd is None


def test_what_is_written_to_a_run_folder_reads_back_equal(tmp_path: Path) -> None:
    settings = load(written(tmp_path, COMPLETE)).resolved("legal", "0a1b", "/prompts")
    assert load(written(tmp_path, dump(settings))) == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: {roundz: 3}", "line 1: run.roundz is not a known key; did you mean run.rounds?"),
        ("rounds: 3", "rounds is not a known key; did you mean run.rounds?"),
        ("\nrun:\n  rounds: -3", "line 3: run.rounds must be greater than or equal to 1, not -3"),
        ("run: {seed: true}", "run.seed must be a valid integer, not true"),
        ("run: {rounds: '3'}", "run.rounds must be a valid integer"),
        ("run: {attempts: most}", "run.attempts must be 'early', 'parallel' or 'all'"),
        (
            "run: {documents_in_flight: 0}",
            "must be 'auto' or must be greater than or equal to 1, not 0",
        ),
        ("run: {task: medicine}", "the tasks are cs, legal, procedural, science"),
        ("acceptance: {weak_max: .nan}", "acceptance.weak_max is not a finite number"),
        ("acceptance: {weak_max: 1.5}", "must be less than or equal to 1, not 1.5"),
        ("budget: {usd: -1}", "budget.usd must be greater than or equal to 0, not -1"),
        ("run: [", "line 1: not YAML"),
        ("run: {rounds: 1}\nrun: {rounds: 2}", "line 2: run stands twice"),
        ("- run", "holds no configuration"),
        ("run: {task: science}\nacceptance: {strong_correct_min: 9}", "nothing could be accepted"),
        (
            "run: {task: cs}\nacceptance: {weak_max: 0}",
            "acceptance.weak_max is 0, and no weak score is below that: nothing could be accepted",
        ),
        (
            "run: {task: cs}\nacceptance: {preset: measured, strong_max: 0.5}",
            "strong_min is 0.65, and strong scores stay below acceptance.strong_max, 0.5: nothing",
        ),
        (
            "run: {task: cs}\nacceptance: {preset: measured, gap_min: 1}",
            "acceptance.gap_min is 1, and gaps stay below 1: nothing could be accepted",
        ),
        ("endpoints: {a: {}}", "no models"),
        ("endpoints: {a: {base_url: localhost:1}}", "base_url must begin with http:// or https://"),
        ("endpoints: {a: {base_url: 'http://'}}", "base_url of a is no address"),
        ("endpoints: {a: {base_url: 'http://a b/v1'}}", "base_url of a is no address"),
        ("endpoints: {a: {base_url: 'http://h..h/v1'}}", "base_url of a is no address"),
        ("endpoints: {a: {base_url: 'http://h:99999/v1'}}", "its host or port cannot be"),
        ("endpoints: {a: {base_url: 'http://h/v1?version=2'}}", "base_url of a holds a ? or #"),
        ("run: 3", "line 1: run must be a section, such as {key: value}, not 3"),
        ("run: &run {rounds: *run}", "a part of it contains itself"),
        ("run: {rounds: 2026-13-01}", "not YAML: month must be in 1..12"),
        ("run: {seed: 9223372036854775808}", "run.seed must be less than"),
        ("models: {chalenger: {endpoint: a, model: b}}", "did you mean challenger?"),
        ("models: {challenger: {model: b}}", "models.challenger.endpoint is missing"),
        ("models: {challenger: {endpoint: simulated, model: b}}", "add models.weak_solver"),
        (COMPLETE.replace("attempts: 4", "attempts: 33"), "less than or equal to 32, not 33"),
        (
            COMPLETE.replace("endpoint: local", "endpoint: lokal"),
            "endpoint 'lokal' is not configured; did you mean 'local'?",
        ),
    ],
)
def test_a_fault_names_its_place_and_the_way_out(tmp_path: Path, text: str, said: str) -> None:
    assert said in fault(written(tmp_path, text))


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "run: {rounds: 0, per_document: 0}\nprompt: {}")
    assert len(fault(path).splitlines()) == 3


def test_a_fault_of_a_flag_names_the_flag(tmp_path: Path) -> None:
    path = written(tmp_path, COMPLETE)
    assert fault(path, "run.rounds=0").startswith("--set run.rounds=0: run.rounds must be")
    assert "run.rounds is a value, not a section" in fault(path, "run.rounds.x=1")
    assert fault(path, "a.b=1").startswith("--set a.b=1: a is not a known key")
    assert fault(path, "rounds").startswith("--set rounds: write --set key=value")
    assert fault(path, "run.rounds=[").endswith("the value is not YAML")
    assert "the value is nested too deeply" in fault(path, "run.rounds=" + "[" * 5000 + "]" * 5000)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "missing.yaml: cannot be read" in fault(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not a text file" in fault(tmp_path / "binary.yaml")


def test_a_key_is_never_taken_from_the_file(tmp_path: Path) -> None:
    """Neither as a value of its own nor inside an address; and it is not repeated on screen."""
    said = fault(written(tmp_path, "endpoints: {a: {api_key: sk-secret}}"))
    assert "did you mean endpoints.a.api_key_env?" in said
    assert "sk-secret" not in said
    address = COMPLETE.replace("http://localhost", "http://me:sk-secret@localhost")
    assert "environment variable" in fault(written(tmp_path, address))
    said = fault(written(tmp_path, "endpoints: {a: {api_key_env: sk-secret}}"))
    assert "api_key_env must be the name of an environment variable that holds the key" in said
    assert "sk-secret" not in said


@pytest.mark.parametrize("address", ["localhost", "http://me:sk-secret@localhost/v1"])
def test_an_address_from_the_environment_is_held_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    said = fault(written(tmp_path, COMPLETE))
    assert "OPENAI_BASE_URL" in said
    assert "sk-secret" not in said


def test_only_what_shapes_examples_counts_as_a_change(tmp_path: Path) -> None:
    old = load(written(tmp_path, COMPLETE)).plain()
    sets = ("run.rounds=7", "budget.usd=30", "endpoints.local.base_url=http://other/v1")
    new = load(tmp_path / "autodata.yaml", [Override.parse(text) for text in sets]).plain()
    assert changes(old, new) == ["run.rounds: 6 → 7"]


def test_the_judge_may_be_asked_several_times_and_nobody_else(tmp_path: Path) -> None:
    once = load(written(tmp_path, COMPLETE))
    assert once.choices.judge_repeats is None
    assert "repeats" not in dump(once)
    judge = "models.judge={endpoint: local, model: j, repeats: 3}"
    thrice = load(tmp_path / "autodata.yaml", [Override.parse(judge)])
    assert thrice.choices.judge_repeats == 3
    assert with_attempts(RunChoices(), thrice.stating(thrice.choices)).judge_repeats == 3
    again = load(
        tmp_path / "autodata.yaml",
        [Override.parse(judge), Override.parse("models.judge.repeats=2")],
    )
    assert changes(thrice.plain(), again.plain()) == ["models.judge.repeats: 3 → 2"]
    assert fault(tmp_path / "autodata.yaml", "models.weak_solver.repeats=3").endswith(
        "weak_solver has repeats, and only the judge is asked several times about the same answer; "
        "state models.judge.repeats, or attempts of a solver"
    )


def test_a_model_of_embeddings_plays_no_role_and_changes_no_run(tmp_path: Path) -> None:
    without = load(written(tmp_path, COMPLETE))
    own = Override.parse("models.embeddings={endpoint: local, model: e}")
    with_it = load(tmp_path / "autodata.yaml", [own])
    assert with_it.model("embeddings").model == "e"
    assert with_it.roles == without.roles
    assert changes(without.plain(), with_it.plain()) == []
    text = "endpoints: {e: {}}\nmodels: {embeddings: {endpoint: e, model: e}}"
    alone = load(written(tmp_path, text))
    assert alone.simulated
    with pytest.raises(UnknownRole, match=r"add models\.embeddings"):
        without.model("embeddings")
    assert fault(tmp_path / "autodata.yaml", "models.embedding={endpoint: e, model: e}").endswith(
        "did you mean embeddings?"
    )


def test_the_example_file_is_a_valid_configuration_that_shows_every_section() -> None:
    example = Path(__file__).parents[2] / "autodata.example.yaml"
    settings = load(example)
    assert not settings.simulated
    text = example.read_text()
    assert [name for name in Settings.model_fields if f"\n{name}:" not in text] == []
    assert [role for role in CONFIGURED if role not in text] == []
