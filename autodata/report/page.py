"""The frame of every report, and the pieces that reports are made of. All text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

Html = str


def page(title: str, parts: Iterable[Html]) -> Html:
    """A whole document with these parts."""
    frame = files("autodata").joinpath("report/page.html").read_text(encoding="utf-8")
    return frame.replace("{title}", escape(title)).replace("{body}", "\n".join(parts))


def section(title: str, *parts: Html) -> Html:
    """A part with a heading; nothing when there is nothing in it."""
    inside = "\n".join(part for part in parts if part)
    return f"<section><h2>{escape(title)}</h2>\n{inside}</section>" if inside else ""


def paragraph(text: str, kind: str = "") -> Html:
    """A paragraph; `kind` is a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> Html:
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
