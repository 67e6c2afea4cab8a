"""Models scored on test files over HTTP: with exports of real runs, and the simulated models behind
an endpoint. What a kill leaves behind is asked for no more."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean
from threading import Thread
from typing import Any

import pytest

from autodata.tasks import TASKS
from autodata.tasks.types import Candidate, Criterion
from tests.ledger.test_export import lines
from tests.outside import Simulated
from tests.processes import simulation, started
from tests.training.scripts import PAGE, ROOT, script, typed

evaluate = script("evaluate")
table = script("comparison_table")
ATTEMPTS = 4


@pytest.fixture(scope="module")
def server() -> Iterator[Simulated]:
    with started(simulation, ("--port", "0", "--latency", "0.01")) as process:
        yield Simulated(process.stdout.readline().split(" at ")[1].split()[0])


@pytest.fixture(scope="module")
def tests(exported: Callable[[str, str], Path]) -> Mapping[str, Path]:
    """An export of a run that a judge scores, and of one that code does."""
    return {task: exported(task, "trl-grpo") for task in ("cs", "procedural")}


class Desk:
    """Somebody who evaluates the simulated models."""

    def __init__(self, server: Simulated, tests: Mapping[str, Path], out: Path) -> None:
        self.server, self.tests, self.out = server, tests, out

    def words(
        self,
        *more: str,
        tests: tuple[str, ...] = ("cs", "procedural"),
        models: tuple[str, ...] = ("base=weak", "trained=strong"),
    ) -> tuple[str, ...]:
        url = self.server.base_url
        said = [f"--test={name}={self.tests[name]}" for name in tests]
        for each in models:
            name, _, model = each.partition("=")
            said.append(f"--model={name}={url}#simulated-{model}")
        judge = ("--judge-url", url, "--judge-model", "simulated")
        how = ("--attempts", str(ATTEMPTS), "--prompt", "solver", "--out", str(self.out))
        return (*said, *judge, *how, *more)

    def __call__(self, *more: str, code: int = 0, **which: Any) -> dict[str, Any]:
        assert evaluate.main(self.words(*more, **which)) == code
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found

    @property
    def journal(self) -> list[dict[str, Any]]:
        return lines(self.out / "answers.jsonl")


@pytest.fixture
def desk(server: Simulated, tests: Mapping[str, Path], tmp_path: Path) -> Desk:
    return Desk(server, tests, tmp_path / "evaluation")


def test_models_are_scored_as_at_the_gate_beside_the_untrained_one(desk: Desk) -> None:
    results = desk("--k", "1", "--k", "3", models=("trained=strong", "base=weak"))
    assert list(results["models"]) == ["base", "trained"]
    answers = {line["key"]: line for line in desk.journal if line["kind"] == "answer"}
    scores = [line for line in desk.journal if line["kind"] == "score"]
    rows = {name: lines(file) for name, file in desk.tests.items()}
    assert len(answers) == len(scores) == 2 * ATTEMPTS * sum(map(len, rows.values()))
    for name, found in results["figures"].items():
        asked = {evaluate._question(row) for row in rows[name]}
        for model, cell in found.items():
            own = [
                line["scored"]["score"]
                for line in scores
                if line["model"] == model and line["question"] in asked
            ]
            assert cell["unscored"] == own.count(None)
            scored = [score for score in own if score is not None]
            if not cell["unscored"]:  # else questions weigh by how many were scored
                assert cell["mean"]["value"] == pytest.approx(fmean(scored))
            assert cell["mean"]["low"] <= cell["mean"]["value"] <= cell["mean"]["high"]
            assert cell["pass"]["1"]["value"] == pytest.approx(cell["avg"]["value"])
            assert cell["best"]["1"]["value"] == pytest.approx(cell["mean"]["value"])
            assert cell["best"]["3"]["value"] >= cell["best"]["1"]["value"]
            assert cell["answers"] == len(own)
            assert cell["tokens"]["value"] > 0
    base, trained = (results["figures"]["procedural"][name]["mean"] for name in results["models"])
    [gain] = [one for one in results["differences"]["procedural"] if one["figure"] == "mean"]
    assert gain["value"] == pytest.approx(trained["value"] - base["value"])
    assert gain["verdict"].startswith("too few documents")
    said = (desk.out / "results.md").read_text()
    assert "**Simulated models**" in said
    assert "| cs | base (untrained) |" in said
    assert "best@3" in said


def test_scores_are_the_gates_own(desk: Desk) -> None:
    """By code the comparison of the domain; by marks its formula."""
    desk(tests=("procedural", "cs"), models=("base=weak",))
    rows = {evaluate._question(row): row for file in desk.tests.values() for row in lines(file)}
    answers = {(line["model"], line["question"], line["attempt"]): line["reply"]["text"]
               for line in desk.journal if line["kind"] == "answer"}  # fmt: skip
    compared = 0
    for line in desk.journal:
        if line["kind"] == "score" and (row := rows[line["question"]])["task"] == "procedural":
            candidate = Candidate(
                context=row["context"], question=row["question"],
                reference_answer=row["reference_answer"], question_type=row["question_type"],
                rubric=tuple(Criterion(**each) for each in row["rubric"]),
            )  # fmt: skip
            answer = answers[line["model"], line["question"], line["attempt"]]
            right = TASKS["procedural"].compare(answer, candidate)
            assert line["scored"]["score"] == float(right is True)
            compared += 1
    assert compared == ATTEMPTS * len(lines(desk.tests["procedural"]))
    judged = {line["scored"]["how"] for line in desk.journal
              if line["kind"] == "score" and rows[line["question"]]["task"] == "cs"}  # fmt: skip
    assert "judged" in judged <= {"judged", "unscored"}  # it writes what cannot be read, at times


def test_killed_and_started_again_it_asks_nothing_twice(desk: Desk) -> None:
    """Of what was on its way when it was killed at most one answer for each request is paid for
    twice; a line that broke off is written anew."""
    before, few = desk.server.answers, ("--concurrency", "2", "--judge-concurrency", "2")
    words = desk.words(*few, tests=("cs", "procedural"))
    with started(typed, "evaluate", words) as process:
        for line in process.stdout:
            if re.search(r"trained answers .* [3-9] of", line):
                break
        process.process.kill()
        process.process.join()
    journal = desk.out / "answers.jsonl"
    whole = [line["key"] for line in desk.journal]
    with journal.open("a") as file:
        file.write('{"kind": "answer", "key": "1234", "mod')
    results = desk(*few, tests=("cs", "procedural"))
    lately = [(line["kind"], line["key"]) for line in desk.journal]
    assert [key for _, key in lately[: len(whole)]] == whole
    assert len(lately) == len({*lately})
    made = desk.server.answers - before
    answers = {line["key"]: line["reply"] for line in desk.journal if line["kind"] == "answer"}
    # Alike answers are judged once; a judge's malformed reply is sent back once; two were on
    # their way.
    judged = sum(
        line["kind"] == "score" and line["scored"]["how"] == "judged" for line in desk.journal
    )
    assert len(answers) <= made <= len(answers) + 2 * judged + 2
    assert results["figures"]["cs"]["trained"]["answers"] == ATTEMPTS * len(lines(desk.tests["cs"]))
    assert desk(*few, tests=("cs", "procedural")) == results
    assert desk.server.answers - before == made


def test_only_what_has_changed_is_asked_anew(desk: Desk) -> None:
    desk(tests=("procedural",), models=("base=weak",))
    before = desk.server.answers
    desk(tests=("procedural",), models=("base=weak", "trained=strong"))
    assert desk.server.answers - before == ATTEMPTS * len(lines(desk.tests["procedural"]))
    before = desk.server.answers
    desk("--attempts", str(ATTEMPTS + 1), tests=("procedural",))
    assert desk.server.answers - before == 2 * len(lines(desk.tests["procedural"]))
    before = desk.server.answers
    desk("--max-tokens", "100", tests=("procedural",), models=("base=weak",))
    assert desk.server.answers > before


def test_a_judges_prompt_is_known_by_what_it_says(desk: Desk, tmp_path: Path) -> None:
    prompt, packaged = tmp_path / "judge.md", ROOT / "training" / "prompts" / "cs" / "judge.md"
    prompt.write_text(packaged.read_text())
    words = ("--judge-prompt", str(prompt))
    desk(*words, tests=("cs",), models=("base=weak",))
    before = desk.server.answers
    desk(*words, tests=("cs",), models=("base=weak",))
    assert desk.server.answers == before
    prompt.write_text(f"Be strict. {packaged.read_text()}")
    desk(*words, tests=("cs",), models=("base=weak",))
    assert desk.server.answers > before


def test_an_answer_cut_off_scores_nothing_and_is_counted(desk: Desk) -> None:
    results = desk("--max-tokens", "5", tests=("cs",), models=("base=weak",))
    cell = results["figures"]["cs"]["base"]
    assert cell["cut_off"] == cell["answers"] > 0
    assert (cell["mean"]["value"], cell["cut"]["value"]) == (0.0, 1.0)
    assert cell["tokens"]["value"] <= 5
    assert "100.0 %" in (desk.out / "results.md").read_text()
    assert cell["format_errors"] == 0


def test_an_endpoint_that_is_down_pauses_and_a_judge_used_up_does(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    words = desk.words("--judge-calls", "2", tests=("cs",), models=("base=weak",))
    assert evaluate.main(words) == 3
    assert "allows no more" in capsys.readouterr().err
    before = desk.server.answers
    results = desk(tests=("cs",), models=("base=weak",))
    assert results["figures"]["cs"]["base"]["mean"]["value"] > 0
    rows = len(lines(desk.tests["cs"]))
    assert desk.server.answers - before <= 2 * ATTEMPTS * rows - 2
    down = ("--model", "gone=http://127.0.0.1:9/v1#any", "--give-up", "0.1")
    assert evaluate.main((*words, *down)) == 3
    told = capsys.readouterr().err
    assert "gone at http://127.0.0.1:9/v1 cannot be asked" in told
    assert "asks nothing twice" in told


def test_questions_asked_twice_count_once_and_what_was_trained_on_is_refused(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = desk.tests["procedural"]
    double = tmp_path / "double.jsonl"
    double.write_text(once.read_text() * 2)
    twice = Desk(desk.server, {"procedural": double}, desk.out)
    results = twice(tests=("procedural",), models=("base=weak",))
    assert results["tests"]["procedural"]["doubles_left_out"] == len(lines(once))
    assert results["figures"]["procedural"]["base"]["mean"]["questions"] == len(lines(once))
    trained = desk.words("--train", str(double), tests=("procedural",))
    assert evaluate.main(trained) == 2
    assert "are trained on as well" in capsys.readouterr().err


class Particular(BaseHTTPRequestHandler):
    """An endpoint that knows the limit of tokens by its newer name alone, counts no tokens, and
    will not speak of one matter."""

    matter = ""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "max_completion_tokens" not in asked:
            self._say(400, {"error": {"message": "Use 'max_completion_tokens' instead."}})
        elif self.matter in asked["messages"][-1]["content"]:
            self._say(400, {"error": {"message": "I will not speak of that."}})
        else:
            message = {"role": "assistant", "content": "Answer: " + "7" * 20}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            fields = {"id": "1", "object": "chat.completion", "created": 0, "model": "any"}
            self._say(200, {**fields, "choices": [choice]})

    def _say(self, code: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def test_what_an_endpoint_refuses_has_no_score_and_counts_nowhere(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = lines(desk.tests["procedural"])
    Particular.matter = rows[0]["question"]
    same = sum(row["question"] == Particular.matter for row in rows)
    with ThreadingHTTPServer(("127.0.0.1", 0), Particular) as endpoint:
        Thread(target=endpoint.serve_forever, daemon=True).start()
        model = f"--model=base=http://127.0.0.1:{endpoint.server_address[1]}/v1#any"
        results = desk(model, tests=("procedural",), models=())
        Particular.matter, told = "speaks of all", capsys.readouterr().err
        lately = desk(model, tests=("procedural",), models=())
        endpoint.shutdown()
    cell = results["figures"]["procedural"]["base"]
    assert cell["unscored"] == same * ATTEMPTS
    assert cell["answers"] == cell["tokens_estimated"] == (len(rows) - same) * ATTEMPTS
    assert cell["tokens"]["value"] == 7  # 28 characters
    assert cell["mean"]["questions"] == len(rows) - same
    assert "most of them: refused: Error code: 400" in told
    assert "the same command asks again what was refused" in told
    assert lately["figures"]["procedural"]["base"]["unscored"] == 0
    answers = [line["key"] for line in desk.journal if line["kind"] == "answer"]
    assert len(answers) == (len(rows) + same) * ATTEMPTS  # of the others none was asked again


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"models": ("trained=strong",)}, "no model is named base"),
        ({"models": ("base=weak", "base=strong")}, "two models are named base"),
        ({"more": ("--model", "other=nowhere")}, "no folder"),
        ({"more": ("--model", "other=http://127.0.0.1:9/v1")}, "say which model of the endpoint"),
        ({"more": ("--model", "other")}, "say NAME=URL#MODEL"),
        ({"more": ("--test", "other=nowhere.jsonl")}, "there is no file nowhere.jsonl"),
        ({"more": ("--k", "9")}, "there are 4 --attempts"),
        ({"more": ("--judge-prompt", "nowhere.md")}, "there is no prompt of a judge"),
        ({"more": ("--prompt", "nowhere.md")}, "nowhere.md is no prompt of a solver"),
        ({"more": ("--out", __file__)}, "kept in"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_words(
    desk: Desk, changed: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = desk.server.answers
    assert evaluate.main(desk.words(*changed.pop("more", ()), **changed)) == 2
    told = capsys.readouterr().err
    assert told.startswith("evaluate.py: ")
    assert said in told
    assert desk.server.answers == before


def test_without_the_untrained_model_the_table_says_so(desk: Desk) -> None:
    results = desk("--without-base", tests=("procedural",), models=("trained=strong",))
    assert results["base"] is None
    assert "**The untrained model is not in this table**" in (desk.out / "results.md").read_text()


def test_two_evaluations_do_not_write_to_one_folder(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = evaluate.Journal(desk.out / "answers.jsonl")
    assert evaluate.main(desk.words(tests=("procedural",))) == 2
    assert "another evaluation writes to" in capsys.readouterr().err
    journal.close()
    desk(tests=("procedural",))


def test_the_commands_of_the_page_are_such_as_the_script_takes() -> None:
    said = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^python training/evaluate\.py (.*)$", said, re.MULTILINE)
    assert found
    for words in found:
        evaluate._options().parse_args(shlex.split(words, comments=True))
