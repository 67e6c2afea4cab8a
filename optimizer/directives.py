"""Directives to a solver or a judge, recognised in text: the way agents cheat at this game.

They told the weak solver to be weak, or had the judge be kind (paper, section 4). The patterns read
sentences; what slips through them in other words is for the checks at run time (`audit`).
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

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
