"""A person answers on the board what waits for review."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from autodata.commands.board import made
from autodata.commands.review import filed, taken, who
from autodata.ledger.ledger import Ledger
from autodata.ledger.reviews import WaitingRound, all_waiting, ask
from autodata.ledger.rows import RunRow
from autodata.tasks.types import Attempt, Candidate, Criterion, Document, Round
from tests.autodata.test_optimize import prepared
from tests.autodata.test_review_of_edits import begun
from tests.board.browser import CHROMIUM, browser
from tests.board.test_board import HOSTILE, served
from tests.outside import Folder

RUN = ("run", "docs", "--task", "cs", "--out", "run", "--review", "before-accept")
HERE = "http://127.0.0.1"
OURS = {"origin": HERE}
ROWS = "select document_id, number, decision, reason, edited, by from reviews order by 1"


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run that pauses, since all that is left waits for a person."""
    place = Folder(tmp_path_factory.mktemp("people"))
    docs = Path(__file__).parents[2] / "autodata" / "demo" / "cs"
    shutil.copytree(docs, place.path / "docs")
    place(*RUN, code=3)
    return place


@pytest.fixture
def folder(paused: Folder, tmp_path: Path) -> Folder:
    """The same, to write into."""
    shutil.copytree(paused.path / "run", tmp_path / "run")
    return Folder(tmp_path)


@pytest.fixture
def client(folder: Folder) -> TestClient:
    return asking(folder.path / "run")


def asking(*folders: Path) -> TestClient:
    return TestClient(made(folders), base_url=HERE, follow_redirects=False)


def waiting(folder: Folder) -> list[WaitingRound]:
    with Ledger.open(folder.path / "run", create=False) as ledger:
        return all_waiting(ledger)


def address(one: WaitingRound, folder: str = "run") -> str:
    run, *key = map(str, one.key)
    return f"/board/{folder}/{run}/review/{'/'.join(key)}"


class Fields(HTMLParser):
    """What a browser would send of the one form that is posted."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []
        self._text: list[str] | None = None
        self._posted = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._posted = known.get("method") == "post"
        elif tag == "input" and self._posted:
            self.sent.append((known["name"], known["value"]))
        elif tag == "textarea":
            self.sent.append((known["name"], ""))
            self._text = []

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._text is not None:
            text = "".join(self._text).removeprefix("\n")  # as HTML reads the first one
            self.sent[-1] = (self.sent[-1][0], text.replace("\n", "\r\n"))
            self._text = None


def form(client: TestClient, where: str, **changed: str | Sequence[str]) -> dict[str, list[str]]:
    """The form of a page as a browser sends it, some fields filled in."""
    page = client.get(where)
    assert page.status_code == 200, page.text
    sent: dict[str, list[str]] = {}
    for name, value in Fields(page.text).sent:
        sent.setdefault(name, []).append(value)
    for name, new in changed.items():
        assert name in sent or name == "decision"
        sent[name] = [new] if isinstance(new, str) else list(new)
    return sent


def answered(client: TestClient, where: str, **changed: str | Sequence[str]) -> httpx.Response:
    return client.post(where, data=form(client, where, **changed), headers=OURS)


def test_what_waits_is_shown_with_what_a_reviewer_needs(client: TestClient, folder: Folder) -> None:
    """From the first page on, and nothing is written by looking at it."""
    before, [first, second, *more] = folder.query(ROWS), waiting(folder)
    count = 2 + len(more)
    run = f"/board/run/{first.run_id}"
    assert f'<b class="wait">{count}</b> wait for review' in client.get("/board/").text
    assert f'href="{run}/review"' in client.get(run).text
    assert address(first) in client.get(f"{run}/documents?outcome=undecided").text
    assert address(first) in client.get(f"{run}/documents/{first.document_id}").text
    listed = client.get(f"{run}/review").text
    assert all(address(one) in listed for one in (first, second, *more))
    assert "autodata resume " in listed
    page, last = unescape(client.get(address(first)).text), first.rounds[-1]
    assert f"1 of {count} waiting" in page
    assert f'href="{address(second)}" rel="next"' in page
    assert f'name="by" value="{who()}"' in page
    for part in ("question", "context", "reference_answer"):
        assert getattr(first.candidate, part)[:400] in page
    assert all(criterion.criterion in page for criterion in first.candidate.rubric)
    assert all(attempt.answer[:200] in page for attempt in last.attempts)
    assert 'class="gate" x1="50.0"' in page
    assert f"The thresholds truly hold with P = {first.certainty:.2f}" in page
    assert folder.query(ROWS) == before


def test_answers_on_the_board_are_those_of_the_terminal(
    client: TestClient, folder: Folder, paused: Folder, tmp_path: Path
) -> None:
    """The same decisions, given to two copies of one run, leave the same rows."""
    [one, two, three, *_] = waiting(folder)
    question = f"{three.candidate.question} Say why."
    rubric = [c.criterion for c in three.candidate.rubric]
    weights = [str(c.weight) for c in three.candidate.rubric]
    answered(client, address(one), decision="accept", by="Ann")
    answered(client, address(two), decision="reject", reason=" two\nin one ", by="Ann")
    changed = {"criterion": [*rubric[1:], "Says why."], "weight": [*weights[1:], "3"]}
    answered(client, address(three), decision="edit", question=question, by="Bo", **changed)

    (tmp_path / "other").mkdir()
    other = Folder(tmp_path / "other")
    shutil.copytree(paused.path / "run", other.path / "run")
    before = [c.model_dump() for c in three.candidate.rubric]
    after = [
        {**old, "criterion": text, "weight": int(weight)}
        for old, text, weight in zip(before, *changed.values(), strict=True)
    ]
    (other.path / "edit.yaml").write_text(json.dumps({"question": question, "rubric": after}))
    other("review", "run", "--accept", one.document_id, "--by", "Ann")
    other("review", "run", "--reject", two.document_id, "--reason", " two\nin one ", "--by", "Ann")
    other("review", "run", "--edit", three.document_id, "edit.yaml", "--by", "Bo")
    assert folder.query(ROWS) == other.query(ROWS)
    assert folder.query("select count(*) from reviews where at is not null") == [(3,)]


def test_an_answer_takes_effect_when_the_run_goes_on(client: TestClient, folder: Folder) -> None:
    """And leads to what waits next, at the end to the list, which says how to go on."""
    asked, left = folder.query("select count(*) from calls"), waiting(folder)
    for one, further in zip(left, [*left[1:], None], strict=True):
        answer = answered(client, address(one), decision="accept", by="Ann")
        assert answer.status_code == 303
        where = answer.headers["location"]
        said = unescape(client.get(where).text)
        assert "was accepted by Ann. It takes effect when the run goes on: <code>auto" in said
        assert not further or where.startswith(address(further))
    assert "Nothing waits for review" in said
    folder("resume", "run")
    assert folder.query("select count(*) from calls") == asked
    assert folder.query("select count(*), min(reviewed_by) from examples") == [(len(left), "Ann")]
    page = client.get(address(left[0])).text
    assert "It was accepted by Ann on 20" in page
    assert "<button" not in page.partition("<form")[2].replace("<button disabled hidden>", "")


def test_of_two_windows_the_second_is_told_who_answered_first(
    client: TestClient, folder: Folder
) -> None:
    one = waiting(folder)[0]
    second = form(client, address(one), decision="reject", reason="dull", by="Bo")
    assert answered(client, address(one), decision="accept", by="Ann").status_code == 303
    told = client.post(address(one), data=second, headers=OURS)
    assert told.status_code == 409
    assert "Your answer was not recorded: somebody answered first" in told.text
    assert "It was accepted by Ann on 20" in told.text
    assert folder.query("select decision, by from reviews where decision is not null") == [
        ("accept", "Ann")
    ]
    folder("resume", "run", code=3)
    assert client.post(address(one), data=second, headers=OURS).status_code == 409


def test_of_many_who_answer_at_once_one_is_heard(client: TestClient, folder: Folder) -> None:
    one = waiting(folder)[0]
    forms = [form(client, address(one), decision="accept", by=f"reader {n}") for n in range(8)]
    with ThreadPoolExecutor(len(forms)) as windows:
        told = list(windows.map(lambda f: client.post(address(one), data=f, headers=OURS), forms))
    [won] = [at for at, answer in enumerate(told) if answer.status_code == 303]
    lost = [answer.text for at, answer in enumerate(told) if at != won]
    assert all(f"It was accepted by reader {won} on 20" in text for text in lost)
    assert folder.query("select by from reviews where by is not null") == [(f"reader {won}",)]
    with Ledger.open(folder.path / "run", create=False) as ledger:  # who looked at it before that
        late = taken(ledger, one, {"decision": "accept", "by": "reader 9"})
        heard, first = filed(ledger, one, late)
    assert (heard.by, first) == (f"reader {won}", False)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"decision": "accept", "by": " "}, "by is blank: say who you are"),
        ({"decision": "reject"}, "reason is missing: say why"),
        ({"decision": "edit"}, "the edit changes nothing"),
        ({"decision": "accept", "question": "Why?"}, "a candidate goes with edit alone"),
        ({"decision": "edit", "question": " "}, "candidate.question is blank"),
        ({"decision": "edit", "weight": "heavy"}, "rubric.0.weight: input should be a valid"),
        ({"decision": "burn"}, "decision: input should be"),
        ({}, "decision: input should be"),
    ],
    ids=str,
)
def test_a_slip_is_told_in_words_and_what_was_written_stays(
    client: TestClient, folder: Folder, changed: dict[str, str], said: str
) -> None:
    before, where = folder.query(ROWS), address(waiting(folder)[0])
    sent = form(client, where)
    if "weight" in changed:
        changed = {**changed}
        sent["weight"][0] = changed.pop("weight")
    sent |= {name: [value] for name, value in changed.items()}
    told = client.post(where, data=sent, headers=OURS)
    assert told.status_code == 422
    assert said in unescape(told.text)
    again: dict[str, list[str]] = {}
    for name, value in Fields(told.text).sent:
        again.setdefault(name, []).append(value)
    kept = {name: again[name] for name in again.keys() & sent.keys()}
    assert kept == {name: sent[name] for name in kept}
    assert folder.query(ROWS) == before


def test_only_a_form_of_ours_under_a_loopback_name_is_answered(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTODATA_BOARD_HOSTS", "board.example")
    client, before = asking(folder.path / "run"), folder.query(ROWS)
    [one, two, *_] = waiting(folder)
    where = address(one)
    sent = form(client, where, decision="accept", by="Ann")
    other = form(client, address(two))["token"]
    refused: list[tuple[dict[str, str], dict[str, list[str]]]] = [
        ({}, sent),  # a browser always says from where it sends
        ({"origin": "null"}, sent),
        ({"origin": "https://evil.example"}, sent),
        ({**OURS, "sec-fetch-site": "cross-site"}, sent),
        ({"origin": "http://board.example", "host": "board.example"}, sent),
        ({"origin": "http://evil.example", "host": "evil.example"}, sent),
        (OURS, {**sent, "token": []}),
        (OURS, {**sent, "token": ["0" * 64]}),
        (OURS, {**sent, "token": ["é"]}),
        (OURS, {**sent, "token": other}),
        (OURS, form(asking(folder.path / "run"), where, decision="accept")),  # of another process
    ]
    for headers, data in refused:
        assert client.post(where, data=data, headers=headers).status_code == 403, headers
    page = client.get(where, headers={"host": "board.example"}).text
    assert "Answers are taken under <code>127.0.0.1</code>" in page
    assert 'name="by"' not in page
    for method in ("GET", "HEAD"):
        client.request(method, where, params=sent, headers=OURS)
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert client.request(method, where, data=sent, headers=OURS).status_code == 405
    assert client.post(where, content=b"a=" + b"x" * 8_000_000, headers=OURS).status_code == 413
    assert client.post(where, content=b"&a=1" * 600, headers=OURS).status_code == 400
    assert client.post(where, content=b"\xff%ff=%00", headers=OURS).status_code == 403
    assert folder.query(ROWS) == before
    assert client.post(where, data=sent, headers=OURS).status_code == 303


@pytest.mark.parametrize("key", ["0/1/2", "DOCUMENT/99/x", "DOCUMENT/9999999999999999999999/x"])
def test_what_was_never_asked_cannot_be_answered(
    client: TestClient, folder: Folder, key: str
) -> None:
    one = waiting(folder)[0]
    where = f"/board/run/{one.run_id}/review/{key.replace('DOCUMENT', one.document_id)}"
    assert client.get(where).status_code == 404
    assert client.post(where, data={"decision": "accept"}, headers=OURS).status_code in (403, 404)
    listed = f"/board/run/{one.run_id}/review?said={key}"
    assert client.get(listed).status_code == 200


@pytest.fixture
def by_hand(tmp_path: Path) -> Callable[[str, Candidate], str]:
    """Writes a review that waits, of a task and a candidate, and gives its address."""

    def waits(task: str, candidate: Candidate) -> str:
        document = Document.of("a", "Words. " * 200)
        attempt = Attempt(solver="strong", number=1, answer=HOSTILE, score=0.9)
        last = Round(number=1, candidate=candidate, strong=(attempt,))
        with Ledger.open(tmp_path / "hand") as ledger:
            ledger.add_documents([document])
            ledger.start_run(RunRow(id=task, task=task, prompts_revision="seed"))
            one = WaitingRound(run_id=task, document_id=document.id, rounds=(last,))
            ask(ledger, one)
        return address(one, "hand")

    return waits


def test_hostile_texts_are_shown_as_text_and_come_back_as_they_were(
    by_hand: Callable[[str, Candidate], str], tmp_path: Path
) -> None:
    """An edit of the reference answer leaves every other field as it was, whatever is in it."""
    odd = "\n\n" + HOSTILE.replace("\ud800", "") + "\r\n\tx\x07\r</textarea><script>alert(1)"
    rubric = tuple(
        Criterion(criterion=f"{n} {odd}", weight=n - 4 or 9, category="kept") for n in range(10)
    )
    candidate = Candidate(context=odd, question=odd, reference_answer=odd, rubric=rubric)
    where = by_hand("cs", candidate)
    client = asking(tmp_path / "hand")
    page = client.get(where).text
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    sent = form(client, where, decision="edit", by="<b>", reference_answer="Because it is.")
    answer = client.post(where, data=sent, headers=OURS)
    assert answer.status_code == 303, answer.text
    with Ledger.open(tmp_path / "hand", create=False) as ledger:
        [row] = ledger.query("select edited, by from reviews")
    edited = Candidate.model_validate_json(row["edited"])
    assert edited == candidate.model_copy(update={"reference_answer": "Because it is."})
    assert "<b>" not in client.get(where).text.partition("<form")[0]


def test_what_code_has_made_is_not_edited_by_hand(
    by_hand: Callable[[str, Candidate], str], tmp_path: Path
) -> None:
    """The rubric of a science question, an item of a procedure, a task that nobody knows here; and
    a text too long for a form."""
    rubric = (Criterion(criterion="Is 4.", weight=1),)
    short = Candidate(context="c", question="q", reference_answer="4", rubric=rubric)
    client, long = asking(tmp_path / "hand"), short.model_copy(update={"context": "c" * 100_001})
    science = client.get(by_hand("science", short)).text
    assert 'name="reference_answer"' in science
    assert 'name="criterion"' not in science
    procedural = client.get(by_hand("procedural", short)).text
    assert 'value="accept"' in procedural
    assert "textarea" not in procedural
    assert "does not know the task" in client.get(by_hand("no-such-task", short)).text
    page = client.get(by_hand("cs", long)).text
    assert 'name="question"' in page
    assert 'name="context"' not in page


@pytest.fixture(scope="module")
def optimization(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """An optimization that pauses, since an edit that would be kept waits for a person."""
    return begun(prepared(tmp_path_factory.mktemp("prompts")))


def test_an_edit_of_the_prompts_is_kept_or_turned_down(
    optimization: Folder, tmp_path: Path
) -> None:
    """Shown with its change and its numbers, answered once, and filed as in the terminal."""
    client, columns = asking(optimization.path / "opt"), "number, decision, reason, by"
    [one] = json.loads(optimization("review", "opt", "--json"))
    run = f"/board/opt/{one['run']}"
    assert '<b class="wait">1</b> waits for review' in client.get("/board/").text
    assert f'href="{run}/review"' in client.get(run).text
    listed = client.get(f"{run}/review").text
    [where] = re.findall(rf'href="({run}/review/[^"]+)"', listed)
    page = unescape(client.get(where).text)
    for said in (one["subject"], one["intent"], one["score"]["said"], one["parent_score"]["said"]):
        assert said[:200] in page
    added = [line for line in one["diff"].splitlines() if line.startswith("+")]
    assert all(line in page for line in added)
    assert 'name="question"' not in page
    slip = answered(client, where, decision="reject", by="Ann")
    assert slip.status_code == 422
    assert "reason is missing: say why, since the next analyst reads it" in slip.text
    assert answered(client, where, decision="edit").status_code == 422
    second = form(client, where, decision="reject", reason="dull", by="Bo")
    kept = answered(client, where, decision="accept", by="Ann")
    assert kept.status_code == 303
    said = unescape(client.get(kept.headers["location"]).text)
    assert "was kept by Ann. It takes effect when the run goes on: <code>autodata resume" in said
    told = client.post(where, data=second, headers=OURS)
    assert told.status_code == 409
    assert "It was kept by Ann on 20" in told.text
    rows = optimization.query(f"select {columns} from edit_reviews", "opt")
    assert rows == [(one["iteration"], "keep", "", "Ann")]
    for wrong in ("7/0", "9999999999999999999/0"):
        assert client.get(f"{run}/review/{wrong}").status_code == 404


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium, and there is none on the path")
def test_a_reviewer_at_the_keyboard_moves_accepts_sends_back_and_edits(
    folder: Folder, tmp_path: Path
) -> None:
    [one, two, three, *_] = waiting(folder)
    with served(folder.path / "run") as board, browser(tmp_path / "profile") as page:
        page.open(board.removesuffix("/board/") + address(one))
        widths = "bar => bar.getBoundingClientRect().width"
        [weak, strong, *_] = page.tell(f"[...document.querySelectorAll('.bar')].map({widths})")
        assert weak == strong > 0  # one scale for both sides
        page.look(390, 844, phone=True)
        page.open(board.removesuffix("/board/") + address(one))
        assert page.tell("document.documentElement.scrollWidth <= innerWidth")
        page.press("j", leads_on=True)
        assert address(two) in page.tell("location.href")
        page.press("k", leads_on=True)
        page.tell("document.querySelector('[data-by]').value = 'Ann'")
        page.tell("document.querySelector('[data-by]').focus()")
        page.press("Enter")
        assert page.tell("document.querySelector('[data-review]').dataset.sent") is None
        page.press("Escape")
        page.tell("window.scrollTo(0, 300)")
        page.press("a")
        assert page.tell("scrollY") == 300  # where the reviewer reads
        assert folder.query("select count(*) from reviews where decision is not null") == [(0,)]
        page.press("Enter", leads_on=True)
        assert "was accepted by Ann" in page.text
        assert address(two) in page.tell("location.href")
        page.press("r")
        page.write("two questions in one")
        page.press("Enter", leads_on=True)
        assert "was sent back by Ann" in page.text
        page.press("e")
        page.press("Escape")
        page.press("e")
        page.tell("document.activeElement.setSelectionRange(9999, 9999)")
        page.write(" Say why.")
        page.press("Tab")
        page.tell("document.querySelector('[value=edit]').focus()")
        page.press("Enter", leads_on=True)
        assert "was edited by Ann" in page.text
        assert page.problems == []
    rows = {row[0]: row[2:] for row in folder.query(ROWS)}
    assert rows[one.document_id] == ("accept", "", None, "Ann")
    assert rows[two.document_id] == ("reject", "two questions in one", None, "Ann")
    decision, _, edited, by = rows[three.document_id]
    assert (decision, by) == ("edit", "Ann")
    after = Candidate.model_validate_json(edited)
    question = f"{three.candidate.question} Say why."
    assert after == three.candidate.model_copy(update={"question": question})


def test_the_pages_of_a_run_without_reviews_say_nothing_of_them(paused: Folder) -> None:
    documents = [str(file) for file in sorted((paused.path / "docs").iterdir())[:1]]
    paused("run", *documents, "--task", "cs", "--rounds", "1", "--out", "plain")
    with Ledger.open(paused.path / "plain", create=False) as ledger:
        run = ledger.run().id
    client = asking(paused.path / "plain")
    assert not re.search("[Rr]eview", client.get(f"/board/plain/{run}").text)
    assert "Nothing waits for review" in client.get(f"/board/plain/{run}/review").text
