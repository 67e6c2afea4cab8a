"""autodata in Python: runs begin, go on and are read as by the commands, in a script or a notebook.

`run` and `resume` work in a thread with an event loop of its own, so that they may be called where
one runs already, as in a notebook, and so that stopping them loses nothing.
"""

import asyncio
import importlib
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from html import escape
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypedDict, TypeVar, Unpack

from autodata.assembly import open_context_of_all
from autodata.documents.corpus import Copied, Documents, Skipped, ingest, sources
from autodata.graph.build import OpenLoop
from autodata.graph.context import RunContext
from autodata.ledger.export import Exported, arrow_table, export
from autodata.ledger.filters import ExportError, ExportOptions
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import Example, Outcome, RunRow, RunStatus
from autodata.ledger.summary import (
    NOTICE,
    Summary,
    harmless,
    outcomes,
    summarize,
    summary_rows,
)
from autodata.models.errors import Interrupted, Paused
from autodata.options import DONE, FAILED, FLAGS
from autodata.prompt_store.prompt import locked_text
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import Screen, counted
from autodata.session import STOPPED, RunSession, RunWork, Work, begun_in
from autodata.settings import Override, Settings, SettingsError, load, read
from autodata.tasks import TASKS
from autodata.tasks.types import Document

T = TypeVar("T")

Config: TypeAlias = str | Path | Mapping[str, Any] | Settings | None

AWAKE = 0.2  # seconds; a notebook's stop does not wake an event loop that only waits
NAMED = 3  # skipped documents that a warning names
SETS = {name.replace("-", "_"): flag.key for name, flag in FLAGS.items()}


class RunOptions(TypedDict, total=False):
    """What a run may be told beside its documents; each is the flag and the key of that name.

    `target` and the budgets count from 1, `rounds` 1 to 100, `per_document` 1 to 1000;
    `settings` sets any other key, such as {"run.passage_tokens": 2000}.
    """

    target: int | None
    per_document: int | None
    rounds: int | None
    preset: str | None
    review: str | None
    prompts: str | None
    budget_usd: float | None
    budget_calls: int | None
    budget_tokens: int | None
    settings: Mapping[str, Any] | None


def run(
    documents: Documents,
    *,
    task: str | None = None,
    out: str | Path | None = None,
    config: Config = None,
    wait: bool = False,
    progress: bool | None = None,
    **choices: Unpack[RunOptions],
) -> "Run":
    """Makes examples from documents, and returns the run when it is done.

    `documents` are paths (files, folders, globs), texts (strings of several lines or of more than
    1,000 characters), or objects: mappings with a `text`, LangChain's documents, `Document`s; one
    or an iterable of them. `config` is a YAML file or what it would hold; ./autodata.yaml, if there
    is one, unless given, and simulated models where no model is configured. The same folder `out`
    (runs/<task>-<time> unless given) goes on where it stopped. With `wait` an endpoint that is down
    is waited for. `progress` is shown where it can be redrawn unless stated.

    Raises Paused (EndpointDown, BudgetReached, ReviewsWait, …) when it cannot go on now, and
    SettingsError, CorpusError, RunFolderError, LedgerError, PromptError, StoreError or UnknownPrice
    before anything is asked of a model. Ctrl-C lets calls in flight end, a second one drops them;
    then it raises KeyboardInterrupt, and the folder goes on from there.
    """
    return _waited(_began(documents, task, out, config, wait, progress, choices))


async def arun(
    documents: Documents,
    *,
    task: str | None = None,
    out: str | Path | None = None,
    config: Config = None,
    wait: bool = False,
    progress: bool | None = None,
    **choices: Unpack[RunOptions],
) -> "Run":
    """As `run`, awaited. When it is cancelled, calls in flight end first; again, and they are
    dropped."""
    return await _awaited(_began(documents, task, out, config, wait, progress, choices))


def resume(
    run: "str | Path | Run",
    *,
    wait: bool = False,
    progress: bool | None = None,
    **choices: Unpack[RunOptions],
) -> "Run":
    """Goes on with the run of a folder, as it was configured, and returns it when it is done.

    Budgets, target, addresses and rates may be changed by `choices`; nothing that shapes the
    examples. Raises as `run`.
    """
    return _waited(_went_on(run, wait, progress, choices))


async def aresume(
    run: "str | Path | Run",
    *,
    wait: bool = False,
    progress: bool | None = None,
    **choices: Unpack[RunOptions],
) -> "Run":
    """As `resume`, awaited; cancelled as `arun`."""
    return await _awaited(_went_on(run, wait, progress, choices))


def open(path: str | Path, run_id: str | None = None) -> "Run":
    """A run of a folder, the latest unless named: to be read while it runs, too.

    Raises RunFolderError where there is none, LedgerError where `run.db` cannot be read.
    """
    folder = RunFolder(Path(path)).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        return Run(folder.path, ledger.run(run_id).id)


@dataclass(frozen=True)
class Run:
    """A run in its folder. Nothing is held open: each question is put to `run.db` anew.

    Iterating yields its accepted examples. `skipped` names what gave no document when it was begun.
    """

    path: Path
    id: str
    skipped: tuple[Skipped, ...] = field(default=(), compare=False)

    @property
    def status(self) -> str:
        """`running`, `done`, `paused`, `interrupted`, or `interrupted (process gone)`."""
        with self._ledger() as ledger:
            return RunFolder(self.path).status(ledger.run(self.id))

    @property
    def task(self) -> str:
        """What it makes examples of."""
        return self._row().task

    @property
    def simulated(self) -> bool:
        """Whether a model of it is a simulated one: its numbers do not say how good a model is."""
        return self._row().simulated

    def summary(self) -> Summary:
        """The run in numbers, as `autodata status` has them; `.plain()` gives JSON values."""
        with self._ledger() as ledger:
            return summarize(ledger, self.id)

    def documents(self) -> list[Outcome]:
        """What became of each document, and why."""
        with self._ledger() as ledger:
            return outcomes(ledger, self.id)

    def examples(self, *, confirmed: bool = False) -> list[Example]:
        """The accepted examples; with `confirmed` those that fresh attempts bear out."""
        return [example for example in self if example.confirmed or not confirmed]

    def __iter__(self) -> Iterator[Example]:
        with self._ledger() as ledger:
            yield from ledger.examples(self.id)

    def export(
        self, format: str = "jsonl", path: str | Path | None = None, **options: Any
    ) -> Exported:
        """Writes the examples to a file for training, with a dataset card beside it.

        Formats and places are those of `autodata export`, the options the fields of
        `ledger.filters.ExportOptions`: `confirmed=True`, `where=["gap >= 0.3"]`, `test_share=0.1`,
        `match_lengths=folder`, `license="mit"`. Raises ExportError.
        """
        chosen = ExportOptions.of(**options)
        with self._ledger() as ledger:
            place = Path(path) if path else None
            return export(ledger, format, place, self.id, chosen, locked_text)

    def to_dataset(self, format: str = "jsonl", **options: Any) -> Any:
        """The examples as a `datasets.Dataset`, in the columns of an export format, chosen by the
        options of `export`; the column `split` says where a `test_share` put a row.

        Raises ExportError where the extra is missing, and as `export` for format and options.
        """
        chosen = ExportOptions.of(**options)
        try:
            datasets = importlib.import_module("datasets")
        except ImportError as error:
            raise ExportError(
                "a Dataset needs an extra: pip install 'autodata-loop[datasets]'"
            ) from error
        with self._ledger() as ledger:
            rows = arrow_table(ledger, format, self.id, chosen)
        columns = datasets.Features.from_arrow_schema(rows.schema)
        return datasets.Dataset.from_dict(rows.to_pydict(), columns)

    def __repr__(self) -> str:
        summary = self.summary()
        said = f"{self.id} in {self.path}: {self.status}, {counted(summary)}"
        return harmless(f"<autodata run {said}{' (simulated)' if summary.run.simulated else ''}>")

    def _repr_html_(self) -> str:
        """What a notebook shows: the run in numbers, as `autodata status` prints them."""
        summary = self.summary()
        rows = [("documents", str(counted(summary))), *summary_rows(summary)]
        cells = "".join(
            f'<tr><th style="text-align:left">{_shown(name)}</th>'
            f'<td style="text-align:left">{_shown(said)}</td></tr>'
            for name, said in rows
        )
        head = f"{summary.run.task} run {self.id}: {self.status}"
        notice = f"<p><strong>{_shown(NOTICE)}</strong></p>" if summary.run.simulated else ""
        return f"<p><strong>{_shown(head)}</strong></p><table>{cells}</table>{notice}"

    def _row(self) -> RunRow:
        with self._ledger() as ledger:
            return ledger.run(self.id)

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        RunFolder(self.path).existing()
        with Ledger.open(self.path, create=False) as ledger:
            yield ledger


def _shown(text: str) -> str:
    """Words of models, servers and file names, as text in a page."""
    return escape(harmless(text))


def open_graph(out: str | Path, *, config: Config = None, checkpointer: Any = None) -> OpenLoop:
    """The loop over one document as LangGraph's graph, over a run folder: inside of `with` it is
    invoked, inside of `async with` awaited.

    Documents of all tasks come in: {"document": {"name": …, "text": …}, "task": "cs"}, filed as the
    served graph files them. `checkpointer` is one of LangGraph's, for threads, reviews and time
    travel. Raises SettingsError; entering it RunFolderError, LedgerError or UnknownPrice.
    """
    folder, settings = RunFolder(Path(out)), _settings(config, {})

    @contextmanager
    def held() -> Iterator[RunContext]:
        with folder.fresh().locked():
            yield open_context_of_all(folder, settings)

    return OpenLoop(held, checkpointer)


@dataclass
class _Stopping:
    """Stops a session from another thread, now or as soon as it works."""

    asked: int = 0
    _stop: Callable[[], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> None:
        with self._lock:
            self.asked += 1
            stop = self._stop
        if stop:
            stop()

    def by(self, stop: Callable[[], None]) -> None:
        """Takes what stops the work."""
        with self._lock:
            self._stop, asked = stop, self.asked
        for _ in range(asked):
            stop()

    def until(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents until it is stopped; then raises Interrupted."""
        for document in documents:
            if self.asked:
                raise STOPPED
            yield document


@dataclass(frozen=True)
class _CalledSession(RunSession):
    """A session whose end is told by what is returned and raised."""

    refused: dict[str, str] = field(default_factory=dict, kw_only=True)

    def told(self, work: Work, ledger: Ledger, status: RunStatus) -> int:
        if isinstance(work, RunWork):
            self.refused.update(work.batch.refused)
        return FAILED if self.refused else DONE

    def paused(self, pause: Paused, status: RunStatus) -> NoReturn:
        pause.add_note(f"Go on with autodata.resume({str(self.folder.path)!r})")
        raise pause


@dataclass(frozen=True)
class _Begun:
    """A session at work in a thread of its own."""

    result: "Future[Run]"
    stop: _Stopping

    @classmethod
    def of(cls, work: Callable[[_Stopping], "Run"]) -> "_Begun":
        """Begins it, under the caller's context variables: a trace goes on inside."""
        stop = _Stopping()
        thread = ThreadPoolExecutor(1, thread_name_prefix="autodata")
        try:
            return cls(thread.submit(copy_context().run, work, stop), stop)
        finally:
            thread.shutdown(wait=False)


def _waited(begun: _Begun) -> "Run":
    """The run when it is done, for whoever waits; an interrupt stops it first."""
    stopped = False
    while True:
        try:
            run = begun.result.result()
        except KeyboardInterrupt:
            stopped = True
            begun.stop()
        except Interrupted as error:
            if stopped:
                raise KeyboardInterrupt(str(error)) from error
            raise
        else:
            if stopped:
                raise KeyboardInterrupt("the run was done when it was stopped")
            return _warned(run)


async def _awaited(begun: _Begun) -> "Run":
    """As `_waited`, for whoever awaits; a cancellation stops it first."""
    ended, cancelled = asyncio.wrap_future(begun.result), False
    while not ended.done():
        try:
            await asyncio.wait([ended], timeout=AWAKE)
        except asyncio.CancelledError:
            cancelled = True
            begun.stop()
    if cancelled:
        ended.exception()  # it is known why
        raise asyncio.CancelledError
    return _warned(ended.result())


def _warned(run: "Run") -> "Run":
    """The run, with a warning about what gave no document or was left undecided."""
    lost = [str(skipped) for skipped in run.skipped if not isinstance(skipped, Copied)]
    if lost:
        more = f"; and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        said = f"{'; '.join(lost[:NAMED])}{more}"
        warnings.warn(f"without a result: {harmless(said)}", stacklevel=3)
    return run


def _began(
    documents: Documents,
    task: str | None,
    out: str | Path | None,
    config: Config,
    wait: bool,
    progress: bool | None,
    choices: Mapping[str, Any],
) -> _Begun:
    settings = _with_task(_settings(config, {**choices, "task": task}))
    default = f"{settings.run.task}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = RunFolder(Path(out) if out else Path("runs") / default)
    given = sources(documents)

    def work(stop: _Stopping) -> Run:
        session = _session(folder, settings, wait, progress, stop)
        run = settings.run
        corpus = ingest(given, per_document=run.per_document, budget=run.passage_tokens)
        session.begin(stop.until(corpus), corpus.skipped)
        return _run(session, tuple(corpus.skipped))

    return _Begun.of(work)


def _went_on(
    run: "str | Path | Run", wait: bool, progress: bool | None, choices: Mapping[str, Any]
) -> _Begun:
    if "task" in choices:
        raise TypeError("a run keeps its task; begin another one in a folder of its own")
    folder = RunFolder(run.path if isinstance(run, Run) else Path(run)).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        row = begun_in(folder, ledger)
    if row.kind != "documents":
        raise RunFolderError(
            f"{folder.path} holds an {row.kind}; `autodata resume {folder.path}` goes on with it"
        )
    settings = folder.settings(row, _overrides(choices))

    def work(stop: _Stopping) -> Run:
        session = _session(folder, settings, wait, progress, stop)
        session.go_on()
        return _run(session)

    return _Begun.of(work)


def _session(
    folder: RunFolder, settings: Settings, wait: bool, progress: bool | None, stop: _Stopping
) -> _CalledSession:
    console = Screen(stderr=True)
    shown = (console.is_terminal or console.is_jupyter) if progress is None else progress
    console.quiet = not shown
    return _CalledSession(folder, settings, console, wait, stopped_by=stop.by)


def _run(session: _CalledSession, skipped: tuple[Skipped, ...] = ()) -> "Run":
    found = open(session.folder.path)
    refused = tuple(Skipped(document, why) for document, why in session.refused.items())
    return Run(found.path, found.id, skipped + refused)


def _settings(config: Config, choices: Mapping[str, Any]) -> Settings:
    """The settings of a file or of values, and what is to differ from them. Raises SettingsError,
    TypeError at a choice that there is not."""
    overrides = _overrides(choices)
    if isinstance(config, Settings):
        return read(config.plain(), "config", overrides)
    if isinstance(config, Mapping):
        return read(config, "config", overrides)
    return load(Path(config) if config else None, overrides)


def _overrides(choices: Mapping[str, Any]) -> list[Override]:
    for name in choices:
        if name not in SETS and name != "settings":
            near = get_close_matches(name, [*SETS, "settings"], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"there is no choice {name!r}{hint}")
    said = [
        Override(SETS[name], value, f"{name}={value!r}")
        for name, value in choices.items()
        if name != "settings" and value is not None
    ]
    others = choices.get("settings") or {}
    if not isinstance(others, Mapping) or not all(isinstance(k, str) and "." in k for k in others):
        raise TypeError("settings are keys as --set has them: {'run.passage_tokens': 2000}")
    return said + [Override(key, value, f"settings[{key!r}]") for key, value in others.items()]


def _with_task(settings: Settings) -> Settings:
    if settings.run.task is None:
        *others, last = (f"task={name!r}" for name in TASKS)
        raise SettingsError(f"which task is it? Say {', '.join(others)} or {last}")
    return settings
