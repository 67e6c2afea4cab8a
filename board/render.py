"""Values and templates become pages, or one page to be read offline. All text is escaped, and shown
as text."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from autodata.board.pages import Html, Links, diff_lines, gate_of, story
from autodata.ledger.comparing import (
    Column,
    Line,
    RunDifference,
    SideBySide,
    difference_in_words,
    direction_in_words,
    figure_in_words,
    of_documents,
    shows_from,
)
from autodata.ledger.ledger import Ledger
from autodata.ledger.listing import count_outcomes, list_outcomes
from autodata.ledger.quality import quality, quality_rows
from autodata.ledger.rows import RunRow
from autodata.ledger.summary import (
    NOTICE,
    estimate,
    harmless,
    number,
    rounds,
    share,
    summarize,
    summary_rows,
)
from autodata.tasks.measurement import MIN_PAIRS

SHORTENED_TO = 600  # characters of a text that are shown before the rest is asked for
LISTED, TOLD = 2_000, 200  # on an offline page: documents in the table, and stories told
SHOWN_AT_MOST = 100_000  # characters of a text that a page holds at all

FRESH_NOTES = {
    "remeasured": "on attempts that no gate has seen",
    "gate": "on the fresh attempts by which the gate confirmed them: these decided, too, so that "
    "they flatter, if less",
    "no gate": "as shown: it is a baseline, where no gate chose by the attempts",
    "nothing": "not measured",
}


@cache
def environment() -> Environment:
    """The templates, and the words that they share with the screens."""
    made = Environment(
        loader=PackageLoader("autodata.board"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters |= {
        "number": number,
        "rounds": rounds,
        "share": _share,
        "diff_lines": diff_lines,
        "time": lambda text: text[:19].replace("T", " "),
        "head": _head,
        "rest": lambda text: text[len(_head(text)) : SHOWN_AT_MOST],
    }
    made.globals |= {
        "NOTICE": NOTICE,
        "SHOWN_AT_MOST": SHOWN_AT_MOST,
        "rows": summary_rows,
        "estimate": estimate,
        "styles": lambda: Markup(static("board.css")),
        "html": Markup,
        "same_page": _same_page,
    }
    return made


def page(template: str, values: Mapping[str, Any]) -> bytes:
    """A page, as it is sent or written."""
    return environment().get_template(template).render(values).encode("utf-8", "replace")


def report(ledger: Ledger, run: RunRow, stands: str, parts: Sequence[Html] = ()) -> bytes:
    """The page of a run over documents, or of an optimization with the `parts` of its findings."""
    values: dict[str, Any] = {
        "root": "",
        "here": "",
        "offline": True,
        "events": "",
        "run": run,
        "stands": stands,
        "links": Links("", offline=True),
        "parts": parts,
    }
    if run.kind != "optimization":
        found, _ = list_outcomes(ledger, run, limit=LISTED)
        told = [outcome.document_id for outcome in found if outcome.decision][:TOLD]
        values |= {
            "summary": summarize(ledger, run.id),
            "counts": count_outcomes(ledger, run),
            "gate": gate_of(run.task, run.config),
            "found": found,
            "told": frozenset(told),
            "quality": list(quality_rows(quality(ledger, [run.id]))),
            "waiting": {},
            "stories": [story(ledger, run, id) for id in told],
        }
    return page("report.html", values)


class Whisker(NamedTuple):
    """A difference as it is drawn, 0 … 100 across, no difference in the middle."""

    low: float
    value: float
    high: float


def _whisker(found: RunDifference) -> Whisker | None:
    if found.interval is None:
        return None
    ends = [abs(end) for end in (found.value, *found.interval) if isfinite(end)]
    widest = max(ends)
    if not widest:
        return None
    low, value, high = (
        50 + 48 * max(min(at / widest, 1.0), -1.0)
        for at in (found.interval.low, found.value, found.interval.high)
    )
    return Whisker(low, value, high)


def _cells(line: Line) -> list[str]:
    return [figure_in_words(line.measure, figure) for figure in line.figures]


def comparison(found: SideBySide) -> bytes:
    """The page of runs side by side."""
    first, *others = found.columns
    sections = [
        {
            "title": f"{other.letter} less {first.letter}",
            "groups": [
                (
                    group,
                    [
                        (
                            line.measure.said,
                            difference_in_words(line.measure, one),
                            _whisker(one),
                            of_documents(one),
                            shows_from(line.measure, one),
                            direction_in_words(one),
                        )
                        for line in lines
                        if (one := line.differences[at])
                    ],
                )
                for group, lines in found.groups()
            ],
        }
        for at, other in enumerate(others)
    ]
    values = {
        "root": "",
        "offline": True,
        "events": "",
        "task": first.figures.run.task,
        "columns": [(c.letter, str(c.place), c.said) for c in found.columns],
        "simulated": found.simulated,
        "groups": [
            (group, [(line.measure.said, _cells(line)) for line in lines])
            for group, lines in found.groups()
        ],
        "sections": sections,
        "notes": found.notes,
        "version": first.figures.run.version,
    }
    return page("compare.html", values)


def comparison_notes(columns: Sequence[Column], differing: Sequence[str]) -> Iterator[str]:
    """What a reader of the figures must know, most of it of one of the runs."""
    first, *others = columns
    for column in columns:
        figures = column.figures
        if figures.documents["accepted"]:
            said = FRESH_NOTES[figures.fresh_from]
            more = f"; `autodata remeasure {column.place}` does it"
            yield (
                f"{column.letter} afresh: {said}{more if figures.fresh_from == 'nothing' else ''}"
            )
        if undecided := figures.documents["undecided"]:
            yield (
                f"{column.letter}: undecided documents, which count nowhere: {undecided}. Those "
                "that take fewest rounds are decided first, so that its figures may flatter"
            )
        if any(len(parts) == 1 for parts in figures.parts.values()):
            yield (
                f"{column.letter}: a figure of one document has no interval: nothing shows by how "
                "much another one would differ"
            )
        if figures.other_runs:
            yield (
                f"{column.letter}: its folder holds {figures.other_runs + 1} runs, whose calls the "
                "costs count together"
            )
        if figures.estimated:
            yield f"{column.letter}: tokens of {figures.estimated} calls are taken at their most"
        if figures.documents["accepted"] and not figures.parts["usd"]:
            yield f"{column.letter}: the price of a model is unknown; state it under `prices`"
    if any(not column.figures.run.baseline for column in columns):
        yield (
            "As shown: on the attempts that let an example in. Where a gate chose by them they "
            "flatter, so that such runs are compared afresh, or as all attempts let one estimate "
            "true scores"
        )
    yield ("In last rounds: of all decided documents, accepted or not, as far as a side was asked")
    for other, said in zip(others, differing, strict=True):
        if said:
            yield f"{other.letter} has other settings than {first.letter}: {said}"
    yield (
        f"Intervals are of 95 %, by document; paired: of the documents that both have. Of fewer "
        f"than {MIN_PAIRS} nothing is told. Of so many lines, one in twenty differs by chance"
    )


def static(name: str) -> str:
    """A file that pages load."""
    return files("autodata.board").joinpath("static", name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """What is written of a value: control characters are made visible."""
    return harmless(value) if type(value) is str else value


def _share(counted: tuple[int, int], what: str = "accepted") -> str:
    return share(*counted, what)


def _head(text: str) -> str:
    """The beginning of a text, all of it where little is left; it ends between words."""
    if len(text) <= SHORTENED_TO + SHORTENED_TO // 4:
        return text
    return text[: text.rfind(" ", SHORTENED_TO // 2, SHORTENED_TO) + 1] or text[:SHORTENED_TO]


@pass_context
def _same_page(context: Context, **changed: Any) -> str:
    """The address of this list with something else asked for; from its first page unless stated."""
    asked: dict[str, Any] = {**context["asked"], "page": "", **changed}
    address: str = context["links"].page(context["tab"], **asked)
    return address
