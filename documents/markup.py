"""Markdown and reStructuredText as plain Markdown: headings, prose, code and maths, no debris."""

import re
from collections.abc import Callable
from textwrap import dedent

_FENCE = re.compile(
    r"^ *(`{3,}|~{3,})[^\n]*\n.*?(?:^ *\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_YAML_FRONT = re.compile(r"\A---\n(.*?\n)(?:---|\.\.\.)[ \t]*\n", re.DOTALL)
_FIELD_FRONT = re.compile(r"\A(?:[A-Za-z][\w -]{0,30}:[^\n]*\n(?:[ \t]+\S[^\n]*\n)*){2,}")
_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE | re.IGNORECASE)


def markdown(text: str) -> str:
    """Markdown without front matter, comments, link targets and picture addresses."""
    return outside_code(_front_matter(text), _plain_markdown)


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with everything but its fenced code blocks changed."""
    pieces, at = [], 0
    for fence in _FENCE.finditer(text):
        pieces += [change(text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*pieces, change(text[at:])])


def _front_matter(text: str) -> str:
    """The text with its leading fields (YAML or `Key: value` lines) reduced to a title."""
    front = _YAML_FRONT.match(text) or _FIELD_FRONT.match(text)
    title = _TITLE.search(front[0]) if front else None
    if front is None or (title is None and not front[0].startswith("---")):
        return text
    rest = text[front.end() :]
    return f"# {title[1]}\n\n{rest}" if title and not re.search(r"^# ", rest, re.M) else rest


_MARKDOWN_DEBRIS = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"^\s*-->\s*$", re.MULTILINE), ""),
    (re.compile(r"!\[([^\]\n]+)\]\([^)\s]*(?: [^)]*)?\)"), r"[Figure: \1]"),
    (re.compile(r"!\[\]\([^)\n]*\)"), ""),
    (
        re.compile(
            r"(?<![!\w])\[([^\[\]]{1,500})\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"]*\")?\)"
        ),
        r"\1",
    ),
    (re.compile(r"^ {0,3}\[[^\]\n^]+\]:[ \t]*\S+[^\n]*$", re.MULTILINE), ""),
    (re.compile(r"^ *</?[a-z][^<>\n]*>(?:</[a-z]+>)? *$", re.MULTILINE), ""),
    (re.compile(r"(?:(?<=\n\n)|\A)(\S[^\n]*)\n={3,}[ \t]*$", re.MULTILINE), r"# \1"),
    (re.compile(r"(?:(?<=\n\n)|\A)(\S[^\n]*)\n-{3,}[ \t]*$", re.MULTILINE), r"## \1"),
)


def _plain_markdown(text: str) -> str:
    for pattern, replacement in _MARKDOWN_DEBRIS:
        text = pattern.sub(replacement, text)
    return text


def rst(text: str) -> str:
    """reStructuredText as Markdown; comments, targets, footnotes and pictures are dropped."""
    lines = _rst_headings(_front_matter(text)).splitlines()
    return outside_code("\n".join(_blocks(lines)), _plain_rst)


def _plain_rst(text: str) -> str:
    return re.sub(r"(?<=\S)::[ \t]*$", ":", _RST_INLINE.sub(_inline, text), flags=re.MULTILINE)


_MARKER = re.compile(r"( *)\.\.(?: (?:([\w-]+)::)?[ \t]*(.*))?$")
_CODE = {"code", "code-block", "sourcecode", "parsed-literal"}
_PROSE = {
    "note", "warning", "tip", "hint", "important", "caution", "attention", "danger", "admonition",
    "topic", "seealso", "list-table", "table", "csv-table", "epigraph", "rubric", "sidebar",
}  # fmt: skip


def _blocks(lines: list[str]) -> list[str]:
    """The lines with each explicit block (`.. something`) converted or left out."""
    kept: list[str] = []
    at = 0
    while at < len(lines):
        marker = _MARKER.match(lines[at])
        if marker is None:
            kept.append(lines[at])
            at += 1
            continue
        end = at + 1
        while end < len(lines) and _belongs(lines[end], len(marker[1])):
            end += 1
        kept += ["", *_directive(marker[2], marker[3] or "", lines[at + 1 : end]), ""]
        at = end
    return kept


def _belongs(line: str, indent: int) -> bool:
    return not line.strip() or len(line) - len(line.lstrip()) > indent


def _directive(name: str | None, argument: str, body: list[str]) -> list[str]:
    content = dedent("\n".join(body)).strip("\n")
    content = re.sub(r"\A(?::[\w-]+:[^\n]*\n?)+", "", content).strip("\n")
    if name in _CODE:
        return [f"```{argument}", content, "```"]
    if name == "math":
        return ["$$", f"{argument}\n{content}".strip(), "$$"]
    if name in _PROSE:
        return [argument, *_blocks(content.splitlines())]
    return []


_UNDERLINED = re.compile(
    r"(?:(?<=\n)|\A)(?:([^\w\s`])\1{2,}\n[ \t]*)?(\S[^\n]*)\n(([^\w\s`])\4{2,})[ \t]*(?=\n|\Z)"
)


def _rst_headings(text: str) -> str:
    levels: list[str] = []

    def heading(match: re.Match[str]) -> str:
        over, title, line, under = match.groups()
        style = (over or "") + under
        if over not in (None, under) or len(line) < len(title.rstrip()):
            return match[0]
        if style not in levels:
            levels.append(style)
        return f"{'#' * min(levels.index(style) + 2, 6)} {title.strip()}"

    return _UNDERLINED.sub(heading, text)


_RST_INLINE = re.compile(
    r"``(?P<code>.+?)``"
    r"|:math:`(?P<math>[^`]+)`"
    r"|:(?P<role>[\w:+.-]+):`!?~?(?P<link>[^`<]*?)(?:\s*<(?P<target>[^>`]+)>)?`"
    r"|`(?P<text>[^`<]+?)(?:\s*<[^>`]+>)?`__?"
    r"|\s?\[[#*]?[\w.-]*\]_",
    re.DOTALL,
)


def _inline(match: re.Match[str]) -> str:
    if match["code"]:
        return f"`{match['code']}`"
    if match["math"]:
        return f"${match['math']}$"
    if match["role"]:
        name = match["link"] or match["target"] or ""
        return f"PEP {name}" if match["role"] == "pep" and name.isdigit() else name
    return match["text"] or ""
