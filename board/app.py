"""The board as a web application: addresses, what may ask for them, and live progress.

It reads, and hands one thing to the door to be written: what a reviewer says, sent by a form of its
own under a loopback name. Everything that blocks runs in threads, since LangGraph's server forbids
blocking its event loop.
"""

import asyncio
import hmac
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, quote, urlencode

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from autodata.board import render
from autodata.board.access import LOOPBACK, Guarded
from autodata.board.pages import (
    Door,
    Draft,
    Folders,
    Links,
    Paging,
    ShownFolder,
    bounded,
    config_of,
    draft_of,
    gate_of,
    marked_again_by,
    prompt_diff,
    reply_of,
    said_before,
    story,
    told,
)
from autodata.ledger.database import LedgerError
from autodata.ledger.export import export
from autodata.ledger.filters import ExportError, ExportOptions
from autodata.ledger.iterations import Iteration, iterations
from autodata.ledger.listing import (
    AskedReview,
    ExampleOrder,
    OutcomeKind,
    ReviewKey,
    Shown,
    asked_about_edit,
    asked_review,
    asks_for_review,
    count_examples,
    count_outcomes,
    count_waiting,
    endpoint_health,
    first_objections,
    latest_calls,
    list_examples,
    list_outcomes,
    list_waiting,
    neighbours,
    question_types,
    shown_runs,
    waiting_of,
)
from autodata.ledger.measurements import measured, measured_run
from autodata.ledger.records import EXPORT_FORMATS, FOLDER_FORMATS
from autodata.ledger.reviews import WaitingEdit, WaitingRound, waiting_edits
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import Summary, summarize
from autodata.tasks import TASKS
from autodata.tasks.acceptance import summary
from autodata.tasks.review import ReviewError
from autodata.tasks.types import Candidate

BOARD_PATH = "/board"
DOCUMENTS, EXAMPLES, RUNS = 50, 20, 30  # rows to a page; runs of a folder that are listed
REVIEW = "/review/{document}/{number:int}/{fingerprint}"
EDIT_REVIEW = "/review/{number:int}/{prompts}"  # of an optimization
MANY = 500  # documents of a folder whose figures are worked out after the page is there
LARGEST_FORM = 8_000_000  # bytes of a reply, a long edited text in another script included
MOST_FIELDS = 500  # of it
SECONDS_BETWEEN_LOOKS = 1.0  # seconds between two looks whether a folder has changed
LOOKS = 600  # of one stream; then the browser asks for another one
STREAMS = 32  # at the same time


def board(folders: Iterable[Path], door: Door, hosts: Iterable[str] = ()) -> Starlette:
    """The board over these run folders, below /board. It answers to loopback names, and to `hosts`
    where it is reached by others."""
    return Starlette(routes=[Mount(BOARD_PATH, app=guarded(folders, door, hosts))])


def guarded(folders: Iterable[Path], door: Door, hosts: Iterable[str] | None = ()) -> Guarded:
    """The same, to be mounted at /board by whoever has other routes, too; with None for `hosts` it
    answers to any name."""
    allowed = None if hosts is None else LOOPBACK | {host.lower() for host in hosts}
    return Guarded(Site(Folders(folders), door).app(), allowed)


Asked = AskedReview[WaitingRound] | AskedReview[WaitingEdit]


class AnswerRefusedError(HTTPException):
    """An answer that is not taken, and why, in words."""


class Site:
    """Every page. An unknown id raises LedgerError, which is a page of its own."""

    def __init__(self, folders: Folders, door: Door) -> None:
        self._folders, self._door = folders, door
        self._streams = 0
        self._secret = secrets.token_bytes(32)  # behind the forms of this process

    def app(self) -> Starlette:
        """All addresses below the prefix."""
        run = "/{folder}/{run}"
        pages: dict[str, Callable[[Request], Any]] = {
            "/": self.runs,
            "/events": self.events,
            run: self.run,
            f"{run}/figures": self.figures,
            f"{run}/documents": self.documents,
            f"{run}/documents/{{document}}": self.document,
            f"{run}/examples": self.examples,
            f"{run}/review": self.reviews,
            f"{run}{REVIEW}": self.review,
            f"{run}{EDIT_REVIEW}": self.review,
            f"{run}/calls": self.calls,
            f"{run}/iterations/{{number:int}}": self.iteration,
            f"{run}/export/{{form}}": self.export,
        }
        return Starlette(
            routes=[
                Mount("/static", StaticFiles(packages=[("autodata.board", "static")])),
                *(Route(path, page, methods=["GET"]) for path, page in pages.items()),
                Route(f"{run}{REVIEW}", self.answer, methods=["POST"]),
                Route(f"{run}{EDIT_REVIEW}", self.answer, methods=["POST"]),
            ],
            exception_handlers={
                LedgerError: self._error,
                ExportError: self._error,
                sqlite3.Error: self._error,
                HTTPException: self._error,
            },
        )

    # Pages. They are no coroutines: Starlette calls them in threads.

    def runs(self, request: Request) -> Response:
        """All runs of all folders."""
        listed = [self._listed(request, folder) for folder in self._folders.all()]
        live = any(row["stands"] == "running" for one in listed for row in one["runs"])
        values = {"folders": listed, "events": f"{_root(request)}/events" if live else ""}
        return self._page(request, "runs.html", values)

    def _listed(self, request: Request, folder: ShownFolder) -> dict[str, Any]:
        """One folder with its latest runs; what is wrong where it cannot be read."""
        try:
            runs = shown_runs(folder.ledger, RUNS + 1)
        except (LedgerError, sqlite3.Error) as error:
            return {"folder": folder, "runs": [], "more": False, "problem": str(error)}
        rows = [
            {
                "run": run,
                "links": _links(request, folder, run),
                "stands": self._door.stands(folder.path, run),
                "counts": count_outcomes(folder.ledger, run),
                "wait": _waiting(folder, run),
                "iterations": run.kind == "optimization" and len(iterations(folder.ledger, run.id)),
            }
            for run in runs[:RUNS]
        ]
        return {"folder": folder, "runs": rows, "more": len(runs) > RUNS, "problem": ""}

    def run(self, request: Request) -> Response:
        """How a run stands."""
        folder, run = self._asked(request)
        values = self._frame(request, folder, run, "")
        links, ledger = values["links"], folder.ledger
        if run.kind == "optimization":
            parts = folder.kept(
                ("optimization", run.id),
                lambda ledger: self._door.optimization(ledger, run, links.iteration),
            )
            known = iterations(ledger, run.id)
            return self._page(
                request, "optimization.html", values | {"parts": parts, "made": known}
            )
        if run.kind in ("remeasurement", "audit"):
            owner = measured_run(ledger, run)
            values |= {"found": measured(ledger, run.id), "owner": _links(request, folder, owner)}
            if run.kind == "audit":
                audits = _summary(folder, owner).audits
                values["audit"] = next((one for one in audits if one.id == run.id), None)
                values["marks"] = marked_again_by(ledger, owner.id, run.id)
            return self._page(request, f"{run.kind}.html", values)
        counts, later = count_outcomes(ledger, run), not folder.known(("figures", run.id))
        values |= {
            "counts": counts,
            "summary": None if later and counts["total"] > MANY else _summary(folder, run),
            "latest": latest_calls(ledger, 8) if values["stands"] == "running" else [],
            "formats": list(EXPORT_FORMATS),
        }
        return self._page(request, "run.html", values)

    def figures(self, request: Request) -> Response:
        """The figures of a run, for a page that did not wait for them."""
        folder, run = self._asked(request)
        values = self._frame(request, folder, run, "") | {"summary": _summary(folder, run)}
        return self._page(request, "figures.html", values)

    def documents(self, request: Request) -> Response:
        """The documents of a run by what became of them."""
        folder, run = self._asked(request)
        values = self._frame(request, folder, run, "documents")
        asked = _query(request, "outcome", "objection", "q")
        kind: OutcomeKind = _one_of(asked["outcome"], OutcomeKind)

        def listed(offset: int) -> Any:
            return list_outcomes(
                folder.ledger,
                run,
                kind=kind,
                objection=asked["objection"],
                text=asked["q"],
                offset=offset,
                limit=DOCUMENTS,
            )

        found, paging = _paged(request, DOCUMENTS, listed)
        objections = folder.kept(
            ("objections", run.id), lambda ledger: first_objections(ledger, run.id)
        )
        values |= {
            "found": found,
            "paging": paging,
            "asked": asked,
            "counts": count_outcomes(folder.ledger, run),
            "objections": objections,
            "waiting": waiting_of(folder.ledger, run.id, [o.document_id for o in found]),
        }
        return self._page(request, "documents.html", values)

    def document(self, request: Request) -> Response:
        """The story of one document."""
        folder, run = self._asked(request)
        shown = story(folder.ledger, run, request.path_params["document"])
        values = self._frame(request, folder, run, "documents") | {
            "story": shown,
            "near": neighbours(folder.ledger, run, shown.document.id),
            "waiting": waiting_of(folder.ledger, run.id, [shown.document.id]),
        }
        return self._page(request, "document.html", values)

    def examples(self, request: Request) -> Response:
        """The accepted examples of a run as cards."""
        folder, run = self._asked(request)
        values = self._frame(request, folder, run, "examples")
        asked = _query(request, "shown", "kind", "sort", "q")
        shown: Shown = _one_of(asked["shown"], Shown)
        order: ExampleOrder = _one_of(asked["sort"], ExampleOrder) or "document"

        def listed(offset: int) -> Any:
            return list_examples(
                folder.ledger,
                run.id,
                shown=shown,
                kind=asked["kind"],
                text=asked["q"],
                order=order,
                offset=offset,
                limit=EXAMPLES,
            )

        found, paging = _paged(request, EXAMPLES, listed)
        values |= {
            "found": found,
            "paging": paging,
            "asked": asked,
            "counts": folder.kept(("counts", run.id), lambda at: count_examples(at, run.id)),
            "kinds": folder.kept(("kinds", run.id), lambda at: question_types(at, run.id)),
            "formats": list(EXPORT_FORMATS),
        }
        return self._page(request, "examples.html", values)

    def calls(self, request: Request) -> Response:
        """What the folder's calls took, and how its endpoints do."""
        folder, run = self._asked(request)
        known = folder.known(("figures", run.id))
        values = self._frame(request, folder, run, "calls") | {
            "summary": _summary(folder, run) if known else None,
            "health": endpoint_health(folder.ledger),
            "latest": latest_calls(folder.ledger),
            "bad": latest_calls(folder.ledger, bad=True),
        }
        return self._page(request, "calls.html", values)

    def iteration(self, request: Request) -> Response:
        """One iteration of an optimization: what it changed, why, and what came of it."""
        folder, run = self._asked(request)
        made = {i.number: i for i in iterations(folder.ledger, run.id)}
        one = made.get(request.path_params["number"])
        if one is None:
            raise LedgerError(f"the optimization {run.id} has no such iteration")
        parent = made.get(one.parent) if one.parent is not None else None
        diff, problem = prompt_diff(run, parent.revision, one.revision) if parent else ("", "")
        values = self._frame(request, folder, run, "iterations") | {
            "one": one,
            "rows": self._door.iteration(run, one),
            "near": (one.number - 1 in made, one.number + 1 in made),
            "evaluation": _evaluation(request, folder, one),
            "diff": diff,
            "problem": problem,
        }
        return self._page(request, "iteration.html", values)

    def export(self, request: Request) -> Response:
        """The examples of a run as a file, as `autodata export` writes it."""
        folder, run = self._asked(request)
        form = request.path_params["form"]
        if form in FOLDER_FORMATS:
            raise ExportError(f"{form} is a folder; `autodata export --format {form}` writes it")
        place = Path(tempfile.mkdtemp(prefix="autodata-board-"))
        clear = BackgroundTask(shutil.rmtree, place, ignore_errors=True)
        confirmed = request.query_params.get("confirmed") == "1"
        try:
            options = ExportOptions(confirmed=confirmed)
            written = export(folder.ledger, form, place, run.id, options)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        file = written.card if request.query_params.get("card") == "1" else written.path
        name = f"{run.id}-{file.name}"
        return FileResponse(file, filename=name, background=clear)

    # Reviews

    def reviews(self, request: Request) -> Response:
        """What of a run waits for a person, and what was said last."""
        folder, run = self._asked(request)
        told_last = {
            "said": said_before(folder.ledger, run, request.query_params.get("said")),
            "goes_on": self._door.goes_on(folder.path, run),
        }
        if run.kind == "optimization":
            edits = waiting_edits(folder.ledger, run.id)
            values = self._frame(request, folder, run, "review") | told_last
            values |= {"edits": edits, "wait": len(edits)}
            return self._page(request, "edit_reviews.html", values)

        def listed(offset: int) -> Any:
            return list_waiting(folder.ledger, run.id, offset=offset, limit=DOCUMENTS)

        found, paging = _paged(request, DOCUMENTS, listed)
        values = self._frame(request, folder, run, "review") | {
            "wait": paging.total,
            "found": [(one, summary(one.waiting.rounds[-1])) for one in found],
            "paging": paging,
            "asked": {},
            **told_last,
        }
        return self._page(request, "reviews.html", values)

    def review(self, request: Request) -> Response:
        """What a person is asked, with a form to answer it."""
        folder, run = self._asked(request)
        one = _asked_review(request, folder, run)
        draft = draft_of(run.task, _candidate(one), self._door.reviewer())
        return self._asking(request, one, draft)

    async def answer(self, request: Request) -> Response:
        """Takes a reviewer's reply, if it comes from a form of ours."""
        self._from_our_form(request)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_FORM:
                raise AnswerRefusedError(413, "That is longer than the board takes.")
        return await run_in_threadpool(self._answered, request, bytes(body))

    def _from_our_form(self, request: Request) -> None:
        """Raises AnswerRefusedError where another page, or another machine's name, is behind it."""
        headers = request.headers
        if not _under_loopback(request):
            raise AnswerRefusedError(403, "Answers are taken under a loopback name alone.")
        if "origin" not in headers or headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise AnswerRefusedError(403, "The board takes answers from its own pages alone.")

    def _answered(self, request: Request, body: bytes) -> Response:
        try:
            form = parse_qs(body.decode(errors="replace"), True, max_num_fields=MOST_FIELDS)
        except ValueError as error:
            raise AnswerRefusedError(400, "That is no form of the board.") from error
        if not hmac.compare_digest("".join(form.get("token", ())).encode(), self._token(request)):
            said = "This page is older than the board that serves it; load it again, then answer."
            raise AnswerRefusedError(403, said)
        folder, run = self._asked(request)
        one, candidate = (asked := _asked_review(request, folder, run)), _candidate(asked)
        reply, draft = reply_of(form, candidate, draft_of(run.task, candidate, ""))
        if not one.waits:
            return self._asking(request, one, draft, 409)
        try:
            review, first = self._door.answer(folder.path, one.waiting, reply)
        except ReviewError as error:
            return self._asking(request, one, draft, 422, str(error))
        if not first:
            return self._asking(request, one._replace(review=review, waits=False), draft, 409)
        links, said = _links(request, folder, run), "/".join(map(str, _review_key(request)))
        if (further := one.after or one.before) is None:
            return RedirectResponse(links.page("review", said=said), 303)
        return RedirectResponse(f"{links.review(further)}?{urlencode({'said': said})}", 303)

    def _asking(
        self, request: Request, one: Asked, draft: Draft, status: int = 200, problem: str = ""
    ) -> Response:
        """The page of one review; with a form while it waits, or what was said."""
        folder, run = self._asked(request)
        values = self._frame(request, folder, run, "review") | {
            "one": one,
            "wait": one.total,
            "draft": draft,
            "problem": problem,
            "refused": status == 409,
            "token": self._token(request).decode(),
            "known": run.task in TASKS,
            "answerable": one.waits and run.task in TASKS and _under_loopback(request),
            "said": said_before(folder.ledger, run, request.query_params.get("said")),
            "goes_on": self._door.goes_on(folder.path, run),
            "events": "",
        }
        if isinstance(one.waiting, WaitingEdit):
            return self._page(request, "edit_review.html", values, status)
        values["document"] = folder.ledger.document(one.waiting.document_id)
        values["pages"] = list(told(one.waiting.rounds))
        return self._page(request, "review.html", values, status)

    def _token(self, request: Request) -> bytes:
        """What the form of one review holds, which no foreign page can read or guess."""
        asked = request.url.path.encode("utf-8", "replace")
        return hmac.new(self._secret, asked, "sha256").hexdigest().encode()

    # Live progress

    async def events(self, request: Request) -> Response:
        """A stream that says when something has changed, and ends with whoever listens."""
        if self._streams >= STREAMS:
            return Response("Too many pages are listening.", 503, {"retry-after": "30"})
        return StreamingResponse(self._changes(request), media_type="text/event-stream")

    async def _changes(self, request: Request) -> AsyncIterator[str]:
        self._streams += 1
        try:
            yield "retry: 3000\n\n"
            before = await run_in_threadpool(self._state)
            for _ in range(LOOKS):
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
                if await request.is_disconnected():
                    return
                now = await run_in_threadpool(self._state)
                if now != before:
                    before = now
                    yield "event: changed\ndata: \n\n"
        finally:
            self._streams -= 1

    def _state(self) -> list[object]:
        """Differs when a page would."""
        found: list[object] = []
        for folder in self._folders.all():
            try:
                stands = self._door.stands(folder.path, folder.ledger.run())
                found.append((folder.key, folder.version(), stands))
            except (LedgerError, sqlite3.Error) as error:
                found.append((folder.key, str(error)))
        return found

    # What all pages have

    def _asked(self, request: Request) -> tuple[ShownFolder, RunRow]:
        folder = self._folders.one(request.path_params["folder"])
        return folder, folder.ledger.run(request.path_params["run"])

    def _frame(
        self, request: Request, folder: ShownFolder, run: RunRow, tab: str
    ) -> dict[str, Any]:
        stands = self._door.stands(folder.path, run)
        return {
            "folder": folder,
            "run": run,
            "stands": stands,
            "tab": tab,
            "links": _links(request, folder, run),
            "gate": gate_of(run.task, config_of(folder.ledger, run)),
            "reviewed": asks_for_review(folder.ledger, run.id),
            "wait": _waiting(folder, run),
            "events": f"{_root(request)}/events" if stands == "running" else "",
        }

    def _page(
        self, request: Request, template: str, values: dict[str, Any], status: int = 200
    ) -> Response:
        known = {"root": _root(request), "here": _here(request), "offline": False}
        return Response(render.page(template, known | values), status, media_type="text/html")

    def _error(self, request: Request, error: Exception) -> Response:
        if isinstance(error, AnswerRefusedError):
            status, said = error.status_code, error.detail
        elif isinstance(error, HTTPException):
            status, said = error.status_code, "there is no such page"
        elif isinstance(error, sqlite3.Error):
            status, said = 503, f"the database cannot be read just now: {error}"
        else:
            status, said = 409 if isinstance(error, ExportError) else 404, str(error)
        return self._page(request, "error.html", {"said": said, "events": ""}, status)


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _links(request: Request, folder: ShownFolder, run: RunRow) -> Links:
    return Links(f"{_root(request)}/{quote(folder.key, safe='')}/{quote(run.id, safe='')}")


def _under_loopback(request: Request) -> bool:
    return (request.url.hostname or "") in LOOPBACK


def _review_key(request: Request) -> ReviewKey:
    names = ("document", "number", "fingerprint", "prompts")
    return tuple(request.path_params[name] for name in names if name in request.path_params)


def _asked_review(request: Request, folder: ShownFolder, run: RunRow) -> Asked:
    key = _review_key(request)
    if "prompts" in request.path_params:
        return asked_about_edit(folder.ledger, run.id, key)
    return asked_review(folder.ledger, run.id, key)


def _candidate(one: Asked) -> Candidate | None:
    return one.waiting.candidate if isinstance(one.waiting, WaitingRound) else None


def _evaluation(request: Request, folder: ShownFolder, one: Iteration) -> Links | None:
    """Where the first evaluation of an iteration's prompts is, if there was one."""
    try:
        return _links(request, folder, folder.ledger.run(one.evaluation()))
    except LedgerError:
        return None


def _query(request: Request, *names: str) -> dict[str, str]:
    """What was asked for under these names; empty where nothing was."""
    return {name: request.query_params.get(name, "").strip()[:200] for name in names}


def _one_of(asked: str, kind: Any) -> Any:
    """What was asked for, if it is one of the choices; empty otherwise."""
    return asked if asked in get_args(kind) else ""


def _paged(
    request: Request, size: int, listed: Callable[[int], tuple[Sequence[Any], int]]
) -> tuple[Sequence[Any], Paging]:
    """The page of a list that was asked for; the last one where there are not so many."""
    number = bounded(request.query_params.get("page"), 1, 1_000_000)
    found, total = listed((number - 1) * size)
    paging = Paging(number, total, size)
    if number <= paging.last:
        return found, paging
    return listed((paging.last - 1) * size)[0], Paging(paging.last, total, size)


def _waiting(folder: ShownFolder, run: RunRow) -> int:
    return folder.kept(("wait", run.id), lambda ledger: count_waiting(ledger, run.id))


def _summary(folder: ShownFolder, run: RunRow) -> Summary:
    return folder.kept(("figures", run.id), lambda ledger: summarize(ledger, run.id))
