"""Values and templates become pages, or one page to be read offline. All text is escaped, and shown
as text."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from autodata.board.pages import Html, Links, diff_lines, gate_of, story
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

SHORTENED_TO = 600  # characters of a text that are shown before the rest is asked for
LISTED, TOLD = 2_000, 200  # on an offline page: documents in the table, and stories told
SHOWN_AT_MOST = 100_000  # characters of a text that a page holds at all


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
