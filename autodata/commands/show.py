"""autodata status, show, redecide, compare, quality, export, report: how a run stands, what
happened, what if, and what to take along."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodata.assembly import in_meaning
from autodata.board.render import comparison, comparison_notes, report
from autodata.graph.context import decide_anew
from autodata.graph.state import RunChoices, State, spelled_out, usual_values
from autodata.ledger.comparing import Column, RunFigures, run_figures, side_by_side
from autodata.ledger.export import export, export_arms
from autodata.ledger.filters import ExportError, ExportOptions, left_out_line
from autodata.ledger.ledger import Ledger
from autodata.ledger.measurements import Confirmed, confirmed, measured, remeasurements
from autodata.ledger.packages import check_push, push_folder
from autodata.ledger.quality import (
    Axis,
    Cell,
    CountedShare,
    Grid,
    Quality,
    contaminated,
    quality,
    quality_rows,
    read_benchmark_file,
)
from autodata.ledger.reviews import waiting_documents
from autodata.ledger.rows import Outcome, RunRow, confirmed_row
from autodata.ledger.summary import (
    NOTICE,
    Summary,
    harmless,
    number,
    outcomes,
    share,
    summarize,
)
from autodata.prompt_store.prompt import locked_text
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import (
    DECISION_STYLES,
    print_figures,
    print_grids,
    print_rows,
    print_side_by_side,
    print_summary,
    print_table,
    screen,
    table,
)
from autodata.settings import Override, SettingsError, changes, load, with_attempts
from autodata.storyboard import tell, tell_unreadable
from autodata.tasks import TASKS
from autodata.tasks.diversity import SEMANTIC, Benchmark, asked, near_duplicates, shingles
from autodata.tasks.measured import Measurement, Redecision, several
from autodata.tasks.task import Task
from autodata.tasks.types import Attempt

DECIDING = ("acceptance", "models")  # sections that decide: thresholds, and numbers of attempts
PASSED = {True: "passed again", False: "did not pass again"}
NUMBERS = ("rounds", "weak", "strong", "gap")
COLUMNS = ("document", "name", "outcome", *NUMBERS, "gap afresh", "objection")


def status(run: Path, as_json: bool, run_id: str | None) -> None:
    """Prints how a run stands; works while it runs, too."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        summary = summarize(ledger, _own(ledger, run_id).id)
        stands = folder.status(summary.run)
        if as_json:
            print(json.dumps(summary.plain() | {"status": stands}, indent=2))
        elif summary.run.kind == "optimization":
            # It brings the optimizer and LangChain along, which take seconds to load.
            from autodata.optimization import print_result

            print_result(screen(), ledger, summary.run, stands)
        else:
            print_summary(screen(), summary, stands)
            if others := [run.id for run in ledger.runs() if run.id != summary.run.id]:
                screen().print(f"Other runs here, for --run: {', '.join(others)}", soft_wrap=True)


def _own(ledger: Ledger, run_id: str | None) -> RunRow:
    """A run whose documents are its own. Raises RunFolderError, LedgerError."""
    row = ledger.run(run_id)
    if row.kind in ("remeasurement", "audit"):
        said = "is about another run's examples; that one's status and report show what it found"
        raise RunFolderError(f"{row.id} {said}")
    return row


def show(run: Path, document: str | None, full: bool, run_id: str | None) -> None:
    """Prints all documents of a run as a table, or the story of one."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        row = _own(ledger, run_id)
        found = outcomes(ledger, row.id)
        if document is None:
            _table(screen(), summarize(ledger, row.id), found, confirmed(ledger, row.id))
            return
        chosen = choose(found, document)
        story = ledger.rounds(row.id, chosen.document_id)
        if not story:
            waits = chosen.document_id in waiting_documents(ledger, row.id)
            more = f"; it waits for review: autodata review {run}" if waits else ""
            raise RunFolderError(f"{chosen.name} has no recorded round yet{more}")
        example = ledger.example(row.id, chosen.document_id)
        tell(screen(), row, ledger.document(chosen.document_id), story, example, full=full)
        for line in _afresh(ledger, row, chosen.document_id, story[-1].fresh):
            screen().print(line, soft_wrap=True)
        for (_, _, second), [one] in (
            ledger.audited(row.id, example.id) if example else {}
        ).items():
            screen().print(f"marked again by {second}: {one.said}", soft_wrap=True)
        tell_unreadable(screen(), ledger.unreadable(chosen.document_id), full=full)


def _afresh(
    ledger: Ledger, run: RunRow, document_id: str, fresh: Sequence[Attempt]
) -> Iterator[str]:
    """What attempts that the gate has not seen show of a document's example: those that confirmed
    it, and later ones, by the run's own models and by others."""
    own = confirmed(ledger, run.id).get(document_id)
    if own is None:
        return
    yield ""
    if fresh:
        said = scored(Confirmed(*confirmed_row(fresh).values()))
        yield f"confirmed by the gate on fresh attempts: {said}; these decided, too"
    if own.holds is None or own.by_gate:
        yield f"not measured afresh; `autodata remeasure {ledger.path.parent}` does it"
    else:
        yield f"measured afresh: {scored(own)}: {PASSED[own.holds]}"
    for other in remeasurements(ledger, run.id):
        for one in measured(ledger, other.id):
            if one.document_id == document_id and one.fresh.holds is not None:
                models = ", ".join(f"{role} {model}" for role, model in other.models.items())
                attempts = max(one.fresh.weak_attempts, one.fresh.strong_attempts)
                said = f"{scored(one.fresh)}: {PASSED[one.fresh.holds]}"
                yield f"  {attempts} attempts a side by {models}: {said}"


def scored(found: Confirmed | Measurement) -> str:
    """`weak 0.30, strong 0.71, gap 0.41`."""
    return f"weak {number(found.weak)}, strong {number(found.strong)}, gap {number(found.gap)}"


def choose(found: Sequence[Outcome], wanted: str) -> Outcome:
    """The one document that is meant. Raises RunFolderError."""
    exact = [o for o in found if o.name == wanted]
    by_id = [o for o in found if o.document_id.startswith(wanted.partition("-r")[0])]
    by_name = [o for o in found if wanted.casefold() in o.name.casefold()]
    meant = exact or by_id or by_name
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise RunFolderError(f"no document of this run is called {wanted!r}, by id or by name")
    several = "".join(f"\n  {o.document_id}  {o.name}" for o in meant)
    raise RunFolderError(f"{wanted!r} may be any of these:{several}")


def _table(
    console: Console,
    summary: Summary,
    found: Sequence[Outcome],
    afresh: Mapping[str, Confirmed],
) -> None:
    made = table(*COLUMNS, numbers=NUMBERS, wrapped=("name",))
    for outcome in found:
        decision = outcome.decision or "undecided"
        scores = (outcome.weak_mean, outcome.strong_mean, outcome.gap)
        made.add_row(
            outcome.document_id[:8],
            harmless(outcome.name),
            Text(decision, style=DECISION_STYLES[decision]),
            "" if outcome.rounds is None else str(outcome.rounds),
            *(number(score) if outcome.decision else "" for score in scores),
            _again(afresh.get(outcome.document_id)),
            outcome.code or "",
        )
    print_table(console, made)
    print_figures(console, summary)
    if summary.run.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)


def _again(found: Confirmed | None) -> str:
    """The gap that fresh attempts show, and whether it is enough; empty without an example."""
    if found is None:
        return ""
    if found.holds is None or found.by_gate:
        return "not measured"
    return f"{number(found.gap)} {PASSED[found.holds]}"


def redecide_run(
    run: Path,
    overrides: Sequence[Override],
    presets: Sequence[str],
    grid: bool,
    as_json: bool,
    run_id: str | None,
) -> None:
    """Prints what would be decided otherwise, and the counts; or, of several presets or over a grid
    of thresholds, how many would be accepted and with what gap."""
    for override in overrides:
        if override.key.partition(".")[0] not in DECIDING:
            raise SettingsError(
                f"{override.source}: no recorded score is decided otherwise by {override.key}; "
                "redecide takes keys of acceptance"
            )
    folder, console = RunFolder(run).existing(), screen()
    fixed, axes = _axes(overrides)
    bases = [[Override("acceptance.preset", name, f"--preset {name}")] for name in presets] or [[]]
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
        tried = [_grid(folder, row, [*base, *fixed], axes, fill=grid) for base in bases]
        grids = [made for made, _ in tried]
        cells = [cell for made in grids for cell in made.cells]
        decide_anew(ledger, row.id, cells, [state for _, states in tried for state in states])
    if as_json:
        said = {"run": row.id, "task": row.task, "simulated": row.simulated}
        print(json.dumps(said | {"grids": [made.plain() for made in grids]}, indent=2))
        return
    if len(cells) == 1:
        _print_redecided(console, cells[0])
    else:
        print_grids(console, grids)
    if row.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)


# Of many thresholds at once.

THRESHOLDS = "acceptance"  # the section that holds them


def _axes(overrides: Sequence[Override]) -> tuple[list[Override], list[Override]]:
    """The settings with one value, and those with several, in a tuple. Raises SettingsError."""
    fixed, axes = list[Override](), list[Override]()
    for override in overrides:
        try:
            values = several(override.value)
        except ValueError as error:
            raise SettingsError(f"{override.source}: {error}") from error
        if values is None:
            fixed.append(override)
        elif not override.key.startswith(f"{THRESHOLDS}."):
            raise SettingsError(
                f"{override.source}: only keys of {THRESHOLDS} may have several values"
            )
        else:
            axes.append(replace(override, value=values))
    if len({axis.key for axis in axes}) < len(axes):
        raise SettingsError(f"{axes[-1].source}: it has several values already; give one list")
    if len(axes) > 2:
        raise SettingsError(
            f"{axes[2].source}: a table has two sides; two keys may have several values"
        )
    return fixed, axes


def _grid(
    folder: RunFolder,
    run: RunRow,
    fixed: Sequence[Override],
    several: Sequence[Override],
    *,
    fill: bool,
) -> tuple[Grid, list[State]]:
    """The thresholds to try, on the usual axes where the grid is to be filled, and what decides in
    each cell. Raises SettingsError."""

    def state(*overrides: Override) -> State:
        settings = folder.settings(run, [*fixed, *overrides])
        return State(task=run.task, choices=with_attempts(settings.choices, run.config))

    choices, task = state().choices, TASKS[run.task]
    if fill:
        several = [*several, *_usual(task, choices, several)]
    own, axes = spelled_out(task, choices), list[Axis]()
    for given in several:
        key = given.key.removeprefix(f"{THRESHOLDS}.")
        tried = [state(replace(given, value=value)).choices for value in given.value]
        if any(key in task.unread(one) for one in tried):
            raise SettingsError(f"{given.source}: {task.name} decides without {given.key}")
        axes.append(Axis(key, given.value, getattr(own, key)))
    at = list(product(*(axis.values for axis in axes)))
    states = [
        state(*(replace(one, value=value) for one, value in zip(several, values, strict=True)))
        for values in at
    ]
    return Grid(choices.preset, axes, [Cell(values) for values in at]), states


def _usual(task: Task, choices: RunChoices, given: Sequence[Override]) -> list[Override]:
    """What fills up a grid that has fewer than two sides. Raises SettingsError for nothing."""
    usual, known = usual_values(task, choices), {override.key for override in given}
    if not usual and len(given) < 2:
        raise SettingsError(f"--grid: {task.name} decides without thresholds of weak and strong")
    made = [Override(f"{THRESHOLDS}.{key}", values, "--grid") for key, values in usual.items()]
    return [one for one in made if one.key not in known][: 2 - len(given)]


def _print_redecided(console: Console, cell: Cell) -> None:
    flipped = [(outcome, new) for outcome, new in cell.found if outcome.decision != new.decision]
    if flipped:
        print_table(console, _flips(flipped))
    for line in cell.compared():
        console.print(line, soft_wrap=True)


def _flips(flipped: list[tuple[Outcome, Redecision]]) -> Table:
    columns = ("document", "name", "was", "would be", "round", "because")
    made = table(*columns, numbers=("round",), wrapped=("name", "because"))
    for outcome, new in flipped:
        was = outcome.decision or ""
        made.add_row(
            outcome.document_id[:8], outcome.name, was, new.decision, str(new.round), new.reason
        )
    return made


def export_examples(
    run: Path,
    form: str,
    output: Path | None,
    run_id: str | None,
    push: str | None,
    public: bool,
    push_simulated: bool,
    length_arms: Path | None = None,
    **options: Any,
) -> None:
    """Writes the accepted examples that the options choose, and a card beside; sends them on. Or
    writes the four arms of the length test."""
    chosen = ExportOptions.of(arms=bool(length_arms), **options)
    if not push and (public or push_simulated):
        what = "--public" if public else "--push-simulated"
        raise ExportError(f"{what} says how --push sends; name USER/NAME with --push")
    folder = RunFolder(run).existing()
    for other in filter(None, (chosen.match_lengths, length_arms)):
        RunFolder(other).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        if length_arms:
            if push:
                raise ExportError("the arms of the length test are not pushed; leave --push away")
            place = output or run / "length-arms"
            arms = export_arms(ledger, length_arms, form, place, run_id, chosen)
            said = [f"{_rows(arms.rows)} in {path}" for path in arms.paths]
            screen().print("\n".join([*said, f"read {arms.readme}"]), soft_wrap=True)
            return
        if push:
            check_push(ledger, form, run_id, push_simulated)
        written = export(ledger, form, output, run_id, chosen, locked_text)
    said = [f"{_rows(written.rows)} in {written.path}"]
    if written.test:
        said = [
            f"{said[0]}, from {_documents(written.documents)}",
            f"{_rows(written.test_rows)} in {written.test}, from "
            f"{_documents(written.test_documents)}",
        ]
    if written.left_out:
        said.append(f"left out: {left_out_line(written.left_out)}")
    if written.bins:
        drawn = ", ".join(f"{bin.taken} of {bin.found} with {bin} words" for bin in written.bins)
        said.append(f"drawn: {drawn}")
    screen().print("\n".join([*said, f"dataset card in {written.card}"]), soft_wrap=True)
    if push:
        screen().print(f"sent to {push_folder(written.path, push, public=public)}", soft_wrap=True)


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _documents(count: int) -> str:
    return f"{count} document{'' if count == 1 else 's'}"


def write_report(run: Path, output: Path | None, run_id: str | None) -> None:
    """Writes the page of a run over documents or of an optimization."""
    folder, place = RunFolder(run).existing(), output or run / "report.html"
    with Ledger.open(folder.path, create=False) as ledger:
        row = _own(ledger, run_id)
        parts: Sequence[str] = ()
        if row.kind == "optimization":
            # It brings the optimizer and LangChain along, which take seconds to load.
            from autodata.optimizer.report import parts as parts_of

            parts = parts_of(ledger, row)
        text = report(ledger, row, folder.status(row), parts)
    place.write_bytes(text)
    screen().print(f"The report is in {place}", soft_wrap=True)


def tell_quality(
    runs: Sequence[Path],
    against: Sequence[Path],
    as_json: bool,
    embeddings: bool,
    cosine: float | None,
    config: Path | None,
) -> None:
    """Prints what the examples of runs are as a set, across them where there are several, which
    of them stand in a benchmark, and, where asked, which are alike by their embeddings."""
    if len({run.resolve() for run in runs}) < len(runs):
        raise RunFolderError("a run is named twice; name each once")
    files = {path: read_benchmark_file(path) for path in against}
    told, names, texts = list[tuple[Path, RunRow, Quality]](), list[str](), list[str]()
    overlaps: dict[Path, list[dict[str, Any]]] = {path: [] for path in files}
    for run in runs:
        with Ledger.open(RunFolder(run).existing().path, create=False) as ledger:
            rows = ledger.runs_with_examples() or [ledger.run()]
            examples = [one for row in rows for one in ledger.examples(row.id)]
            told.append((run, rows[-1], quality(ledger, [row.id for row in rows], examples)))
        names += [f"{run}: {one.id}" for one in examples]
        texts += [asked(one.candidate) for one in examples]
        for path, benchmark in files.items():
            for one in contaminated(examples, benchmark):
                place = {"run": str(run), "example": examples[one.example].id}
                overlaps[path].append(place | {"item": one.item + 1, "words": one.words})
    meant = None
    if embeddings or cosine:
        named = [(Path(_run(name)), text) for name, text in zip(names, texts, strict=True)]
        meant = in_meaning(load(config), named, cosine or SEMANTIC)
    pairs = near_duplicates(list(map(shingles, texts))) if len(runs) > 1 else []
    across = [pair for pair in pairs if _run(names[pair.first]) != _run(names[pair.second])]
    repeats = CountedShare(found=len({pair.second for pair in across}), of=len(texts))
    if as_json:
        values: dict[str, Any] = {
            "runs": [{"run": str(run), "id": row.id, **found.plain()} for run, row, found in told],
            **(repeats.plain("across_runs") if len(runs) > 1 else {}),
            **({"in_meaning": meant.plain(names)} if meant else {}),
            "benchmarks": {
                str(path): {"words_in_a_row": it.n, "items": it.items, "examples": overlaps[path]}
                for path, it in files.items()
            },
        }
        print(json.dumps(values, indent=2))
        return
    console = screen()
    for run, row, found in told:
        of = f"{found.examples} example{'' if found.examples == 1 else 's'}"
        console.print(Text(f"{row.task} {run}: {of}", style="bold"))
        print_rows(console, quality_rows(found))
    if len(runs) > 1:
        said = repeats.said("examples of all runs nearly repeat one of an earlier run")
        print_rows(console, [("across", said)])
    if meant:
        print_rows(console, [("in meaning", meant.said)])
    for path, benchmark in files.items():
        print_rows(console, _contamination(path, benchmark, overlaps[path], len(texts)))
    if any(row.simulated for _, row, _ in told):
        console.print(NOTICE, style="yellow", soft_wrap=True)


def _run(name: str) -> str:
    return name.rpartition(": ")[0]


def _contamination(
    path: Path, benchmark: Benchmark, found: Sequence[dict[str, Any]], examples: int
) -> Iterator[tuple[str, str]]:
    """Which examples share words with a benchmark file, each with these words."""
    what = f"examples share {benchmark.n} words in a row with {path.name}"
    short = f"; {benchmark.too_short} of its {benchmark.items} items are too short to be found"
    yield "benchmark", share(len(found), examples, what) + short * bool(benchmark.too_short)
    for one in found:
        yield "", f"{one['run']}: {one['example']} (item {one['item']}): {one['words']}"


# Several runs.

DIFFER_AT_MOST = 8  # settings that are listed where two runs have others


def compare(
    runs: Sequence[Path], run_ids: Sequence[str], as_json: bool, output: Path | None
) -> None:
    """Prints the table, or the JSON object; writes the page where a file is named."""
    columns = _columns(runs, run_ids)
    first, *others = (column.figures.run for column in columns)
    differing = [_other_settings(first, other) for other in others]
    found = side_by_side(columns, list(comparison_notes(columns, differing)))
    if output:
        output.write_bytes(comparison(found))
    if as_json:
        print(json.dumps(found.plain(), indent=2))
        return
    if not output:
        print_side_by_side(screen(), found)
    else:
        screen().print(f"The page is in {output}", soft_wrap=True)


# Which runs.


def _columns(places: Sequence[Path], run_ids: Sequence[str]) -> list[Column]:
    """The runs that are meant, by folder. Raises RunFolderError, LedgerError."""
    found: list[tuple[Path, str, RunFigures]] = []
    missing = dict.fromkeys(run_ids)
    seen: set[tuple[Path, str]] = set()
    for place in places:
        folder = RunFolder(place).existing()
        with Ledger.open(folder.path, create=False) as ledger:
            for run in _meant(ledger, place, run_ids):
                if (key := (place.resolve(), run.id)) in seen:
                    raise RunFolderError(f"{place} is named twice; name each run once")
                seen.add(key)
                missing.pop(run.id, None)
                found.append((place, folder.status(run), run_figures(ledger, run)))
    for run_id in missing:
        raise RunFolderError(f"none of these folders holds a run {run_id}")
    if not 2 <= len(found) <= len(ascii_uppercase):
        raise RunFolderError(
            f"{len(found)} run{' is' if len(found) == 1 else 's are'} named; compare takes two or "
            f"more, up to {len(ascii_uppercase)}"
        )
    _of_one_task([(place, figures.run) for place, _, figures in found])
    first = found[0][2]
    return [
        Column(letter, place, stands, figures if figures is first else figures.named_as(first))
        for letter, (place, stands, figures) in zip(ascii_uppercase, found, strict=False)
    ]


def _meant(ledger: Ledger, place: Path, run_ids: Sequence[str]) -> list[RunRow]:
    """The named runs of a folder, or its only one."""
    held = {run.id: run for run in ledger.runs()}
    own = {id: run for id, run in held.items() if run.kind == "documents"}
    if held and not own:
        raise RunFolderError(
            f"{place} holds an optimization of prompts, which makes no examples; name folders of "
            "runs over documents"
        )
    named = [own[id] for id in dict.fromkeys(run_ids) if id in own]
    if named or len(own) == 1:
        return named or list(own.values())
    if not own:
        return [ledger.run()]  # which says what is wrong
    listed = "".join(f"\n  {id}" for id in own)
    raise RunFolderError(
        f"{place} holds {len(own)} runs; say which with --run ID, once for each:{listed}"
    )


def _of_one_task(found: Sequence[tuple[Path, RunRow]]) -> None:
    place, run = found[0]
    for other_place, other in found[1:]:
        if other.task != run.task:
            raise RunFolderError(
                f"{place} is a {run.task} run and {other_place} a {other.task} run: their scores "
                "follow other rules, so that no difference would mean anything; name runs of one "
                "task"
            )


# What is said of them.


def _other_settings(first: RunRow, other: RunRow) -> str:
    """What shapes the examples of one otherwise than those of the other."""
    found = changes(first.config, other.config)
    if first.prompts_revision != other.prompts_revision:
        found.append(f"prompts {first.prompts_revision} → {other.prompts_revision}")
    found += [
        f"{role} {model} → {other.models[role]}"
        for role, model in first.models.items()
        if other.models.get(role, model) != model
    ]
    found = [said for said in found if not said.startswith(("prompts.revision", "run.seed"))]
    more = len(found) - DIFFER_AT_MOST
    return "; ".join(found[:DIFFER_AT_MOST]) + (f"; and {more} more" if more > 0 else "")
