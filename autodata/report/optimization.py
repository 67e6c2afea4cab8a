"""The report of an optimization: the curve, the family, what edits changed, what it all cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from autodata.ledger.iterations import Final, Iteration, finals, iterations
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import summarize
from autodata.optimization_screen import findings, rate, test_gain
from autodata.optimizer.evidence import moved, percent
from autodata.optimizer.population import made as evaluations_made
from autodata.optimizer.population import members
from autodata.optimizer.state import Plan
from autodata.report.curve import curve
from autodata.report.page import Html, page, paragraph, section, table
from autodata.screen import SIMULATED, cost

MOVED = 3  # rates that the table of kept edits shows, those that changed most


def report(ledger: Ledger, run: RunRow, status: str) -> Html:
    """The whole report, as one HTML document."""
    made, final = iterations(ledger, run.id), finals(ledger, run.id)
    said = findings(made, final)
    verdict = [said.pop()] if final else []
    return page(
        f"{run.task} optimization {run.id}: {status}",
        [
            *([paragraph(SIMULATED, "notice")] if run.simulated else []),
            *(paragraph(line) for line in said),
            *(paragraph(line, "verdict") for line in verdict),
            section(
                "Pass rate against iteration",
                curve(made, pooled(ledger, run, made)),
                paragraph(
                    "Filled: kept, at the pooled rate over all evaluations with its 95 % interval. "
                    "Hollow: rejected, at the rate reached when it could no longer win. The line "
                    "is the best pooled rate so far.",
                    "dim",
                ),
            ),
            section("Family", _tree(made)),
            section("What each kept edit changed", _kept(made), _how_to_read()),
            section("Predictions", _predictions(made)),
            section("Blocked and undecided", _blocked(made)),
            section("Checks of winners", _checks(made)),
            section("Final evaluation", _finals(made, final)),
            section("Cost", *_cost(ledger, run, final)),
        ],
    )


def pooled(ledger: Ledger, run: RunRow, made: Sequence[Iteration]) -> dict[int, tuple[int, int]]:
    """Harness → (accepted, decided) on the validation documents, over all its evaluations."""
    validation = set(Plan.model_validate(run.config["optimize"]).validation)
    found = {}
    for i in members(made):
        decisions = [
            decision
            for replicate in range(1, evaluations_made(made, i.number) + 1)
            for document, decision in ledger.outcomes(i.evaluation(replicate)).items()
            if document in validation
        ]
        found[i.number] = (decisions.count("accepted"), len(decisions))
    return found


def _tree(made: Sequence[Iteration]) -> Html:
    """The population by descent; each harness with how many of its mutants were not kept."""
    children: dict[int | None, list[Iteration]] = {}
    for i in members(made):
        children.setdefault(i.parent, []).append(i)
    lost = Counter(i.parent for i in made if i.decision not in ("start", "kept"))

    def branch(i: Iteration) -> Html:
        title = i.subject if i.number else "the start"
        more = f", {lost[i.number]} mutants not kept" if lost[i.number] else ""
        inner = "".join(map(branch, children.get(i.number, ())))
        label = escape(f"{i.number}: {title} ({percent(i.score)}{more})")
        return f"<li>{label}{f'<ul>{inner}</ul>' if inner else ''}</li>"

    return f'<ul class="tree">{"".join(map(branch, children.get(None, ())))}</ul>'


def _kept(made: Sequence[Iteration]) -> Html:
    rows = [
        (
            str(i.number),
            i.subject,
            f"{percent(i.parent_score)} → {percent(i.score)}",
            ", ".join(
                f"{name} {by:+.2f}"
                for name, by in list(moved(i.rates_before, i.rates_after).items())[:MOVED]
            ),
            i.predicts,
            i.outcome,
        )
        for i in made
        if i.decision == "kept"
    ]
    names = ("iteration", "edit", "score", "moved most", "predicted", "outcome")
    return table(names, rows, numbers=("iteration",))


def _how_to_read() -> Html:
    return paragraph(
        "Rates are per document, on the same validation documents before and after.", "dim"
    )


def _predictions(made: Sequence[Iteration]) -> Html:
    """How often editors foresaw what their edit would do, among kept and among rejected ones."""
    rows = []
    for decision in ("kept", "rejected"):
        seen = Counter(i.outcome for i in made if i.decision == decision and i.predicts)
        if seen:
            rows.append((decision, str(seen["came true"]), str(seen["did not"])))
    return table(("edits", "came true", "did not"), rows, numbers=("came true", "did not"))


def _blocked(made: Sequence[Iteration]) -> Html:
    rows = [
        (str(i.number), i.decision, i.subject, i.reason)
        for i in made
        if i.decision in ("invalid", "indecisive")
    ]
    return table(("iteration", "decision", "edit", "why"), rows, numbers=("iteration",))


def _checks(made: Sequence[Iteration]) -> Html:
    """The ruler: control questions, second judge, and accepted examples that did not count."""
    rows = []
    for i in made:
        judged: Mapping[str, int] = i.checks.get("second_judge", {})
        if not i.number or not i.checks:
            continue
        change = i.checks.get("control_change")
        marks = judged.get("marks", 0)
        differing = f"{judged.get('differing', 0)} of {marks}" if marks else "none marked"
        rows.append(
            (
                str(i.number),
                "not asked" if change is None else f"{change:+.2f}",
                differing,
                str(i.checks.get("doubted", 0)),
            )
        )
    names = ("iteration", "control questions", "second judge differs", "accepted but not counted")
    return table(names, rows, numbers=names)


def _finals(made: Sequence[Iteration], final: Sequence[Final]) -> Html:
    subjects = {i.number: i.subject or "the start" for i in made}
    rows = [
        (
            str(f.place) if f.place else "start",
            str(f.number),
            subjects.get(f.number, ""),
            f"{percent(rate(f.accepted, f.decided))} ({f.accepted} of {f.decided})",
            f"{f.test_accepted} of {f.test_decided}" if f.test_decided else "sealed",
        )
        for f in final
    ]
    names = ("place", "iteration", "edit", "validation, five times", "test, once")
    return table(names, rows, numbers=("iteration", "validation, five times", "test, once"))


def _cost(ledger: Ledger, run: RunRow, final: Sequence[Final]) -> list[Html]:
    """Calls by role, and what a point of pass rate cost."""
    summary = summarize(ledger, run.id)
    names = ("role", "calls", "tokens in", "tokens out")
    rows = [
        (role, f"{u.calls:,}", f"{u.input_tokens:,}", f"{u.output_tokens:,}")
        for role, u in summary.usage.items()
    ]
    spent = cost(summary.usd, run.models.values(), summary.estimated)
    lines = [f"{summary.calls:,} calls, {summary.tokens:,} tokens, {spent}."]
    winner = next((f for f in final if f.place == 1), None)
    start = next((f for f in final if f.number == 0), None)
    if winner and start and winner.test_decided and winner.number:
        points = 100 * test_gain(start, winner)[0]
        if points > 0:
            dollars = f", ${summary.usd / points:.2f}" if summary.usd else ""
            calls = f"{summary.calls / points:,.0f} calls"
            lines.append(f"Per point gained on the sealed test: {calls}{dollars}.")
        else:
            lines.append("No point was gained on the sealed test documents.")
    return [table(names, rows, numbers=names[1:]), *map(paragraph, lines)]
