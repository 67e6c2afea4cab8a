"""What an optimization found, for the board: the curve, the family, what edits changed, the cost.

All text is escaped.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from math import inf

from autodata.ledger.iterations import Final, Iteration, finals, iterations
from autodata.ledger.ledger import Ledger
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import cost, summarize, within
from autodata.optimizer.acceptance import FinalVerdict, PassCount, Scoring, verdict
from autodata.optimizer.evidence import moved
from autodata.optimizer.finals import findings, parent_score_of, score_of, tested, validated
from autodata.optimizer.population import counts, members, pooled
from autodata.optimizer.state import Plan
from autodata.tasks.measurement import Interval

SCORED: Mapping[Scoring, str] = {
    "accepted": "The score is the pass rate: accepted documents of those tried.",
    "certainty": "The score counts each accepted document for its certainty: how likely the "
    "thresholds hold on its true scores, as all attempts say; below one half for nothing. On the "
    "sealed test such a document counts or does not.",
}
Linked = Callable[[int], str]  # the address of an iteration's page, empty where it has none
MOVED = 3  # rates that the table of kept edits shows, those that changed most


WIDTH, HEIGHT, LEFT, BOTTOM = 860, 320, 42, 30  # of the chart
COLORS = {"start": "best", "kept": "kept", "rejected": "rejected", "indecisive": "rejected"}


def parts(ledger: Ledger, run: RunRow, linked: Linked = lambda number: "") -> list[str]:
    """What the optimization found, as parts of a page; `linked` says where an iteration has one of
    its own."""
    made, final = iterations(ledger, run.id), finals(ledger, run.id)
    plan = Plan.model_validate(run.config["optimize"])
    known, documents = pooled(made, plan.rule), len(plan.validation)
    said = findings(made, final)
    last = [said.pop()] if final else []
    return [
        *(paragraph(line) for line in said),
        *(paragraph(line, "verdict") for line in last),
        section(
            "Score against iteration",
            curve(made, known, documents),
            paragraph(SCORED[plan.score], "dim"),
            paragraph(
                "Filled: kept, at the pooled score over all evaluations. Bars: 95 % intervals "
                f"for {documents} documents, since one tried again is no new document. "
                "Hollow: rejected, at the score reached when it could no longer win. The line "
                "is the best pooled score so far.",
                "dim",
            ),
        ),
        section("Family", _tree(made, known, documents, linked)),
        section("What each kept edit changed", _kept(made, known, documents), _how_to_read()),
        section("Predictions", _predictions(made)),
        section("Blocked and undecided", _blocked(made)),
        section("Checks of winners", _checks(made)),
        section("Final evaluation", _finals(made, final)),
        section("Cost", *_cost(ledger, run, final)),
    ]


def facts(run: RunRow, i: Iteration) -> list[tuple[str, str]]:
    """One iteration as rows of a name and what is said of it; empty where there is nothing."""
    documents = len(Plan.model_validate(run.config["optimize"]).validation)
    rates = [
        f"{name} {by:+.2f} per document"
        for name, by in moved(i.rates_before, i.rates_after).items()
    ]
    return [
        ("score", score_of(i, documents)),
        ("parent's score", parent_score_of(i, documents) if i.parent is not None else ""),
        ("decided", i.reason),
        ("cause", i.cause),
        ("intent", i.intent),
        ("predicted", f"{i.predicts}: {i.outcome}" if i.outcome else i.predicts),
        ("moved", ", ".join(rates[:MOVED])),
    ]


def _tree(
    made: Sequence[Iteration],
    known: Mapping[int, PassCount],
    documents: int,
    linked: Callable[[int], str],
) -> str:
    """The population by descent, at the pooled rates of the chart; each harness with how many of
    its mutants were not kept."""
    children: dict[int | None, list[Iteration]] = {}
    for i in members(made):
        children.setdefault(i.parent, []).append(i)
    lost = Counter(i.parent for i in made if i.decision not in ("start", "kept"))

    def branch(i: Iteration) -> str:
        title = i.subject if i.number else "the start"
        mutants = "1 mutant" if lost[i.number] == 1 else f"{lost[i.number]} mutants"
        more = f", {mutants} not kept" if lost[i.number] else ""
        inner = "".join(map(branch, children.get(i.number, ())))
        label, address = escape(f"{i.number}: {title}"), escape(linked(i.number))
        named = f'<a href="{address}">{label}</a>' if address else label
        said = escape(f" ({counts(known[i.number], documents)}{more})")
        return f"<li>{named}{said}{f'<ul>{inner}</ul>' if inner else ''}</li>"

    return f'<ul class="tree">{"".join(map(branch, children.get(None, ())))}</ul>'


def _kept(made: Sequence[Iteration], known: Mapping[int, PassCount], documents: int) -> str:
    rows = [
        (
            str(i.number),
            i.subject,
            f"{parent_score_of(i, documents)} → {score_of(i, documents)}",
            counts(known[i.number], documents),
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
    names = ("iteration", "edit", "when kept", "pooled", "moved most", "predicted", "outcome")
    return table(names, rows, numbers=("iteration",))


def _how_to_read() -> str:
    return paragraph(
        "When kept: the parent's pooled rate and the edit's first evaluation, which let it win and "
        "flatters it. Pooled: all its evaluations, as in the chart. What moved is per document, "
        "on the same validation documents before and after.",
        "dim",
    )


def _predictions(made: Sequence[Iteration]) -> str:
    """How often editors foresaw what their edit would do, among kept and among rejected ones."""
    rows = []
    for decision in ("kept", "rejected"):
        seen = Counter(i.outcome for i in made if i.decision == decision and i.predicts)
        if seen:
            rows.append((decision, str(seen["came true"]), str(seen["did not"])))
    return table(("edits", "came true", "did not"), rows, numbers=("came true", "did not"))


def _blocked(made: Sequence[Iteration]) -> str:
    rows = [
        (str(i.number), i.decision, i.subject, i.reason)
        for i in made
        if i.decision in ("invalid", "indecisive")
    ]
    return table(("iteration", "decision", "edit", "why"), rows, numbers=("iteration",))


def _checks(made: Sequence[Iteration]) -> str:
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


def _finals(made: Sequence[Iteration], final: Sequence[Final]) -> str:
    subjects = {i.number: i.subject or "the start" for i in made}
    rows = [
        (
            str(f.place) if f.place else "start",
            str(f.number),
            subjects.get(f.number, ""),
            validated(f),
            tested(f) if f.test_decided else "sealed",
        )
        for f in final
    ]
    names = ("place", "iteration", "edit", "validation, five times", "sealed test")
    return table(names, rows, numbers=("iteration", *names[3:]))


def _cost(ledger: Ledger, run: RunRow, final: Sequence[Final]) -> list[str]:
    """Calls by role, and what a point of pass rate cost."""
    summary = summarize(ledger, run.id)
    names = ("role", "calls", "tokens in", "tokens out")
    rows = [
        (role, f"{u.calls:,}", f"{u.input_tokens:,}", f"{u.output_tokens:,}")
        for role, u in summary.usage.items()
    ]
    spent = cost(summary.usd, run.models.values(), summary.estimated)
    lines = [f"{summary.calls:,} calls, {summary.tokens:,} tokens, {spent}."]
    said = verdict(final)
    if said.documents and said.gain > 0:
        dollars = f", {_per_point(summary.usd, said, '${:,.2f}'.format)}" if summary.usd else ""
        calls = _per_point(summary.calls, said, "{:,.0f}".format)
        unsure = (
            "" if said.finding == "better" else "; the verdict above says how sure that gain is"
        )
        lines.append(f"Per point gained on the sealed test: {calls} calls{dollars}{unsure}.")
    elif said.documents:
        lines.append("No point was gained on the sealed test documents.")
    return [table(names, rows, numbers=names[1:]), *map(paragraph, lines)]


def _per_point(spent: float, said: FinalVerdict, worded: Callable[[float], str]) -> str:
    """What a point of pass rate cost, as sure as the gain is."""
    low, high = said.interval
    interval = Interval(spent / (100 * high), spent / (100 * low) if low > 0 else inf)
    return f"{worded(spent / (100 * said.gain))}{within(interval, worded)}"


def curve(made: Sequence[Iteration], known: Mapping[int, PassCount], documents: int) -> str:
    """An SVG. `known` maps a harness to what it came to over all its evaluations; it is drawn there
    with the interval for so many documents, and a rejected mutant where it was stopped."""
    last = max((i.number for i in made), default=0)
    drawn = [_grid(last)]
    best: list[tuple[float, float]] = []
    for i in made:
        if i.score is None:
            continue
        if i.number not in known:
            drawn.append(_dot(i, _x(i.number, last), _y(i.score)))
            continue
        rate = float(known[i.number].score)
        x = _x(i.number, last)
        if interval := known[i.number].interval(documents):
            drawn.append(_bar(x, _y(interval.low), _y(interval.high)))
        drawn.append(_dot(i, x, _y(rate)))
        best.append((x, min(_y(rate), best[-1][1] if best else HEIGHT)))
    steps = "".join(f" H{x:.1f} V{y:.1f}" for x, y in best[1:])
    if best:
        start = f"M{best[0][0]:.1f} {best[0][1]:.1f}"
        path = f'<path d="{start}{steps} H{WIDTH - 8}" fill="none" stroke="var(--best)"/>'
        drawn.append(path)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="score against iteration">{"".join(drawn)}</svg>'
    )


def _x(number: int, last: int) -> float:
    return LEFT + 10 + (WIDTH - LEFT - 24) * number / max(last, 1)


def _y(rate: float) -> float:
    return (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 12) * rate


def _grid(last: int) -> str:
    lines = [
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{_y(r):.1f}" y2="{_y(r):.1f}" '
        f'stroke="var(--line)"/><text x="4" y="{_y(r) + 4:.1f}">{r:.0%}</text>'
        for r in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    step = max(last // 10, 1)
    lines += [
        f'<text x="{_x(n, last):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{n}</text>'
        for n in range(0, last + 1, step)
    ]
    return "".join(lines)


def _bar(x: float, low: float, high: float) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="var(--kept)" '
        'stroke-opacity="0.4"/>'
    )


def _dot(i: Iteration, x: float, y: float) -> str:
    color = f"var(--{COLORS.get(i.decision, 'invalid')})"
    fill = "none" if i.decision in ("rejected", "indecisive") else color
    label = escape(f"{i.number} {i.decision}: {i.subject or i.reason}")
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{fill}" stroke="{color}">'
        f"<title>{label}</title></circle>"
    )


def section(title: str, *parts: str) -> str:
    """A part with a heading; nothing when there is nothing in it."""
    inside = "\n".join(part for part in parts if part)
    return f"<section><h2>{escape(title)}</h2>\n{inside}</section>" if inside else ""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> str:
    """A table; the columns named in `numbers` are aligned to the right."""
    classes = [' class="number"' if name in numbers else "" for name in names]
    head = "".join(f"<th{c}>{escape(n)}</th>" for n, c in zip(names, classes, strict=True))
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{c}>{escape(cell)}</td>" for cell, c in zip(row, classes, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>" if body else ""
