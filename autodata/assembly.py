"""Opens what a run works with: prompts at one exact revision, models, ledger and call log."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from autodata.graph.context import FiledUnder, RunContext
from autodata.graph.state import Baseline, RunChoices, as_configured
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.quality import SemanticDuplicates, semantic
from autodata.ledger.rows import RunRow
from autodata.models.client import Models
from autodata.models.config import EMBEDDINGS, SIMULATED, endpoint
from autodata.models.errors import CallRefused
from autodata.models.replies import Vector, text_key
from autodata.prompt_store.prompt import (
    PromptError,
    PromptSet,
    locked_revision,
    one_shot,
    packaged,
    unchanged_since,
)
from autodata.prompt_store.store import Store
from autodata.run_folder import RunFolder
from autodata.settings import (
    PromptSettings,
    Settings,
    SettingsError,
    shaping,
    without_baseline,
)
from autodata.simulation.transport import SimulatedTransport
from autodata.tasks import TASKS
from autodata.tasks.diversity import DiversityError
from autodata.tasks.types import digest

PACKAGED = "seed-"  # how revisions of the packaged prompts begin
ONE_SHOT = "baseline-"  # and those of the prompts of a baseline
DEFAULT_STORE = Path("prompts")
WATCHED_BY = ("AUTODATA_LOG_JSON", "OTEL_", "LANGSMITH_TRACING", "LANGCHAIN_TRACING")
BATCHED_DOCUMENTS = 1000  # a batch is as large as the documents that wait for it
SIMULATED_DOCUMENTS = 8  # in flight: simulated models use this process's one core


def open_prompts(
    prompts: PromptSettings, task: str, baseline: Baseline | None = None
) -> tuple[PromptSet, str | None]:
    """A task's editable prompts and the absolute path of their store, None for the packaged ones;
    or the locked ones of a baseline, whatever store there is.

    Raises StoreError or PromptError when the store or the revision is not there.
    """
    path, revision = prompts.path, prompts.revision
    if baseline:
        shipped = one_shot(task, baseline)
        if (revision or "").startswith(ONE_SHOT) and revision != shipped.revision:
            raise _of_another_version("prompts of this baseline", shipped.revision, revision)
        return shipped, None
    if path is None and (DEFAULT_STORE / ".git").exists():
        path = str(DEFAULT_STORE)
    if (revision or "").startswith(PACKAGED) or (path is None and revision is None):
        return _packaged(revision, task), path and str(Path(path).absolute())
    store = Store.open(Path(path or DEFAULT_STORE))
    return store.read(revision or "main"), str(store.path)


def _packaged(revision: str | None, task: str) -> PromptSet:
    shipped = packaged()
    if revision and unchanged_since(revision, task):
        return shipped.model_copy(update={"revision": revision})
    if revision not in (None, shipped.revision, *shipped.elsewhere.values()):
        raise _of_another_version("packaged prompts", shipped.revision, revision)
    return shipped


def _of_another_version(what: str, ours: str, theirs: str | None) -> PromptError:
    return PromptError(
        f"the {what} are {ours}, not {theirs}: the run was begun by another version of autodata; "
        "go on with that version, or begin a new run"
    )


def resolve(settings: Settings, task: str) -> tuple[Settings, PromptSet]:
    """The settings with nothing left open, and the prompts that they name."""
    prompts, path = open_prompts(settings.prompts, task, settings.run.baseline)
    return settings.resolved(task, prompts.revision_of(task), path), prompts


def run_row(settings: Settings, run_id: str | None = None) -> RunRow:
    """The row of a run that begins now with these resolved settings."""
    task, begun = settings.run.task or "", datetime.now(UTC)
    return RunRow(
        id=run_id or f"{task}-{begun:%Y%m%d-%H%M%S}",
        task=task,
        prompts_revision=settings.prompts.revision or "",
        locked_revision=locked_revision(task),
        config=settings.plain(),
        models=settings.roles,
        seed=settings.run.seed,
        simulated=settings.simulated,
        version=version("autodata-loop"),
    )


def open_run_context(
    folder: RunFolder,
    run_id: str,
    settings: Settings,
    prompts: PromptSet,
    *,
    filed_under: FiledUnder | None = None,
    wait: bool = False,
) -> RunContext:
    """The context of a run in this folder, to be closed by its `aclose`.

    `filed_under` names the run of a task and choices where there is more than one; with `wait` an
    endpoint that is down is waited for. Raises LedgerError, CallLogError,
    UnknownPrice.
    """
    with ExitStack() as undo:
        ledger = undo.enter_context(Ledger.open(folder.path))
        log = undo.enter_context(closing(open_log(folder.path, run_id, settings)))
        models = open_models(settings, log, run_id, wait=wait)
        undo.pop_all()  # the run context closes them
    return RunContext(models, prompts, ledger, log, run_id, filed_under, settings.choices)


def open_context_of_all(folder: RunFolder, settings: Settings) -> RunContext:
    """A context for documents of all tasks, to be closed by its `aclose`: one run per task and
    choices, begun by its first document. Raises as `open_run_context`, and SettingsError."""
    without_baseline(settings, "the served graph")
    resolved = {task: resolve(settings, task) for task in TASKS}
    own, prompts = next(iter(resolved.values()))

    def filed_under(task: str, choices: RunChoices) -> str:
        configured = resolved[task][0]
        choices = as_configured(TASKS[task], choices, configured.choices)
        return _run_of(context.ledger, configured, choices)

    context = open_run_context(folder, "studio", own, prompts, filed_under=filed_under)
    return context


def _run_of(ledger: Ledger, settings: Settings, choices: RunChoices) -> str:
    """The run with this configuration and these choices, which an earlier process began, maybe."""
    config = settings.stating(choices)
    identity = digest(shaping(config), locked_revision(settings.run.task or ""))[:8]
    run = run_row(settings, f"studio-{settings.run.task}-{identity}")
    return ledger.run_like(run.model_copy(update={"config": config}))


def open_log(folder: Path, run_id: str, settings: Settings) -> CallLog:
    """The call log of a run, whose calls are told to whom the environment says. Raises
    CallLogError, and OSError where a log for others cannot be written."""
    with ExitStack() as undo:
        log = undo.enter_context(closing(CallLog(folder / FILE)))
        if any(name.startswith(WATCHED_BY) for name in os.environ) or _traced():
            from autodata.graph.telemetry import watch  # takes a moment to load

            log.watcher = watch(run_id, settings.endpoints)
        undo.pop_all()
    return log


def _traced() -> bool:
    """Whether the program that this is a part of has set up OpenTelemetry itself."""
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    found = sdk and sys.modules["opentelemetry.trace"].get_tracer_provider()
    return sdk is not None and isinstance(found, sdk.TracerProvider)


def open_models(settings: Settings, log: CallLog, run_id: str, *, wait: bool = False) -> Models:
    """The models of a run, over its call log. Raises UnknownPrice."""
    return Models(
        log=log,
        endpoints=settings.endpoints,
        models=settings.models,
        prices=settings.prices,
        budget=settings.budget,
        seed=settings.run.seed,
        wait=wait,
        batch=run_id if settings.run.batch else None,
        transports={SIMULATED: SimulatedTransport()},
    )


def embed(folder: RunFolder, settings: Settings, texts: Sequence[str]) -> dict[str, Vector]:
    """The embeddings of texts by the configured model, which are asked for once in this folder; of
    those that it takes. Blocks. Raises UnknownRole, UnknownPrice, RunFolderError, DiversityError
    where it takes none, Paused."""
    models = {EMBEDDINGS: settings.model(EMBEDDINGS)}
    at_once = settings.run.model_copy(update={"batch": False})
    settings = settings.model_copy(update={"models": models, "run": at_once})

    async def asked(log: CallLog) -> dict[str, Vector]:
        models = open_models(settings, log, EMBEDDINGS)
        try:
            return await models.embed(texts, scope=EMBEDDINGS)
        finally:
            await models.aclose()

    with folder.locked(), closing(open_log(folder.path, EMBEDDINGS, settings)) as log:
        try:
            found = asyncio.run(asked(log))
        except CallRefused as refused:
            raise DiversityError(f"no embeddings: {refused.reason}") from refused
    return {text: found[key] for text in texts if (key := text_key(text)) in found}


def in_meaning(
    settings: Settings, texts: Sequence[tuple[Path, str]], cosine: float
) -> SemanticDuplicates:
    """Which texts, each of a run folder, are alike from this cosine of their embeddings on. Blocks.
    Raises as `embed`."""
    found: dict[str, Vector] = {}
    for run in dict.fromkeys(run for run, _ in texts):
        found |= embed(RunFolder(run), settings, [text for of, text in texts if of == run])
    model = settings.model(EMBEDDINGS)
    name = f"{model.endpoint}/{model.model}"
    return semantic(name, [text for _, text in texts], found, cosine)


def audit_row(run: RunRow, settings: Settings) -> RunRow:
    """The row of an audit of a run: one for each second judge. Raises SettingsError where no judge
    has a say."""
    if not TASKS[run.task].asks("judge"):
        raise SettingsError(f"{run.task} asks no judge: its answers are compared by code")
    second = settings.model("second_judge")
    asked = second.model_dump(mode="json", exclude={"attempts", "examples", "repeats"})
    made = run_row(settings, f"{run.id}-audit-{digest(asked, locked_revision(run.task))[:8]}")
    models = {"judge": run.models["judge"], "second_judge": f"{second.endpoint}/{second.model}"}
    return made.model_copy(
        update={"kind": "audit", "models": models, "prompts_revision": run.prompts_revision}
    )


def documents_in_flight(settings: Settings) -> int:
    """How many documents to work on at once.

    `auto` is what the busiest endpoint takes: every document has one call in flight for most of
    its way, and several while its attempts are made.
    """
    if settings.run.documents_in_flight != "auto":
        return settings.run.documents_in_flight
    if not settings.models:
        return SIMULATED_DOCUMENTS
    if settings.run.batch:
        return BATCHED_DOCUMENTS
    names = {settings.model(role).endpoint for role in settings.roles}
    return max(endpoint(name, settings.endpoints).max_concurrency for name in names)
