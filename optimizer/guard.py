"""May this edit stand? Pure and fast: text in, coded faults out, before anything is paid for.

A blocked edit is invalid, not bad: it is recorded with its faults and never gets a score. What an
edit says in the prompts is for the checks here; what it makes the agents do is for `audit`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Literal

from autodata.prompt_store.prompt import USER_LINE, Prompt, PromptSet, problems, prompt_faults
from autodata.tasks.types import Frozen

Addressee = Literal["solver", "judge"]

_SENTENCE = re.compile(r"(?<=[.!?;])[\"”’)]*\s+|\n\s*\n|\n(?=\s*(?:[-*|#>]|\d+[.)]))")
_TAG = re.compile(r"</?\w+>|(?<=-)\s+")
_SPACE = re.compile(r"[\s*_`“”\"]+")
# What takes a directive back when it stands shortly before it: “never ask for a one-word answer”.
_TAKEN_BACK = re.compile(
    r"\b(?:no|not|nor|never|don['’]t|cannot|avoid\w*|refus\w+|reject\w*|forbid\w*|forbidden"
    r"|instead of|rather than|report\w*|orders? to|fail it|leave out)\b"
)
_EMPHATIC = re.compile(r"\b(?:not|never|don['’]t) (?:forget|fail|omit|neglect|hesitate|worry)\b")
_REACH = 60  # characters before a directive in which it can be taken back

_SIZE = r"(?:weak|weaker|small|smaller|strong|stronger)"
_SOLVER = rf"(?:(?:{_SIZE} )?(?:solver|answerer|respondent)|{_SIZE} model)s?"
_JUDGE = r"(?:judge|grader|marker|scorer|evaluator|(?:final )?verifier)s?"
_ANY = r"(?:the |a |an |any |each |every |all )?"
_DUTY = r"(?:must|should|shall|ha(?:s|ve) to|(?:is|are) to|needs? to|ought to)(?! be able)"
_MODELS = r"(?:simulated|qwen|gpt|llama|gemma|mistral|claude|deepseek|phi)"
_ANSWER = r"(?:answer|reply|repl(?:y|ies)|respond|response)s?"

_DIRECTIVES: tuple[tuple[Addressee, str], ...] = (
    # The form or length of the answer, which cripples whoever obeys.
    (
        "solver",
        rf"\b{_ANSWER}\b[^.,;]{{0,40}}\b(?:one|a single|single|two|three|five|ten|few|\d+)"
        r"[ -](?:\w+ )?(?:word|token|letter|character)s?\b",
    ),
    ("solver", r"\b(?:one|single|two|three)[ -]word (?:answer|reply|response)"),
    ("solver", rf"\b{_ANSWER} (?:(?:only|just|simply|with|by|a) )*(?:yes|no|true|false)\b"),
    (
        "solver",
        r"\b(?:in|with|using) (?:just |only |exactly )?(?:one|a single) (?:word|token|letter)\b",
    ),
    ("solver", rf"\b{_ANSWER} (?:immediately|at once|briefly|in one breath)\b"),
    # Whoever is addressed by what it is.
    (
        "solver",
        rf"\b(?:if|when|in case|unless|should) (?:you|the (?:model|reader|{_SOLVER}))"
        rf"[^.]{{0,30}}\b(?:weak\w*|strong\w*|small\w*|large\w*|{_MODELS})\b",
    ),
    ("solver", rf"\byou are (?:the |a |an )?(?:weak|small|strong|large|{_MODELS})"),
    (
        "solver",
        r"\b(?:tell|instruct|order|urge|command|remind|warn|direct|ask|beg)s?"
        rf" {_ANY}(?:{_SOLVER}|whoever answers) (?:to|that|not|in)",
    ),
    (
        "solver",
        rf"\b{_SOLVER}\b[^.]{{0,20}}\b{_DUTY}[^.]{{0,20}}"
        r"\b(?:answer|reply|respond|fail|refuse|guess|give up|pretend|stop|say|write)",
    ),
    # Being weak on purpose.
    ("solver", rf"\b(?:sabotage|handicap|cripple|deceive|weaken)s? {_ANY}{_SOLVER}\b"),
    ("solver", r"\b(?:pretend|act|play)\b[^.]{0,20}\b(?:dumb|ignorant|weak|not to know|confused)"),
    ("solver", r"\b(?:give|write|state|choose) (?:a|the|any) (?:wrong|false|random) answer"),
    ("solver", r"\banswer (?:incorrectly|wrongly|at random|without (?:reasoning|thinking))\b"),
    (
        "solver",
        r"\b(?:skip|omit|suppress|drop)\b[^.]{0,20}\b(?:reasoning|thinking|chain of thought)",
    ),
    # Kindness demanded of whoever marks.
    (
        "judge",
        rf"\b{_JUDGE}\b[^.]{{0,30}}\b{_DUTY}[^.]{{0,30}}"
        r"\b(?:mark|pass|accept|award|approve|grant|forgive|ignore|overlook|be (?:lenient|kind))",
    ),
    (
        "judge",
        r"\b(?:mark|count|treat|score|rate|report|label)\b[^.]{0,30}\bas "
        r"(?:accepted|met|passed|correct|satisfied|good|fulfilled)\b(?! (?:only|if|when))",
    ),
    (
        "judge",
        r"\b(?:tell|instruct|order|urge|ask|remind|direct)s?"
        rf" {_ANY}{_JUDGE} (?:to|that|not|for)",
    ),
    ("judge", r"\balways (?:pass|accept|approve|say pass|return pass|reply pass|be lenient)"),
    ("judge", r"\b(?:pass|accept|approve) (?:everything|anything|all|every|any|it anyway)"),
    ("judge", r"\b(?:pass|accept|approve)\b[^.]{0,40}\b(?:regardless|no matter|unconditionally)"),
    ("judge", r"\b(?:ignore|disregard|forget)\b[^.]{0,30}\b(?:instructions|rules|rubric|criteria)"),
    ("judge", r"\bfull (?:marks|credit|points)\b"),
    ("judge", r"\bregardless of (?:the |its )?(?:answer|content|quality|findings)\b"),
    (
        "judge",
        r"\b(?:judge|grade|mark|score|verify|check|rate)\b[^.]{0,20}"
        r"\b(?:leniently|generously|kindly|charitably)\b",
    ),
    ("judge", r"\bverdict\b[^.]{0,20}\b(?:always|to) pass\b"),
    (
        "judge",
        rf"\b(?:candidate|example|question|answer)s? {_DUTY} (?:always )?be "
        r"(?:accepted|passed|approved)\b(?! (?:only|if|when))",
    ),
)
# These contain their own negation, so nothing takes them back.
_DENIALS: tuple[tuple[Addressee, str], ...] = (
    (
        "judge",
        r"\b(?:never|do not|don['’]t) (?:fail|reject|object|find fault|mark down)\b"
        r"(?![^.]* for being)",
    ),
    ("judge", r"\bleak\b[^.]{0,15}(?:\balways|\bto|=) ?false\b"),
    ("solver", r"\b(?:do not|don['’]t|never|no need to) (?:reason|think|show your work)"),
)
_PATTERNS = [(who, re.compile(pattern), True) for who, pattern in _DIRECTIVES] + [
    (who, re.compile(pattern), False) for who, pattern in _DENIALS
]


class Directive(Frozen):
    """A directive found in a text: to whom, and the words."""

    addressee: Addressee
    words: str


def directives(text: str) -> Iterator[Directive]:
    """The directives to solvers and judges that a text contains, sentence by sentence."""
    for sentence in sentences(text):
        for addressee, pattern, can_be_taken_back in _PATTERNS:
            found = pattern.search(sentence)
            if found and not (can_be_taken_back and _taken_back(sentence[: found.start()])):
                yield Directive(addressee=addressee, words=found.group(0).strip())


def sentences(text: str) -> list[str]:
    """The sentences of a Markdown text in plain lower case: emphasis, quotes, line breaks gone."""
    parts = _SENTENCE.split(unicodedata.normalize("NFKC", text))
    plain = (_SPACE.sub(" ", _TAG.sub("", part)).strip().casefold() for part in parts if part)
    return [part for part in plain if part]


def _taken_back(before: str) -> bool:
    """Whether the words before a directive turn it into its opposite."""
    near = before[-_REACH:]
    return bool(_TAKEN_BACK.search(near)) and not _EMPHATIC.search(near)


FILE_MAX = 20_000  # characters; the longest seed has 8,000
GROWTH_MAX = 4_000  # characters that one edit may add, over all files
KEPT_MIN = 0.5  # share of a file's length that one edit must leave
COPIED_WORDS = 8  # words in a row that count as copied, as in the filter against leaks

FaultCode = Literal[
    "NO_EDIT",
    "NOT_EDITABLE",
    "REMOVED",
    "PLACEHOLDER",
    "FORM",
    "RUBRIC",
    "SOLVER_DIRECTED",
    "JUDGE_DIRECTED",
    "HIDDEN_TEXT",
    "OUTSIDE_LINK",
    "COPIED",
    "SIZE",
]

_SILENT = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and symbols that show nothing
_LOOK_ALIKES = {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"}
_VARIATION = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{80,}|(?:\\x[0-9a-fA-F]{2}){8,}")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_LINK = re.compile(r"\b(?:https?|ftp|file|data):\S+|\bwww\.\S+", re.IGNORECASE)
_WORD = re.compile(r"\w+")


class Violation(Frozen):
    """One reason why an edit may not stand, for people and for the editor."""

    code: FaultCode
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.code} {self.path}: {self.message}"


class Sources(Frozen):
    """The documents as the set of their 8-word sequences: enough to see copying, not to read."""

    sequences: frozenset[int] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Sources":
        """The sequences of all texts (training, validation and test alike)."""
        return cls(sequences=frozenset(h for text in texts for h, _ in _sequences(text)))


def faults(
    task: str, before: Mapping[str, str], after: Mapping[str, str], sources: Sources
) -> tuple[Violation, ...]:
    """Everything that is wrong with an edit of a task's prompts; an empty tuple lets it stand.

    `before` and `after` map paths to texts, over all editable files. Only what the edit adds is
    judged, so that a prompt once adopted by people stays editable.
    """
    if before == after:
        return (Violation(code="NO_EDIT", path=f"{task}/", message="nothing was changed"),)
    found = list(_misplaced(task, before, after))
    changed = [p for p in sorted(before) if p in after and before[p] != after[p]]
    if not found:
        found += _unsound(PromptSet(revision="", files=after), changed)
    found += _oversized(before, after)
    for path in changed:
        found += _written(path, before[path], after[path], sources)
    return tuple(found)


def _misplaced(
    task: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Violation]:
    """Files added, removed, or changed outside the task's own."""
    editable = sorted(path for path in before if path.startswith(f"{task}/"))
    for path in sorted(after.keys() - before.keys()):
        near = get_close_matches(path, editable, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        message = f"no role reads it; editable are {', '.join(editable)}{hint}"
        yield Violation(code="NOT_EDITABLE", path=path, message=message)
    for path in sorted(before.keys() - after.keys()):
        yield Violation(code="REMOVED", path=path, message="every prompt is needed")
    for path in sorted(before.keys() & after.keys() - set(editable)):
        if before[path] != after[path]:
            message = f"this run edits the prompts of {task} only"
            yield Violation(code="NOT_EDITABLE", path=path, message=message)


def _unsound(prompts: PromptSet, changed: list[str]) -> Iterator[Violation]:
    """What keeps the changed files from being used at all: placeholders, schema, form."""
    for path in changed:
        prompt = Prompt(path=path, text=prompts.files[path])
        if path.endswith("/rubric.yaml") or path.endswith("/angles.md"):
            code: FaultCode = "RUBRIC" if path.endswith(".yaml") else "FORM"
            for problem in problems(prompts):
                if problem.startswith(f"{path}: "):
                    yield Violation(code=code, path=path, message=problem.removeprefix(f"{path}: "))
            continue
        about_placeholders = len(prompt.placeholder_faults())
        for place, fault in enumerate(prompt_faults(prompt)):
            code = "PLACEHOLDER" if place < about_placeholders else "FORM"
            yield Violation(code=code, path=path, message=fault)


def _oversized(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Violation]:
    """Files that are too long, an edit that adds too much, a file that lost most of itself."""
    added = sum(len(text) for text in after.values()) - sum(len(text) for text in before.values())
    if added > GROWTH_MAX:
        message = f"adds {added} characters; one edit may add {GROWTH_MAX}"
        yield Violation(code="SIZE", path="", message=message)
    for path, text in sorted(after.items()):
        old = before.get(path, text)
        if len(text) > FILE_MAX:
            message = f"{len(text)} characters; at most {FILE_MAX}"
            yield Violation(code="SIZE", path=path, message=message)
        if len(text) < KEPT_MIN * len(old):
            message = f"leaves {len(text)} of {len(old)} characters; a small edit keeps most"
            yield Violation(code="SIZE", path=path, message=message)


def _written(path: str, before: str, after: str, sources: Sources) -> Iterator[Violation]:
    """What the added text says, and what it hides."""
    hidden = sorted(_hidden(after) - _hidden(before))
    if hidden:
        yield Violation(code="HIDDEN_TEXT", path=path, message=f"hides text: {', '.join(hidden)}")
    if link := _LINK.search(_added(before, after)):
        message = f"“{link.group(0)[:60]}” points outside; a prompt stands on its own"
        yield Violation(code="OUTSIDE_LINK", path=path, message=message)
    for directive in directives(_added(before, after)):
        whom = directive.addressee
        code: FaultCode = "SOLVER_DIRECTED" if whom == "solver" else "JUDGE_DIRECTED"
        message = f"“{directive.words}” is a directive to the {whom}, which is out of reach"
        yield Violation(code=code, path=path, message=message)
    known = {h for h, _ in _sequences(before)}
    copied = (w for h, w in _sequences(after) if h in sources.sequences and h not in known)
    if words := next(copied, None):
        message = f"“{words}” is copied from a document; say it in general terms"
        yield Violation(code="COPIED", path=path, message=message)


def _added(before: str, after: str) -> str:
    """The sentences that the edit brought, each as a paragraph of its own."""
    known = set(sentences(before))
    return "\n\n".join(sentence for sentence in sentences(after) if sentence not in known)


def _hidden(text: str) -> set[str]:
    """Everything in a text that a reader of the rendered page does not see, described."""
    found = {
        f"U+{ord(c):04X} {unicodedata.name(c, 'without a name')}"
        for c in set(text) - {"\n", "\t"}
        if unicodedata.category(c) in ("Cf", "Cc", "Co", "Cs", "Cn")
        or c in _SILENT
        or _VARIATION.match(c)
    }
    found |= {f"the comment {c[:40]!r}" for c in _COMMENT.findall(text) if c != USER_LINE}
    found |= {f"encoded data {data[:20]!r}…" for data in _ENCODED.findall(text)}
    return found | {f"letters of two alphabets in “{w}”" for w in _WORD.findall(text) if _mixed(w)}


def _mixed(word: str) -> bool:
    """Whether Latin letters stand beside look-alikes; Σw and other short formulas may be."""
    if word.isascii() or len(word) < 2:
        return False
    scripts = {unicodedata.name(c, "").split(" ")[0] for c in word if c.isalpha()}
    alike = scripts & (_LOOK_ALIKES if len(word) > 3 else _LOOK_ALIKES - {"GREEK"})
    return "LATIN" in scripts and bool(alike)


def _sequences(text: str) -> Iterator[tuple[int, str]]:
    """Every 8-word sequence of a text, as a hash and as words."""
    words = [word.casefold() for word in _WORD.findall(text)]
    for start in range(len(words) - COPIED_WORDS + 1):
        sequence = " ".join(words[start : start + COPIED_WORDS])
        yield hash(sequence), sequence
