"""autodata run, resume, plan, remeasure, audit, optimize: what works on a folder, in a session."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autodata.documents.corpus import Ingest, ingest
from autodata.ledger.ledger import Ledger
from autodata.ledger.measurements import accepted
from autodata.ledger.rows import RunRow
from autodata.options import DONE, FAILED
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import Screen, screen
from autodata.session import RunSession, begun_in
from autodata.settings import (
    ASKING,
    Override,
    Settings,
    SettingsError,
    load,
    read,
    read_over,
    with_baseline,
    with_task,
)
from autodata.tasks import TASKS
from autodata.tasks.judge_noise import AuditSettings
from autodata.tasks.types import Document

MAY_SET = (*(f"{section}." for section in ASKING), "run.batch", "run.documents_in_flight")
PILOT = 8  # documents, unless stated


def run(
    documents: Sequence[str],
    out: Path,
    config: Path | None,
    wait: bool,
    overrides: Sequence[Override],
) -> int:
    """Begins a run, or goes on with the one in the folder."""
    return _run(documents, out, with_task(load(config, overrides)), wait)


def baseline(
    documents: Sequence[str],
    out: Path,
    config: Path | None,
    wait: bool,
    overrides: Sequence[Override],
) -> int:
    """As `run`, by a one-shot method."""
    settings = with_baseline(with_task(load(config, overrides)))
    return _run(documents, out, settings, wait)


def _run(documents: Sequence[str], out: Path, settings: Settings, wait: bool) -> int:
    corpus = _corpus(documents, settings)
    return RunSession(RunFolder(out), settings, screen(), wait).begin(corpus, corpus.skipped)


def _corpus(given: Sequence[str], settings: Settings) -> Ingest:
    """What these files and folders hold, cut as the configuration has it."""
    return ingest(given, per_document=settings.run.per_document, budget=settings.run.passage_tokens)


def plan(
    documents: Sequence[str],
    out: Path | None,
    pilot: int | None,
    seed: int | None,
    of: int | None,
    config: Path | None,
    wait: bool,
    as_json: bool,
    run_id: str | None,
    overrides: Sequence[Override],
    **asked: Any,
) -> int:
    """Runs a pilot on a sample of the documents, or reads a run, and forecasts the rest."""
    from autodata.planning import PilotSession, Sample, tell_plan

    console = Screen(stderr=True) if as_json else screen()
    given = RunFolder(Path(documents[0]))
    if len(documents) == 1 and given.holds_run:
        drawn = {"--pilot": pilot, "--seed": seed, "--out": out, "--config": config}
        given_too = [Override(k, v, f"{k} {v}") for k, v in drawn.items() if v is not None]
        settings = _planned_as(given, run_id, [*given_too, *overrides], asked["ceiling"])
        return tell_plan(
            given, settings, console, DONE,
            run_id=run_id, documents=of, wait=wait, as_json=as_json, **asked,
        )  # fmt: skip
    settings = with_task(load(config, overrides))
    corpus, sample = _corpus(documents, settings), Sample(pilot or PILOT, seed or 0)
    chosen = sample.of(corpus)
    folder = RunFolder(out or Path("runs") / f"{settings.run.task}-pilot")
    ids = frozenset(document.id for document in chosen)
    session = PilotSession(folder, settings, console, wait, sample=ids)
    code = session.begin(chosen, corpus.skipped)
    if code not in (DONE, FAILED):
        return code
    return tell_plan(
        folder, session.resolved(settings.run.task or ""), console, code,
        documents=of or sample.total, wait=wait, as_json=as_json, **asked,
    )  # fmt: skip


def _planned_as(
    folder: RunFolder, run_id: str | None, overrides: Sequence[Override], ceiling: bool
) -> Settings:
    """The settings of a run that is read as a pilot; what it may still spend may be changed where
    its ceiling is searched for. Raises SettingsError."""
    for override in overrides:
        if not override.key.startswith("budget."):
            raise SettingsError(
                f"{override.source}: {folder.path} is a run with a configuration of its own; name "
                "documents, and --out for another folder, to try another"
            )
        if not ceiling:
            raise SettingsError(
                f"{override.source}: {folder.path} is a run, which is read as it stands, and no "
                "model is asked; a budget bounds --ceiling"
            )
    with Ledger.open(folder.path, create=False) as ledger:
        return folder.settings(ledger.run(run_id), overrides)


def resume(run: Path, wait: bool, overrides: Sequence[Override]) -> int:
    """Goes on with the run in the folder, whatever its kind."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        begun = begun_in(folder, ledger)
    settings = folder.settings(begun, overrides)
    if begun.kind != "optimization":
        return RunSession(folder, settings, screen(), wait).go_on()
    from autodata.optimization import OptimizationSession  # with all of the optimizer

    return OptimizationSession(folder, settings, screen(), wait).go_on()


def _check_keys(overrides: Sequence[Override], may_set: tuple[str, ...], takes: str) -> None:
    """Raises SettingsError at a key that is not one of those that may be set."""
    for override in overrides:
        if not override.key.startswith(may_set):
            raise SettingsError(
                f"{override.source}: thresholds and all else stay the run's; {takes}"
            )


def remeasure(
    run: Path,
    attempts: int | None,
    each: bool,
    as_json: bool,
    config: Path | None,
    wait: bool,
    run_id: str | None,
    overrides: Sequence[Override],
) -> int:
    """Asks for the fresh attempts that are lacking, and tells what they show."""
    from autodata.remeasurement import RemeasureSession

    _check_keys(overrides, MAY_SET, f"remeasure takes keys of {', '.join(ASKING)}")
    folder, row, own, asked = _with_examples(run, run_id, config, overrides)
    console = Screen(stderr=True) if as_json else screen()
    return RemeasureSession(
        folder, asked, console, wait, run=row, own=own, attempts=attempts, each=each,
        as_json=as_json,
    ).measure()  # fmt: skip


def audit(
    run: Path,
    share: float | None,
    each: bool,
    as_json: bool,
    config: Path | None,
    wait: bool,
    run_id: str | None,
    overrides: Sequence[Override],
) -> int:
    """Asks the second judge for the marks that are lacking, and tells what they show."""
    from autodata.remeasurement import AuditSession

    # Who played the other roles stands in the record, and none of them is asked.
    keys = [key.replace("models.", "models.second_judge") for key in MAY_SET]
    takes = f"audit takes audit.share and keys of models.second_judge, {', '.join(ASKING[1:])}"
    _check_keys(overrides, (*keys, "audit."), takes)
    given = () if share is None else (Override("audit.share", share, f"--share {share}"),)
    folder, row, own, asked = _with_examples(run, run_id, config, [*overrides, *given])
    if share is None:
        part = AuditSettings(share=asked.audit.share or 1.0)
        asked = asked.model_copy(update={"audit": part})
    console = Screen(stderr=True) if as_json else screen()
    session = AuditSession(
        folder, asked, console, wait, run=row, own=own, each=each, as_json=as_json
    )
    return session.measure()


def _with_examples(
    run: Path, run_id: str | None, config: Path | None, overrides: Sequence[Override]
) -> tuple[RunFolder, RunRow, Settings, Settings]:
    """A run over documents that accepted something, its settings, and those that are asked for.
    Raises RunFolderError, SettingsError."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
        if row.kind != "documents":
            raise RunFolderError(f"{row.id} is no run over documents: no examples are its own")
        examples = accepted(ledger, row.id)
    own, asked = _settings(folder, row, config, overrides)
    if not examples:
        raise RunFolderError(f"run {row.id} has no accepted example that could be measured")
    return folder, row, own, asked


def _settings(
    folder: RunFolder, run: RunRow, config: Path | None, overrides: Sequence[Override]
) -> tuple[Settings, Settings]:
    """The settings of the run, and those with which its examples are measured.

    What shaped the examples stands in the run's row; where models are reached and what may be spent
    may have changed since, and stands in the folder's configuration.
    """
    known = {name: value for name, value in run.config.items() if name in Settings.model_fields}
    now = folder.settings(run).plain()
    known |= {section: now.get(section, {}) for section in ("endpoints", "prices", "budget")}
    source = f"the record of {folder.path}"
    own = read(known, source)
    others = config or any(override.key.startswith("models.") for override in overrides)
    if others and not known.get("models"):  # simulated: each role as the run names it
        named = ((role, name.partition("/")) for role, name in run.models.items())
        known["models"] = {role: {"endpoint": at[0], "model": at[2]} for role, at in named}
    if any(override.key.startswith("models.second_judge.") for override in overrides):
        asked = own.model("second_judge").model_dump(mode="json", exclude_none=True)
        known["models"] = {"second_judge": asked} | known["models"]
    laid = [over.source for over in overrides if over.key.startswith(("models.", "endpoints."))]
    # The record is sound by itself: a fault of no key is one of what is laid over it.
    return own, read_over(known, ", ".join(laid) or source, config, overrides)


def optimize(
    train: Sequence[str],
    validation: Sequence[str],
    test: Sequence[str],
    out: Path,
    config: Path | None,
    wait: bool,
    overrides: Sequence[Override],
    **choices: Any,
) -> int:
    """Begins an optimization, or goes on with the one in the folder."""
    from autodata.optimization import (  # with all of the optimizer
        OptimizationSession,
        planned,
        reviewed,
    )

    settings = with_task(load(config, overrides))
    if TASKS[settings.run.task or ""].procedure:
        raise SettingsError(
            f"{settings.run.task} has no prompt to improve: code writes and checks its questions, "
            "and what its solvers are told is locked"
        )
    for override in overrides:
        if override.source.startswith("--review") and settings.run.review == "before_accept":
            raise SettingsError(
                f"{override.source}: an optimization asks no person about examples; it takes "
                "before-keep"
            )
    console = screen()

    def taken_in(given: Sequence[str]) -> list[Document]:
        if not given:
            return []
        corpus = _corpus(given, settings)
        found = list(corpus)
        for file in corpus.skipped:
            console.print(f"skipped  {file}", style="yellow", soft_wrap=True)
        return found

    sides = {
        "training": taken_in(train),
        "validation": taken_in(validation),
        "test": taken_in(test),
    }
    settings, review = reviewed(settings)
    plan = planned(sides, {**choices, "review": review})
    session = OptimizationSession(RunFolder(out), settings, console, wait, plan)
    return session.begin([document for found in sides.values() for document in found])
