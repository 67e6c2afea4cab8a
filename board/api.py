"""What happened as JSON and as files, over HTTP, beside LangGraph's own routes.

Every answer is what the caller's run folders hold; an error is JSON with a `detail` in words, as
LangGraph's are. These are no coroutines: Starlette calls them in threads.
"""

import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from datetime import datetime
from functools import cache, wraps
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from autodata.board import render
from autodata.board.access import Guarded, KeyFile, OnlyAdmitted, check_listening
from autodata.board.app import BOARD_PATH, guarded
from autodata.board.pages import Door, Folders, ShownFolder
from autodata.ledger.database import LedgerError
from autodata.ledger.export import export
from autodata.ledger.filters import ExportError, ExportOptions
from autodata.ledger.listing import cost_of, count_outcomes, count_waiting, endpoint_health
from autodata.ledger.records import EXPORT_FORMATS
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import Summary, proportion, summarize

LISTED_RUNS = 30  # on one page unless stated, and 100 at most
SPENT = ("usd", "calls", "tokens")
DOWN_FOR = 300.0  # seconds after which an endpoint's failure says nothing of now
REPORT_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}

# From the name of a caller (empty without keys) to what is theirs, and what is known.
Owned = Callable[[str], Folders]
Known = Callable[[str], Mapping[str, Any]]


class BadRequest(ValueError):
    """A request that cannot be answered: the HTTP `status`, and why in words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def owner_of(scope: Scope) -> str:
    """The name of whoever makes a request (an ASGI scope); empty where no key was needed."""
    user = scope.get("user")
    return str(user.identity) if user else ""


def served(
    shown: Callable[[str], Sequence[Path]],
    door: Door,
    hosts: Sequence[str],
    known: Known,
    keys: KeyFile,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
    inner: Sequence[Any] = (),
) -> Starlette:
    """All that is served beside the graphs: the routes, and the board of each caller, of folders
    that are `shown` to it (the name is empty without keys).

    With a key the board answers to any name: pages from elsewhere do not have the key. Before its
    `lifespan` begins, AccessError is raised where everybody would be let in. The `inner` middleware
    hears of nobody who is not admitted.
    """

    @cache
    def folders(owner: str) -> Folders:
        return Folders(shown(owner))

    @cache
    def board(owner: str) -> Guarded:
        return guarded(shown(owner), door, None if owner else hosts)

    async def own_board(scope: Scope, receive: Receive, send: Send) -> None:
        pages = await run_in_threadpool(board, owner_of(scope))
        await pages(scope, receive, send)

    @asynccontextmanager
    async def checked(app: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(check_listening, sys.argv, os.environ, keys)
        async with lifespan(app):
            yield

    return Starlette(
        routes=[*routes(folders, door, known), Mount(BOARD_PATH, own_board)],
        middleware=[Middleware(OnlyAdmitted, keys=keys), *map(Middleware, inner)],
        lifespan=checked,
    )


def routes(owned: Owned, door: Door, known: Known) -> list[Route]:
    """The routes. `known` says what a server knows of itself: `version`, `simulated`, whether keys
    are `needed`, the `folder` where runs go, the `budget` of a caller, and a `problem` in words."""
    api = Api(owned, door, known)
    pages: dict[str, Callable[[Request], Response]] = {
        "/health": api.health,
        "/runs": api.runs,
        "/runs/{run}": api.run,
        "/runs/{run}/export": api.export,
        "/runs/{run}/report": api.report,
    }
    return [Route(path, _in_words(page), methods=["GET"]) for path, page in pages.items()]


def _in_words(page: Callable[[Request], Response]) -> Callable[[Request], Response]:
    @wraps(page)
    def answered(request: Request) -> Response:
        try:
            return page(request)
        except BadRequest as error:
            status, said = error.status, str(error)
        except ExportError as error:
            status, said = 409, str(error)
        except (LedgerError, sqlite3.Error):
            status, said = 503, "The database of the runs cannot be read just now."
        return JSONResponse({"detail": said}, status)

    return answered


class Api:
    """The pages. Those about a run raise BadRequest where it is not the caller's."""

    def __init__(self, owned: Owned, door: Door, known: Known) -> None:
        self._owned, self._door, self._known = owned, door, known

    def health(self, request: Request) -> Response:
        """Whether this server can work: 503 where it cannot write, or no endpoint answers."""
        owner = owner_of(request.scope)
        known, endpoints = self._known(owner), self._endpoints(owner)
        down = bool(endpoints) and all(one["reachable"] is False for one in endpoints)
        writable = _writable(known["folder"])
        well = writable and not down and not known["problem"]
        said: dict[str, Any] = {"status": "ok" if well else "unavailable"}
        if owner or not known["needed"]:
            said |= {
                "version": known["version"],
                "simulated": known["simulated"],
                "writable": writable,
                "problem": known["problem"],
                "endpoints": endpoints,
            }
        return JSONResponse(said, 200 if well else 503)

    def _endpoints(self, owner: str) -> list[dict[str, Any]]:
        """Each model that was called, and whether it answers, as far as the latest calls say."""
        return [
            {
                "model": one.model,
                "reachable": _reachable(one.error, one.latest),
                "error": one.error,
                "latest": one.latest,
                "answered": one.answered,
                "failures": int(one.failures),
            }
            for folder in self._owned(owner).all()
            for one in endpoint_health(folder.ledger)
        ]

    def runs(self, request: Request) -> Response:
        """The caller's runs, newest first, a page at a time; all that was spent, and the budget."""
        limit, offset = _number(request, "limit", LISTED_RUNS, 1, 100), _number(request, "offset")
        owner = owner_of(request.scope)
        folders = self._owned(owner).all()
        found = [(run, folder) for folder in folders for run in folder.ledger.runs()]
        found.sort(key=lambda one: one[0].started_at, reverse=True)
        shown = found[offset : offset + limit]
        listed = [self._row(folder, run) for run, folder in shown]
        spent = [folder.kept("spent", cost_of) for folder in folders]
        return JSONResponse(
            {
                "runs": listed,
                "total": len(found),
                "spent": {what: _sum(one[what] for one in spent) for what in SPENT},
                "budget": self._known(owner)["budget"],
            }
        )

    def run(self, request: Request) -> Response:
        """One run in numbers: those of `autodata status --json` that are its own."""
        folder, run = self._asked(request)
        summary: Summary = folder.kept(("figures", run.id), lambda at: summarize(at, run.id))
        said = summary.plain()
        whole_folder = ("documents", "usage", "calls", "tokens", "usd", "estimated", "status")
        return JSONResponse(
            {name: value for name, value in said.items() if name not in whole_folder}
            | self._row(folder, run)
        )

    def export(self, request: Request) -> Response:
        """The accepted examples as one file, byte for byte as `autodata export` writes it."""
        form = request.query_params.get("format", "")
        if form not in EXPORT_FORMATS:
            there_are = f"format is one of {', '.join(EXPORT_FORMATS)}"
            raise BadRequest(
                400, f"There is no format {form!r}; {there_are}." if form else there_are
            )
        card, confirmed = _flag(request, "card"), _flag(request, "confirmed")
        where = tuple(request.query_params.getlist("where"))
        share = request.query_params.get("test_share", "0")
        try:
            options = ExportOptions.of(confirmed=confirmed, where=where, test_share=share)
        except ExportError as error:
            raise BadRequest(400, str(error)) from error
        split = request.query_params.get("split", "train")
        if split not in (known := ("train", "test") if options.test_share else ("train",)):
            raise BadRequest(
                400, f"split is {' or '.join(known)}, not {split[:40]!r}; test_share makes two."
            )
        folder, run = self._asked(request)
        place = Path(tempfile.mkdtemp(prefix="autodata-export-"))
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, place, ignore_errors=True)
            written = export(folder.ledger, form, place, run.id, options)
            undo.pop_all()
        rows = written.test if written.test and split == "test" else written.path
        file = written.card if card else rows
        clear = BackgroundTask(shutil.rmtree, place, ignore_errors=True)
        return FileResponse(file, filename=f"{run.id}-{file.name}", background=clear)

    def report(self, request: Request) -> Response:
        """The run as one page that loads nothing from elsewhere, as `autodata report` writes it."""
        folder, run = self._asked(request)
        ledger = folder.ledger
        optimized = run.kind == "optimization"
        parts = self._door.optimization(ledger, run, lambda number: "") if optimized else ()
        page = render.report(ledger, run, self._door.stands(folder.path, run), parts)
        return Response(page, media_type="text/html", headers=REPORT_HEADERS)

    def _asked(self, request: Request) -> tuple[ShownFolder, RunRow]:
        wanted = request.path_params["run"]
        for folder in self._owned(owner_of(request.scope)).all():
            for run in folder.ledger.runs():
                if run.id == wanted:
                    return folder, run
        raise BadRequest(404, f"There is no run {wanted[:80]!r}; GET /runs lists those there are.")

    def _row(self, folder: ShownFolder, run: RunRow) -> dict[str, Any]:
        """A run in a list. What its documents took is counted, fresh attempts included; what two
        runs share is counted in both."""
        counts = count_outcomes(folder.ledger, run)
        decided = {name: counts[name] for name in ("accepted", "rejected", "skipped")}
        tried = decided["accepted"] + decided["rejected"]
        return {
            "id": run.id,
            "kind": run.kind,
            "task": run.task,
            "status": self._door.stands(folder.path, run),
            "started_at": run.started_at,
            "simulated": run.simulated,
            "documents": decided | {"waiting": count_waiting(folder.ledger, run.id)},
            **proportion(decided["accepted"], tried).plain("pass_rate"),
            **folder.kept(("cost", run.id), lambda ledger: cost_of(ledger, run)),
        }


def _reachable(error: str, latest: str) -> bool | None:
    """Whether an endpoint answers; None where nobody has asked lately. `latest` is ISO 8601."""
    if not error:
        return True
    ago = time.time() - datetime.fromisoformat(latest).timestamp()
    return False if ago < DOWN_FOR else None


def _writable(folder: Path) -> bool:
    """Whether the folder can be written, or made."""
    there = next(
        (place for place in (folder, *folder.absolute().parents) if place.exists()), folder
    )
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _sum(values: Iterable[float | None]) -> float | None:
    """None where one of them is not known."""
    found = list(values)
    return None if None in found else sum(value or 0 for value in found)


def _number(request: Request, name: str, default: int = 0, low: int = 0, high: int = 10**9) -> int:
    said = request.query_params.get(name)
    if said is None:
        return default
    if not said.isascii() or not said.isdigit() or len(said) > 10 or not low <= int(said) <= high:
        raise BadRequest(400, f"{name} is a whole number from {low} to {high}, not {said[:40]!r}.")
    return int(said)


def _flag(request: Request, name: str) -> bool:
    said = request.query_params.get(name, "0")
    if said not in ("0", "1"):
        raise BadRequest(400, f"{name} is 0 or 1, not {said[:40]!r}.")
    return said == "1"
