"""Bytes as text, markup as plain Markdown, and what converters and printers leave behind gone."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import chain
from textwrap import dedent

BUDGET = 6_000
"""Tokens per passage: fits beside prompts and answers into an 8,192-token context and up."""

EDGE = 5
"""Lines at the top and at the bottom of a page among which its header and footer stand."""

REPEATS = 3
"""Pages on which a line must stand at the edge to be a header or footer."""


class FormatError(ValueError):
    """A file, or a row of one, holds no readable text; the message says why."""


_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f]")


def decode(data: bytes) -> str:
    """Bytes as text: UTF-8, UTF-16 or UTF-32 by their marks, UTF-16 without, else Windows-1252.

    Raises FormatError for binary data and for bytes that are none of these.
    """
    if marked := next((name for mark, name in _MARKS if data.startswith(mark)), None):
        return _decoded(data, marked)
    if b"\0" in data:
        return _decoded(data, _unmarked_utf16(data))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = _decoded(data, "cp1252")
    if len(_CONTROL.findall(text)) * 100 > len(text):
        raise FormatError("binary data")
    return text


def _unmarked_utf16(data: bytes) -> str:
    """Which UTF-16 this is: in Latin text nearly every second byte is zero, the others never."""
    half = len(data) // 2
    high, low = data[::2].count(0), data[1::2].count(0)
    if low > 0.4 * half and high < 0.05 * half:
        return "utf-16-le"
    if high > 0.4 * half and low < 0.05 * half:
        return "utf-16-be"
    raise FormatError("binary data")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError(
            f"undecodable: no valid UTF-8, UTF-16 or Windows-1252 ({error.reason})"
        ) from error


_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_WORD = re.compile(r"[^\W\d_]+")

# The first page of a slip opinion, the record marks of the US Code, the frame of a Gutenberg text.
_BOILERPLATE = re.compile(
    r"(?:^|(?<=\f))\(Slip Opinion\)\s*$"
    r"|(?:^|(?<=\f))Cite as: \d+ U\. ?S\. [_\d]+ \(\d{4}\)\s*$"
    r"|^NOTICE: This opinion is subject to formal revision.*?goes to press\.\s*$"
    r"|^ *_{5,} *$"
    r"|^-CITE-[ \t]*$.*?^-HEAD-[ \t]*$"
    r"|^-(?:STATUTE|SOURCE|MISC\d|REFTEXT|COD|End)-[ \t]*$"
    r"|\A.*?^\*\*\* ?START OF TH[^\n]*$"
    r"|^\*\*\* ?END OF TH.*\Z",
    re.MULTILINE | re.DOTALL,
)


def tidy(text: str) -> str:
    """The text in NFC with plain line ends and spaces, without invisible characters.

    Form feeds are taken for page borders: what repeats at them is removed. Zero-width joiners
    stay, since some scripts spell with them.
    """
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub("\u00ad[ \t]*\n[ \t]*", "", text)
    text = _INVISIBLE.sub("", text).replace("\u00a0", " ")
    text = re.sub("[\u2028\u2029\u0085]", "\n", text)
    text = _BOILERPLATE.sub("", text)
    if "\f" in text:
        text = mend_words(join_pages(text.split("\f")))
    text = _CONTROL.sub("", text)
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def join_pages(pages: list[str]) -> str:
    """The pages as one text without their headers, footers and page numbers."""
    split = [page.splitlines() for page in pages]
    counts = Counter(chain.from_iterable(set(map(_key, _edge(lines))) for lines in split))
    repeated = {key for key, count in counts.items() if count >= REPEATS}
    joined: list[str] = []
    for lines in split:
        body = "\n".join(_body(lines, repeated)).strip("\n").rstrip()
        if not body:
            continue
        if joined:
            # A page that ends within a sentence goes on without a paragraph break.
            ends = joined[-1].endswith((".", "?", "!", "”", '"', ":"))
            joined.append("\n\n" if ends else "\n")
        joined.append(body)
    return "".join(joined)


def _body(lines: list[str], repeated: set[str]) -> list[str]:
    """A page's lines between its header and its footer; all of them if nothing else is there."""
    body = list(lines)
    for at in (0, -1):
        for _ in range(EDGE):
            while body and not body[at].strip():
                del body[at]
            if body and (_key(body[at]) in repeated or body[at].strip().isdigit()):
                del body[at]
    return body or lines


def mend_words(text: str) -> str:
    """Join words that were broken at the end of a line, with a hyphen or with its trace lost.

    The text itself is the dictionary: halves without hyphen are joined when they make a word of it
    and the first half alone is none.
    """
    inside = re.sub(r"\b\w++-?\n\w+", "\n", text)
    words = {match[0].casefold() for match in _WORD.finditer(inside)}

    def mend(match: re.Match[str]) -> str:
        head, hyphen, tail = match.groups()
        whole = (head + tail).casefold()
        if hyphen and f"{head}-{tail}" in inside:
            return f"{head}-{tail}\n"
        if hyphen or (whole in words and head.casefold() not in words):
            return f"{head}{tail}\n"
        return match[0]

    return re.sub(r"(?<![\w-])([^\W\d_]+)(-?)\n([^\W\d_]+)(?!-)[^\S\n]?", mend, text)


def _edge(lines: list[str]) -> list[str]:
    """The lines that may be a header or footer: the outermost that are not blank."""
    filled = [line for line in lines if line.strip()]
    return [*filled[:EDGE], *filled[-EDGE:]]


def _key(line: str) -> str:
    """What a running title has in common on all pages: digits and spacing vary."""
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", " ".join(line.split()))


# Markdown and reStructuredText as plain Markdown: headings, prose, code and maths, no debris.

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


_LICENSED = re.compile(
    r"^licen[cs]e(?:[_-]name)?:[ \t]*[\"']?([^\s\"'#>|][^\"'\n#]*)", re.MULTILINE | re.IGNORECASE
)
_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [\w.+-]+)*)")


def stated_license(text: str) -> str | None:
    """The licence that the beginning of a file states: in its leading fields (YAML or `Key: value`
    lines), or by a tag of spdx.dev; None where it states none."""
    front = _YAML_FRONT.match(text) or _FIELD_FRONT.match(text)
    found = (_LICENSED.search(front[0]) if front else None) or _SPDX.search(text)
    return found[1].strip()[:200] if found else None


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
    (re.compile(r"^(?:(?<=\n\n)|\A)(\S[^\n]*+)\n={3,}[ \t]*$", re.MULTILINE), r"# \1"),
    (re.compile(r"^(?:(?<=\n\n)|\A)(\S[^\n]*+)\n-{3,}[ \t]*$", re.MULTILINE), r"## \1"),
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
