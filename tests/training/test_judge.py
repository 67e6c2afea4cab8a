"""A judge behind HTTP: asked once for each answer, patient with its endpoint, and never guessed."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import scoring
from endpoint import EndpointPaused
from judge import GivenAnswer, Judge, JudgeError, JudgeOptions, ScoredAnswer, Scorer
from tests.processes import simulation, started
from tests.training.conftest import Rows

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of a client's closed sockets


@contextmanager
def opened(cache: Path, url: str, **options: Any) -> Iterator[Judge]:
    judge = Judge(JudgeOptions(url, "simulated", **options), cache)
    try:
        yield judge
    finally:
        judge.close()


def answers(rows: Rows, count: int) -> list[GivenAnswer]:
    """Recorded answers of the weak and of the strong side, with their rows."""
    found = [
        GivenAnswer(row, attempt["answer"])
        for row in rows
        for attempt in row["weak"] + row["strong"]
        if not attempt["truncated"]
    ]
    assert len(found) >= count
    return found[:count]


def test_an_answer_is_judged_once_and_scored_from_the_marks_of_its_own_rubric(
    examples: Callable[[str], Rows], judge_url: str, tmp_path: Path
) -> None:
    asked = answers(examples("cs"), 6)
    cache = tmp_path / "judge.db"
    with opened(cache, judge_url) as judge:
        scorer = Scorer("rubric", judge)
        scorer.check([one.row for one in asked])
        first = scorer.scores([*asked, asked[0]])  # the same answer twice is one call
        assert judge.made >= 6
    assert {one.how for one in first} == {"judged"}
    assert first[0] == first[-1]
    with sqlite3.connect(cache) as kept:
        replies = [reply for (reply,) in kept.execute("select reply from replies")]
    weights = [[line["weight"] for line in one.row["rubric"]] for one in asked]
    possible = set[float]()
    for reply in replies:
        for each in weights:
            try:
                possible.add(scoring.score_of(each, scoring.marks_of(reply, len(each))))
            except ValueError:
                continue
    assert {one.score for one in first} <= possible
    with opened(cache, "http://127.0.0.1:9/v1") as judge:  # where nobody listens
        assert Scorer("rubric", judge).scores(asked) == first[:-1]
        assert (judge.made, judge.cached) == (0, len(replies))


def test_what_needs_no_judge_is_scored_without_one(examples: Callable[[str], Rows]) -> None:
    [cs, *_], [sum_, *_] = examples("cs"), examples("procedural")
    right = f"Answer: {sum_['reference_answer']}"
    scorer = Scorer("rubric")
    scorer.check([sum_])
    given = [
        GivenAnswer(cs, "cut", cut=True), GivenAnswer(cs, "<think>hm"), GivenAnswer(sum_, right),
        GivenAnswer(sum_, "I do not know"), GivenAnswer(sum_, right, cut=True),
    ]  # fmt: skip
    assert scorer.scores(given) == [
        ScoredAnswer(0.0, "cut"),
        ScoredAnswer(0.0, "blank"),
        ScoredAnswer(1.0, "compared"),
        ScoredAnswer(0.0, "formless", formless=True),
        ScoredAnswer(0.0, "cut"),
    ]
    assert scorer.counts == {
        "cut": 2, "blank": 1, "compared": 1, "formless": 1, "formless answers": 1
    }  # fmt: skip
    form = Scorer("format")
    wrong = GivenAnswer(sum_, "Answer: 99999" if right[-1].isdigit() else right)
    assert [one.score for one in form.scores([wrong, given[3]])] == [1.0, 0.0]
    miss = GivenAnswer(sum_, "Answer: 99999")
    assert scorer.scores([miss])[0].how == (
        "formless" if sum_["reference_answer"].isalpha() else "compared"
    )
    problem = changed(sum_, task="science", reference_answer="Final answer: $x$")
    exact = Scorer("exact").scores([GivenAnswer(problem, r"Final answer: $\text{x}$")])
    assert exact == [ScoredAnswer(0.0, "unsettled")]


def changed(row: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return row | columns


def test_a_row_that_cannot_be_scored_is_told_before_anything_is_paid_for(
    examples: Callable[[str], Rows], tmp_path: Path
) -> None:
    [row, *_] = examples("cs")
    with pytest.raises(JudgeError, match=r"name --judge-url and --judge-model$"):
        Scorer("rubric").check([row])
    with pytest.raises(JudgeError, match="or --reward exact"):
        Scorer("rubric").check([changed(row, task="science")])
    for kind in ("exact", "format"):
        with pytest.raises(JudgeError, match=r"those of cs have none"):
            Scorer(kind).check([row])
    with opened(tmp_path / "j.db", "http://127.0.0.1:9/v1") as judge:
        negative = [{"criterion": "c", "weight": -1}]
        with pytest.raises(JudgeError, match="no positive weight"):
            Scorer("rubric", judge).check([changed(row, rubric=negative)])
        with pytest.raises(JudgeError, match="name one by --judge-prompt"):
            Scorer("rubric", judge).check([changed(row, task="chemistry")])


def test_trouble_of_an_endpoint_is_waited_out_and_then_it_pauses(
    examples: Callable[[str], Rows], tmp_path: Path
) -> None:
    asked = answers(examples("cs"), 4)
    script = ["rate_limited", "error", "wrong_json", "reset", "truncated_body"]
    faults = json.dumps({"script": script})
    with started(simulation, ("--port", "0", "--faults", faults, "--key", "right")) as process:
        url = process.stdout.readline().split(" at ")[1].split()[0]
        with (
            opened(tmp_path / "refused.db", url, key_env="NO_SUCH_KEY") as judge,
            pytest.raises(EndpointPaused, match=r"Incorrect API key.*from NO_SUCH_KEY"),
        ):
            Scorer("rubric", judge).scores(asked)
        with pytest.MonkeyPatch.context() as variables:
            variables.setenv("JUDGE_KEY", "right")
            with opened(tmp_path / "judge.db", url, key_env="JUDGE_KEY", calls=5) as judge:
                found = Scorer("rubric", judge).scores(asked)
                assert {one.how for one in found} == {"judged"}
                more = [GivenAnswer(asked[0].row, f"another answer, {n}") for n in range(4)]
                with pytest.raises(EndpointPaused, match="--judge-calls allows no more"):
                    Scorer("rubric", judge).scores(more)
    with sqlite3.connect(tmp_path / "judge.db") as kept:
        assert kept.execute("select count(*) from replies").fetchone() == (5,)
    with (
        opened(tmp_path / "down.db", url, give_up_after=0.1) as judge,
        pytest.raises(EndpointPaused, match=f"the judge at {url} cannot be asked"),
    ):
        Scorer("rubric", judge).scores(asked)


class Replies(ThreadingHTTPServer):
    """An endpoint that says one thing after another, and remembers how it was asked."""

    def __init__(self, *replies: str | int) -> None:
        super().__init__(("127.0.0.1", 0), Reply)
        self.replies, self.asked = list(replies), list[Any]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Reply(BaseHTTPRequestHandler):
    """One request to it; a number is a status."""

    server: Replies

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked["messages"])
        said = self.server.replies.pop(0)
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body: Any = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
        body["choices"] = [choice]
        if isinstance(said, int):
            body = {"error": {"message": "the context is too long"}}
        raw = json.dumps(body).encode()
        self.send_response(said if isinstance(said, int) else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def test_a_malformed_reply_is_sent_back_once_and_then_there_is_no_score(
    examples: Callable[[str], Rows], tmp_path: Path
) -> None:
    [row, *_] = examples("cs")
    rubric = [{"criterion": "a", "weight": 4}, {"criterion": "b", "weight": -1}]
    row = changed(row, rubric=rubric)
    marks = '{"marks": [{"number": 1, "met": true}, {"number": 2, "met": true}]}'
    replies = ("7 of 10", f"<think>{{</think>{marks}", "", "no", "no", 400)
    with Replies(*replies) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with opened(tmp_path / "judge.db", server.url) as judge:
            found = [
                Scorer("rubric", judge).scores([GivenAnswer(row, text)])[0]
                for text in ("mended", "malformed", "refused")
            ]
        server.shutdown()
        thread.join()
    assert found[0] == ScoredAnswer(0.75, "judged")
    assert [(one.score, one.how) for one in found[1:]] == [(None, "unscored")] * 2
    assert "the context is too long" in found[2].why
    first, again = server.asked[:2]
    assert again[:2] == first
    assert again[2] == {"role": "assistant", "content": "7 of 10"}
    assert "could not be read" in again[3]["content"]
    assert "1. a\n2. b" in first[1]["content"]
