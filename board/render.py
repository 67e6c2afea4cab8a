"""Values and templates become pages. All text is escaped, and shown as text."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from autodata.board.pages import diff_lines, sides
from autodata.ledger.summary import (
    NOTICE,
    harmless,
    number,
    rounds,
    share,
    summary_rows,
    within,
)
from autodata.tasks.measurement import Interval

SHORTENED_TO = 600  # characters of a text that are shown before the rest is asked for
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
        "sides": sides,
        "rows": summary_rows,
        "estimate": _estimate,
        "styles": lambda: Markup(static("board.css")),
        "html": Markup,
        "same_page": _same_page,
    }
    return made


def page(template: str, values: Mapping[str, Any]) -> bytes:
    """A page, as it is sent or written."""
    return environment().get_template(template).render(values).encode("utf-8", "replace")


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


def _estimate(mean: float | None, low: float | None, high: float | None) -> str:
    interval = None if low is None or high is None else Interval(low, high)
    return f"{number(mean)}{within(interval)}"


@pass_context
def _same_page(context: Context, **changed: Any) -> str:
    """The address of this list with something else asked for; from its first page unless stated."""
    asked: dict[str, Any] = {**context["asked"], "page": "", **changed}
    address: str = context["links"].page(context["tab"], **asked)
    return address
