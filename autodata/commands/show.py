"""autodata status, show, redecide, quality, export and report: how a run stands, what happened,
what if, and what to take along."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodata.board.render import report
from autodata.graph.context import ROUNDS_FITTED
from autodata.graph.state import State, measuring, policy_of
from autodata.ledger.export import export, export_arms
from autodata.ledger.filters import ExportError, ExportOptions, left_out_line
from autodata.ledger.ledger import Ledger
from autodata.ledger.measurements import Confirmed, confirmed, measured, remeasurements
from autodata.ledger.packages import PUSHED, push_folder
from autodata.ledger.quality import (
    CountedShare,
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
    would_show,
)
from autodata.prompt_store.prompt import locked_text
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import (
    DECISION_STYLES,
    print_figures,
    print_rows,
    print_summary,
    print_table,
    screen,
    table,
)
from autodata.settings import Override, SettingsError, with_attempts
from autodata.storyboard import tell, tell_unreadable
from autodata.tasks.diversity import (
    Benchmark,
    Shingles,
    asked,
    near_duplicates,
    shingles,
)
from autodata.tasks.measured import Measurement
from autodata.tasks.measurement import Pairs, fit, newcombe_paired
from autodata.tasks.redecide import Confirm, Redecision, redecide
from autodata.tasks.types import Attempt

DECIDING = ("acceptance", "models")  # sections that decide: thresholds, and numbers of attempts
PASSED = {True: "passed again", False: "did not pass again"}
NUMBERS = ("rounds", "weak", "strong", "gap")
COLUMNS = ("document", "name", "outcome", *NUMBERS, "gap afresh", "objection")


def status(run: Path, as_json: bool, run_id: str | None) -> None:
    """Prints how a run stands; works while it runs, too."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        summary = summarize(ledger, run_id)
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


def show(run: Path, document: str | None, full: bool, run_id: str | None) -> None:
    """Prints all documents of a run as a table, or the story of one."""
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
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


def redecide_run(run: Path, overrides: Sequence[Override], run_id: str | None) -> None:
    """Prints what would be decided otherwise, and the counts."""
    for override in overrides:
        if override.key.partition(".")[0] not in DECIDING:
            raise SettingsError(
                f"{override.source}: no recorded score is decided otherwise by {override.key}; "
                "redecide takes keys of acceptance"
            )
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
        settings = folder.settings(row, overrides)
        choices = with_attempts(settings.choices, row.config)
        found = list(_redecided(ledger, row, State(task=row.task, choices=choices)))
    console = screen()
    flipped = [(outcome, new) for outcome, new in found if outcome.decision != new.decision]
    if flipped:
        print_table(console, _flips(flipped))
    for line in _compared(found):
        console.print(line, soft_wrap=True)
    if row.simulated:
        console.print(NOTICE, style="yellow", soft_wrap=True)


def _compared(found: Sequence[tuple[Outcome, Redecision]]) -> Iterator[str]:
    """The counts, the pass rates, and whether their difference may be chance."""
    before = Counter(outcome.decision for outcome, _ in found)
    after = Counter(new.decision for _, new in found)
    yield (
        f"{len(found)} decided documents: {before['accepted']} accepted as recorded; by these "
        f"thresholds {after['accepted']} accepted, {after['rejected']} rejected, "
        f"{after['open']} open"
    )
    seen = Counter(
        (outcome.decision == "accepted", new.decision == "accepted")
        for outcome, new in found
        if new.decision != "open"
    )
    pairs = Pairs(seen[True, True], seen[True, False], seen[False, True], seen[False, False])
    if pairs.documents < 2:
        return
    yield f"as recorded  {share(pairs.both + pairs.lost, pairs.documents)}"
    if pairs.lost or pairs.gained:
        yield f"by these     {share(pairs.both + pairs.gained, pairs.documents)}"
        yield f"difference   {_difference(pairs)}"


def _difference(pairs: Pairs) -> str:
    """In points, with its interval; where it may be chance, which one would show."""
    n, (low, high) = pairs.documents, newcombe_paired(pairs)
    points = f"{100 * (pairs.gained - pairs.lost) / n:+z.0f} points"
    found = f"{points} ({100 * low:+z.0f} to {100 * high:+z.0f})"
    if low > 0 or high < 0:
        return found
    fewer = (pairs.both + min(pairs.lost, pairs.gained)) / n
    return f"{found}, may be chance: {would_show(fewer, n)}"


def _redecided(ledger: Ledger, run: RunRow, state: State) -> Iterator[tuple[Outcome, Redecision]]:
    """Each decided document anew: under the prior with which it was begun, or, where it had none,
    under what all of the run looks like."""
    begun, measures, fresh = ledger.priors(run.id), measuring(state), state.choices.confirm
    confirm = Confirm(fresh, measures.bounds) if fresh else None
    prior = fit(ledger.scored(run.id, ROUNDS_FITTED), measures.noise, measures.prior)
    for outcome in outcomes(ledger, run.id):
        if outcome.decision in ("accepted", "rejected"):
            known = {"prior": begun.get(outcome.document_id, prior)}
            policy = policy_of(state.model_copy(update=known))
            yield outcome, redecide(policy, ledger.rounds(run.id, outcome.document_id), confirm)


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
    chosen = ExportOptions.of(**options)
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
            _may_push(ledger, form, run_id, push_simulated)
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


def _may_push(ledger: Ledger, form: str, run_id: str | None, simulated: bool) -> None:
    """Raises ExportError where the format is none for a hub, or where models were simulated and
    nobody said that this is meant."""
    if form not in PUSHED:
        raise ExportError(f"--push sends {' and '.join(PUSHED)}, and {form} is neither")
    runs = [ledger.run(run_id)] if run_id else ledger.runs_with_examples()
    if any(run.simulated for run in runs) and not simulated:
        raise ExportError(
            "the examples come from simulated models and are nothing to train on; "
            "--push-simulated sends them all the same"
        )


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _documents(count: int) -> str:
    return f"{count} document{'' if count == 1 else 's'}"


def write_report(run: Path, output: Path | None, run_id: str | None) -> None:
    """Writes the page of a run over documents or of an optimization."""
    folder, place = RunFolder(run).existing(), output or run / "report.html"
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
        if row.kind == "remeasurement":
            raise RunFolderError(
                f"{row.id} measures another run afresh; the report of that run shows what it found"
            )
        parts: Sequence[str] = ()
        if row.kind == "optimization":
            # It brings the optimizer and LangChain along, which take seconds to load.
            from autodata.optimizer.report import parts as parts_of

            parts = parts_of(ledger, row)
        text = report(ledger, row, folder.status(row), parts)
    place.write_bytes(text)
    screen().print(f"The report is in {place}", soft_wrap=True)


def tell_quality(runs: Sequence[Path], against: Sequence[Path], as_json: bool) -> None:
    """Prints what the examples of runs are as a set, across them where there are several, and
    which of them stand in a benchmark."""
    files = {path: read_benchmark_file(path) for path in against}
    told, names, texts = list[tuple[Path, RunRow, Quality]](), list[str](), list[Shingles]()
    overlaps: dict[Path, list[dict[str, Any]]] = {path: [] for path in files}
    for run in runs:
        with Ledger.open(RunFolder(run).existing().path, create=False) as ledger:
            rows = ledger.runs_with_examples() or [ledger.run()]
            examples = [one for row in rows for one in ledger.examples(row.id)]
            told.append((run, rows[-1], quality(ledger, [row.id for row in rows], examples)))
        names += [f"{run}: {one.id}" for one in examples]
        texts += [shingles(asked(one.candidate)) for one in examples]
        for path, benchmark in files.items():
            for one in contaminated(examples, benchmark):
                place = {"run": str(run), "example": examples[one.example].id}
                overlaps[path].append(place | {"item": one.item + 1, "words": one.words})
    pairs = near_duplicates(texts) if len(runs) > 1 else []
    across = [pair for pair in pairs if _run(names[pair.first]) != _run(names[pair.second])]
    repeats = CountedShare(found=len({pair.second for pair in across}), of=len(texts))
    if as_json:
        values: dict[str, Any] = {
            "runs": [{"run": str(run), "id": row.id, **found.plain()} for run, row, found in told],
            **(repeats.plain("across_runs") if len(runs) > 1 else {}),
            "benchmarks": {
                str(path): {"words_in_a_row": it.n, "items": it.items, "examples": overlaps[path]}
                for path, it in files.items()
            },
        }
        print(json.dumps(values, indent=2))
        return
    console = screen()
    for run, row, found in told:
        console.print(Text(f"{row.task} {run}: {found.examples} examples", style="bold"))
        print_rows(console, quality_rows(found))
    if len(runs) > 1:
        said = repeats.said("examples of all runs nearly repeat one of an earlier run")
        print_rows(console, [("across", said)])
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
    short = f"; {benchmark.too_short} of its {benchmark.items} items are shorter"
    yield "benchmark", share(len(found), examples, what) + short * bool(benchmark.too_short)
    for one in found:
        yield "", f"{one['run']}: {one['example']} (item {one['item']}): {one['words']}"
