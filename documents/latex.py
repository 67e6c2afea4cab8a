"""LaTeX as Markdown: comments and preamble go, headings become `#`, maths stays as it is."""

import re
from collections.abc import Callable, Iterator

_BEFORE = re.compile(r"\A.*?\\begin\{document\}", re.DOTALL)
_AFTER = re.compile(r"\\end\{document\}.*\Z", re.DOTALL)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*\n?[ \t]*")
_MACRO = re.compile(
    r"\\(?:re)?newcommand\*?\s*(?:\{\\(\w+)\}|\\(\w+))\s*(?=\{)|\\def\s*\\(\w+)(?=\{)"
)
_DISPLAY = "equation|displaymath|align|alignat|flalign|gather|multline|eqnarray|math"
_VERBATIM = re.compile(
    r"\\begin\{(verbatim|lstlisting|minted|alltt)\*?\}(?:\[[^\]]*\])?(?:\{\w+\})?\n?"
    r"(.*?)\n?\\end\{\1\*?\}",
    re.DOTALL,
)
_MATHS = re.compile(
    r"(?<!\\)\$\$(?P<dollars>.+?)(?<!\\)\$\$"
    r"|(?<!\\)\$(?P<inline>(?:\\.|[^$\\\n]|\n(?!\s*\n))+)\$"
    r"|(?<!\\)\\\[(?P<brackets>.+?)\\\]"
    r"|(?<!\\)\\\((?P<parens>.+?)\\\)"
    rf"|\\begin\{{(?P<env>{_DISPLAY})\*?\}}(?P<body>.+?)\\end\{{(?P=env)\*?\}}",
    re.DOTALL,
)
_KEPT = re.compile("\x02(\\d+)\x03")


def latex(text: str) -> str:
    """The body of a LaTeX file as Markdown with `$…$` and `$$…$$` maths."""
    kept: list[str] = []

    def keep(piece: str) -> str:
        kept.append(piece)
        return f"\x02{len(kept) - 1}\x03"

    text = _VERBATIM.sub(lambda match: keep(f"\n\n```\n{match[2]}\n```\n\n"), text)
    text = _expand_macros(_COMMENT.sub(_uncomment, text))
    title = re.search(r"\\title\s*(?=\{)", text)
    heading = _group(text, title.end()) if title else None
    text = _AFTER.sub("", _BEFORE.sub("", text))
    text = _MATHS.sub(lambda match: keep(_maths(match)), text)
    text = _prose(_environments(text))
    while _KEPT.search(text):  # maths may stand inside kept maths, as in \text{if $x$}
        text = _KEPT.sub(lambda match: kept[int(match[1])], text)
    return f"# {_prose(heading[0])}\n\n{text}" if heading else text


def _uncomment(match: re.Match[str]) -> str:
    # A comment swallows its line end; a line that is only a comment leaves a border behind.
    alone = match.start() == 0 or match.string[match.start() - 1] == "\n"
    return match[1] + ("\n" if alone and match[0].endswith("\n") else "")


def _expand_macros(text: str) -> str:
    """Put the file's own commands without arguments (`\\newcommand{\\name}{Raft}`) in place."""
    macros: dict[str, str] = {}
    while match := _MACRO.search(text):
        group = _group(text, match.end())
        if group is None:
            break
        body, end = group
        macros[next(filter(None, match.groups()))] = body
        text = text[: match.start()] + text[end:]
    for name, body in macros.items():
        plain = body.replace("\\xspace", "").replace("\\ensuremath", "")
        plain = plain.replace("\\", r"\\")
        text = re.sub(rf"\\{name}(?![A-Za-z])(?:\{{\}})?", plain, text)
    return text


def _maths(match: re.Match[str]) -> str:
    if match["inline"] or match["parens"]:
        return f"${(match['inline'] or match['parens']).strip()}$"
    body = match["dollars"] or match["brackets"] or match["body"]
    body = re.sub(r"\\(?:nonumber|notag)\b|\\(?:ol)?label\{[^}]*\}", "", body).strip()
    inner = {"align": "aligned", "alignat": "aligned", "flalign": "aligned", "eqnarray": "aligned"}
    inner |= {"gather": "gathered", "multline": "gathered"}
    if wrap := inner.get(match["env"] or ""):
        body = f"\\begin{{{wrap}}}\n{body}\n\\end{{{wrap}}}"
    return f"\n$$\n{body}\n$$\n"


_DROPPED = re.compile(r"\\begin\{(tikzpicture|thebibliography|comment)\}.*?\\end\{\1\}", re.DOTALL)
_FIGURE = re.compile(r"\\begin\{((?:wrap)?figure\*?)\}(.*?)\\end\{\1\}", re.DOTALL)
_CAPTION = re.compile(r"\\v?caption\*?\s*(?:\[[^\]]*\])?\s*(?=\{)")
_BEGIN = re.compile(r"\\begin\{(\w+)\*?\}[ \t]*(?:\[([^\]]*)\])?(?:\{[^{}]*\})*[ \t]*")
_STATEMENTS = {
    "thm": "Theorem", "theorem": "Theorem", "lem": "Lemma", "lemma": "Lemma",
    "prop": "Proposition", "proposition": "Proposition", "cor": "Corollary",
    "corollary": "Corollary", "defn": "Definition", "definition": "Definition",
    "ex": "Example", "example": "Example", "rem": "Remark", "remark": "Remark",
    "prob": "Problem", "exercise": "Exercise", "proof": "Proof", "claim": "Claim",
}  # fmt: skip


def _environments(text: str) -> str:
    """Statements are named, figures reduced to their captions, every other frame taken away."""
    text = _FIGURE.sub(_figure, _DROPPED.sub("", text))

    def begin(match: re.Match[str]) -> str:
        name = _STATEMENTS.get(match[1].lower())
        if name is None:
            return "\n## Abstract\n" if match[1] == "abstract" else ""
        return f"\n\n**{name}{f' ({match[2]})' if match[2] else ''}.** "

    return re.sub(r"\\end\{\w+\*?\}", "", _BEGIN.sub(begin, text))


def _figure(match: re.Match[str]) -> str:
    caption = _CAPTION.search(match[2])
    group = _group(match[2], caption.end()) if caption else None
    return f"\n\n[Figure: {' '.join(group[0].split())}]\n\n" if group else "\n\n"


# Command → number of arguments and what becomes of them.
_COMMANDS: dict[str, tuple[int, Callable[..., str]]] = {
    "part": (1, "\n\n# {}\n\n".format),
    "chapter": (1, "\n\n# {}\n\n".format),
    "section": (1, "\n\n## {}\n\n".format),
    "subsection": (1, "\n\n### {}\n\n".format),
    "subsubsection": (1, "\n\n#### {}\n\n".format),
    "paragraph": (1, "\n\n**{}** ".format),
    "item": (0, "\n- ".format),
    "emph": (1, "*{}*".format),
    "textit": (1, "*{}*".format),
    "textbf": (1, "**{}**".format),
    "texttt": (1, "`{}`".format),
    "footnote": (1, " ({})".format),
    "href": (2, "{1}".format),
    "url": (1, "{}".format),
    "caption": (1, "{}".format),
    "S": (0, "§".format),
    "dots": (0, "…".format),
    "ldots": (0, "…".format),
    # The Open Logic Text: its sections, and passages that depend on tags (the fuller one is kept).
    "olsection": (1, "\n\n## {}\n\n".format),
    "iftag": (3, lambda _, yes, no: max(yes, no, key=len)),
    "tagitem": (3, lambda _, yes, no: "\n- " + max(yes, no, key=len)),
    "olfileid": (3, "".format),
    "tagprob": (1, "".format),
    "tagendprob": (0, "".format),
}
_COMMANDS |= dict.fromkeys(
    ("text", "textrm", "textsc", "textsf", "mbox", "underline"), (1, "{}".format)
)
_COMMANDS |= dict.fromkeys(("ref", "eqref", "autoref", "cref", "Cref", "olref"), (1, "[{}]".format))
_COMMANDS |= dict.fromkeys(
    ("label", "ollabel", "cite", "citep", "citet", "citeyear", "input", "include", "vspace",
     "hspace", "includegraphics", "bibliography", "bibliographystyle", "index", "thispagestyle",
     "documentclass", "usepackage", "title", "author", "date", "nocite", "setlength"),
    (1, "".format),
)  # fmt: skip
_COMMANDS |= dict.fromkeys(
    ("centering", "noindent", "newpage", "clearpage", "maketitle", "tableofcontents", "bigskip",
     "medskip", "smallskip", "vfill", "hfill", "small", "footnotesize", "appendix", "par",
     "indent", "raggedright", "protect", "qedhere", "begingroup", "endgroup"),
    (0, "".format),
)  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)\*?")
_SIGNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"!!(\^?)(a?)\{([^}]*)\}"), lambda m: _token(*m.groups())),
    (re.compile(r"\\([%&_#{}])"), lambda m: m[1]),
    (re.compile(r"\\\\(?:\[[^\]]*\])?"), lambda _: "\n"),
    (re.compile(r"\\[,;: ]|~"), lambda _: " "),
    (re.compile("``"), lambda _: "“"),
    (re.compile("''"), lambda _: "”"),
    (re.compile("(?<!-)---(?!-)"), lambda _: "—"),
    (re.compile("(?<=\\d)--(?=\\d)"), lambda _: "–"),
    (re.compile(r"\{\}| +(?=[,.;] )"), lambda _: ""),
    (re.compile(r"^[ \t]+", re.MULTILINE), lambda _: ""),
    (re.compile(r"^-[ \t]+", re.MULTILINE), lambda _: "- "),
)


def _token(capital: str, article: str, word: str) -> str:
    """A word of the Open Logic Text's glossary, `!!^a{structure}`."""
    phrase = f"a {word}" if article else word
    return phrase[:1].upper() + phrase[1:] if capital else phrase


def _prose(text: str) -> str:
    text = "".join(_commands(text))
    for pattern, sign in _SIGNS:
        text = pattern.sub(sign, text)
    return text


def _commands(text: str) -> Iterator[str]:
    """The text in pieces, each known command replaced; unknown ones stay as they are."""
    at = 0
    while match := _COMMAND.search(text, at):
        yield text[at : match.start()]
        at = match.end()
        arity, form = _COMMANDS.get(match[1], (-1, "".format))
        arguments, end = _arguments(text, at, arity)
        if len(arguments) == arity:
            yield form(*("".join(_commands(argument)).strip() for argument in arguments))
            at = end
        else:
            yield match[0]
    yield text[at:]


def _arguments(text: str, at: int, arity: int) -> tuple[list[str], int]:
    """Up to `arity` braced arguments after position `at`, options skipped, and where they end."""
    found: list[str] = []
    options = re.compile(r"(?:\s*\[[^\]]*\])*\s*(?=\{)")
    while len(found) < arity:
        start = options.match(text, at)
        group = _group(text, start.end()) if start else None
        if group is None:
            break
        found.append(group[0])
        at = group[1]
    return found, at


def _group(text: str, at: int) -> tuple[str, int] | None:
    """The braced group at this position, without its braces, and where it ends."""
    depth = 0
    for brace in re.compile(r"(?<!\\)[{}]").finditer(text, at):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[at + 1 : brace.start()], brace.end()
    return None
