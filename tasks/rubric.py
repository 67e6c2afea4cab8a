"""Rubrics: what one may contain, how marks become a score, and a linter of their words.

A score is recomputed from marks; a total that a model states is never read (paper, section 2).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from autodata.tasks.measurement import Interval, in_percent, wilson
from autodata.tasks.types import Attempt, Criterion, Frozen, Mark

LEAST = {"items_min": 10, "positives_min": 4}
"""Criteria below which no policy may go (the verifier's bounds of the paper, section 2). The fewer
criteria, the noisier a score, and a noisy gate is passed by luck: two equal solvers that meet each
criterion with probability .55 pass one round in four with a single criterion."""

WHY_LEAST = (
    "with fewer, chance passes the gate: in 12 rounds two equal solvers pass on 97 % of documents "
    "with one criterion, on 32 % with ten"
)


class RubricPolicy(Frozen):
    """How many criteria a rubric has and what they may weigh: part of the editable harness.

    Bounds are inclusive. Defaults are the verifier's of the paper, section 2: 10–20 criteria, at
    least 4 positive and 3 negative, weights −10 … +10. Lower bounds under LEAST are refused.
    """

    items_min: int = Field(10, le=40)
    items_max: int = Field(20, ge=1, le=40)
    positives_min: int = Field(4, le=40)
    negatives_min: int = Field(3, ge=0, le=20)
    negatives_max: int = Field(10, ge=0, le=20)
    weight_max: int = Field(10, ge=1, le=10)
    negative_weight_min: int = Field(-10, ge=-10, le=-1)

    @field_validator(*LEAST)
    @classmethod
    def _enough(cls, value: int, info: ValidationInfo) -> int:
        if value < (least := LEAST[info.field_name or ""]):
            raise ValueError(f"{value} is less than {least}: {WHY_LEAST}")
        return value

    def problems(self, rubric: Sequence[Criterion]) -> list[str]:
        """What is wrong with a rubric, each as a sentence; an empty list means it is in order."""
        found = self.misfits(rubric)
        texts = [c.criterion.strip().casefold() for c in rubric]
        if "" in texts:
            found.append("a criterion is empty")
        if len(set(texts)) < len(texts):
            found.append("two criteria say the same")
        return found

    def misfits(self, rubric: Sequence[Criterion]) -> list[str]:
        """Which counts and weights of a rubric lie outside the bounds, each as a sentence."""
        positives = [c for c in rubric if c.weight > 0]
        negatives = [c for c in rubric if c.weight < 0]
        counts = (
            ("criteria", len(rubric), self.items_min, self.items_max),
            ("positive criteria", len(positives), self.positives_min, self.items_max),
            ("negative criteria", len(negatives), self.negatives_min, self.negatives_max),
        )
        found = [
            f"{n} {what}; the rubric policy asks for {low} to {high}"
            for what, n, low, high in counts
            if not low <= n <= high
        ]
        found += [
            f"weight {c.weight} of “{c.criterion[:60]}” lies outside "
            f"{self.negative_weight_min} … {self.weight_max}, zero excluded"
            for c in rubric
            if c.weight == 0 or not self.negative_weight_min <= c.weight <= self.weight_max
        ]
        return found


def score(marks: Iterable[Mark]) -> Fraction:
    """clip(Σ wᵢgᵢ / Σ positive w, 0, 1) with binary gᵢ, exact (paper, section 2).

    Of an answer that was judged several times it is the mean of what each judgement comes to. So
    asking more often narrows the spread of scores and moves none of them, which a clipped mean
    would do. Raises ValueError when no mark has a positive weight: such a rubric cannot be scored;
    and when the marks have different numbers of votes.
    """
    found = by_judgement(marks)
    return sum(found, Fraction(0)) / len(found)


def by_judgement(marks: Iterable[Mark]) -> tuple[Fraction, ...]:
    """What each judgement of the answer comes to, 0 … 1, in their order. Raises as `score`."""
    marks = tuple(marks)
    possible = sum(m.weight for m in marks if m.weight > 0)
    if possible == 0:
        raise ValueError("a rubric without positive weights cannot be scored")
    votes = zip(*(m.votes or (m.met,) for m in marks), strict=True)
    reached = (sum(m.weight for m, met in zip(marks, found, strict=True) if met) for found in votes)
    return tuple(min(max(Fraction(r, possible), Fraction(0)), Fraction(1)) for r in reached)


def met_by(attempts: Sequence[Attempt], at: int) -> tuple[int, int]:
    """How many of these answers met the criterion `at` (from 0), and how many were marked by it."""
    marked = [attempt.marks[at].met for attempt in attempts if len(attempt.marks) > at]
    return sum(marked), len(marked)


def majority(votes: Sequence[bool]) -> bool:
    """What more than half of the judgements found: met; a tie is not met."""
    return 2 * sum(votes) > len(votes)


def consistent(marks: Sequence[Mark]) -> bool:
    """Whether all marks are of the same judgements, and each is what most of them found."""
    same = len({len(mark.votes) for mark in marks}) <= 1
    return same and all(m.met == majority(m.votes) for m in marks if m.votes)


# The linter: what words and weights give reason to look at, by code. It reads words, not meaning,
# and English alone: few findings that hold rather than many. It looks for what the paper names
# (sections 2, 5 and 6) and verifiers miss, and decides nothing.

LintCode = Literal[
    "SIGN", "NEGATED", "DUPLICATE", "OVERLAP", "COMPOUND", "STYLE", "DOMINANT", "COUNTS"
]

DOMINANT = 0.4
"""Share of the positive weights above which one criterion dominates. Our own bound: one mark then
moves a score by more than .40, twice the gap that acceptance asks for (.20; paper, section 2), so
that the gate passes or fails by a single mark."""

ALIKE = 0.8
"""Share of the words of two criteria that are the same (Jaccard) from which they overlap. Our own
bound: of the rubrics of the practice models' corpus runs it finds no pair, and of rewordings that
add or swap one word in six most."""

LEAST_WORDS = 3  # that bear meaning, in criteria whose overlap is told


class RubricFinding(NamedTuple):
    """What gives reason to look at some criteria: their numbers, from 1, and why, in a sentence.

    `criteria` is empty where the rubric as a whole is meant.
    """

    code: LintCode
    criteria: tuple[int, ...]
    message: str

    @property
    def said(self) -> str:
        """`NEGATED  criterion 11: …`."""
        several = "criteria" if len(self.criteria) > 1 else "criterion"
        numbers = " and ".join(map(str, self.criteria))
        return f"{self.code}  {f'{several} {numbers}: ' if numbers else ''}{self.message}"


def lint_rubric(
    rubric: Sequence[Criterion], policy: RubricPolicy | None = None
) -> tuple[RubricFinding, ...]:
    """Every finding, by criterion, then those of several; none of an empty rubric.

    With a `policy` its bounds of counts and weights are held against the rubric, too.
    """
    found = [
        RubricFinding(code, (number,), message)
        for number, criterion in enumerate(rubric, 1)
        for code, message in _of_one(criterion.criterion, criterion.weight, criterion.category)
    ]
    found += _dominant(rubric)
    found += _alike(rubric)
    if policy and rubric:
        found += [RubricFinding("COUNTS", (), said) for said in policy.misfits(rubric)]
    return tuple(found)


# The words that a criterion begins with, after whose words they are.
_SUBJECT = re.compile(
    r"^(?:the )?(?:answer|response|reply|solution|student|model|candidate|essay)\s+(?:also )?",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"|«[^»]*»|‘[^’]*’|`[^`]*`|\$[^$]*\$|\([^()]*\)")
_NOTHING = re.compile(
    r"^(?:avoids?|refrains? from|abstains? from|steers? clear of|is free (?:of|from)|"
    r"does not|does n[o']t|doesn[’']t|do not|don[’']t|did not|never|without|is not|isn[’']t|"
    r"makes no|contains no|commits no|"
    r"lacks (?:any|all|discussion|mention)|"
    r"no (?:(?:hallucinated|fabricated|invented|unsupported|factual|false) "
    r"(?:citations?|claims?|facts?|statements?|errors?|cases?|sources?)|errors?|mistakes?|mention))\b",
    re.IGNORECASE,
)
_OMISSION = re.compile(
    r"^(?:does not|doesn[’']t|do not|don[’']t|did not|never)\s+(?:\w+ly\s+)?(?:mention|state|"
    r"address|discuss|consider|explain|identify|include|provide|name|note|specify|recogni[sz]e|"
    r"acknowledge|account|cite|give|answer|show|derive|justify|distinguish|use|apply|link|connect)",
    re.IGNORECASE,
)
_FAULT = re.compile(
    r"^(?:fails? to|omits?|overlooks?|neglects?|ignores?|confuses?|conflates?|misstates?|"
    r"mistakes?|misinterprets?|misunderstands?|mischaracteri[sz]es?|misapplies|misidentifies|"
    r"misattributes?|miscalculates?|misreads?|contradicts? itself|hallucinates?|fabricates?|"
    r"invents?|(?:incorrectly|wrongly|falsely|erroneously|mistakenly|inaccurately|improperly)\b|"
    r"(?:incorrect|wrong|error|mistake|fault)\s*:)",
    re.IGNORECASE,
)
_DEED = re.compile(
    r"^(?:(?:correctly|accurately|rightly|properly|appropriately|validly)\b|"
    r"(?:recogni[sz]es|acknowledges|reali[sz]es|points? out|demonstrates|notes) that\b|"
    r"identifies\b|(?:states|explains|derives|computes|names|concludes|applies)\s+"
    r"(?:correctly|accurately|rightly)\b|"
    r"(?:states|gives|provides|offers|names|applies|cites|derives) (?:the|a) "
    r"(?:right|correct|accurate|valid) [\w-]+(?: of [\w -]+)?$|"
    r"(?:explains|describes|states|applies|identifies|computes|derives|defines)\b[^,;:]*\b"
    r"(?:correctly|accurately|rightly)$)",
    re.IGNORECASE,
)
# After a verb of a good deed these say that it was none.
_SPOILED = re.compile(
    r"\b(?:wrong\w*|incorrect\w*|inaccurate\w*|false\w*|mistake\w*|erroneous\w*|instead|only|"
    r"merely|solely|rather than|without|as if|as though|but|irrelevant|unrelated|unsupported|"
    r"nonexistent|not|no|fails?|ignor\w+|despite|contrary|bias|invalid\w*|improper\w*|error\w*|"
    r"misconception|all|always|never|every)\b",
    re.IGNORECASE,
)
ERROR_CATEGORIES = frozenset({"error", "errors", "mistake", "mistakes", "penalty", "pitfall"})
"""Categories that say of a criterion that it names a fault."""

# Verbs in which criteria speak of what an answer does.
_VERBS = (
    "states|explains|identifies|concludes|notes|mentions|describes|discusses|argues|shows|derives|"
    "computes|calculates|proves|justifies|compares|predicts|recommends|advises|recognizes|"
    "recognises|acknowledges|names|gives|provides|uses|applies|links|relates|points out|proposes|"
    "suggests|defines|lists|cites|specifies|distinguishes|attributes|warns|claims|says|connects|"
    "demonstrates|clarifies|estimates|infers|rejects|considers|addresses|outlines|quantifies"
)
_COMPOUND = (
    (re.compile(rf"\b(?:and|but)(?: then| also)? (?:\w+ly )?(?:{_VERBS})\b", re.I), "two acts"),
    (re.compile(r"\band (?:that|why|how|whether|what|which)\b", re.I), "two propositions"),
    (re.compile(r"\b(?:and also|as well as (?:that|why|how))\b", re.I), "two propositions"),
    (re.compile(rf";\s*(?:and |also )?(?:{_VERBS})\b|[.;]\s+[A-Z]\w+s\b", re.I), "two sentences"),
    (re.compile(r"\bbut (?:also|not) that\b", re.I), "two propositions"),
    (re.compile(r"\band/or\b", re.I), "an “and/or”"),
)
_LIST = re.compile(r"\((?:i|1|a)\).+\((?:ii|2|b)\)", re.IGNORECASE)
_PAIR = re.compile(
    r"^(?:compares|contrasts|distinguishes|weighs|links|relates|connects|reconciles)\b|\bbetween\b",
    re.IGNORECASE,
)  # what these hold together is one proposition
_REPORTED = re.compile(r"^[\w ]{3,24}? that .*", re.IGNORECASE)  # a clause about the matter
_STYLE = re.compile(
    r"\b\d+\s+(?:words|sentences|paragraphs|bullet points)\b(?!\s+(?:per|of|in|and|are|is|that))|"
    r"\b(?:bullet(?:ed)? (?:points?|lists?)|word (?:count|limit))\b|"
    r"\b(?:formatted|written|presented|structured|organi[sz]ed|expressed|phrased|laid out)\s+"
    r"(?:clearly|well|concisely|neatly|logically|coherently|professionally|in (?:markdown|latex|"
    r"bullet|prose|a (?:clear|concise|logical|professional|coherent)))|"
    r"\b(?:uses?|in|with|maintains?|keeps?|adopts?|has)\s+(?:an?\s+)?(?:professional|formal|polite|"
    r"friendly|confident|empathetic|respectful|neutral|academic|warm|clear|concise|plain|accessible)"
    r"\s+(?:tone|language|style|manner|prose|writing)\b|"
    r"\b(?:(?:good|correct|proper|poor|bad|perfect) grammar|grammar (?:errors?|mistakes?)|"
    r"grammar(?: and| or|,) (?:spelling|punctuation|style)|"
    r"(?:spelling|punctuation|style|errors|mistakes)(?:,| and| or| of| in) grammar|"
    r"grammatical (?:errors?|mistakes?)|grammatically correct|"
    r"spelling|typos?|readability|eloquen\w+|verbos\w+|wordiness)\b|"
    r"\b(?:response|answer|reply)(?:[’']s)? length\b|\b(?:response|answer|reply)[’']s tone\b|"
    r"^(?:the )?(?:length|tone) (?:is|should be|must be) (?:appropriate|adequate|professional|"
    r"polite|respectful|neutral|formal|friendly|clear)\b|"
    r"\bin an? (?:logical|coherent|orderly) (?:order|manner|structure|fashion)\b|"
    r"\b(?:more|fewer|less) than (?:two|three|four|five|six|ten) (?:sentences|paragraphs)$|"
    r"\b(?:succinctly|concisely)\b|"
    r"^(?:is|are|be|remains?|stays?|keeps? (?:it|the (?:answer|response)))\s+"
    r"(?:(?:very|sufficiently|overall|generally)\s+)?(?:clear|concise|brief|short|succinct|long|"
    r"well[- ]\w+|easy to (?:read|follow)|coherent|readable|detailed|verbose|too (?:long|short)|"
    r"polite|structured|organi[sz]ed)\b|"
    r"^(?:is|has|gives|offers|provides|presents|produces|uses|keeps)\b.*"
    r"\b(?:well[- ](?:written|structured|organi[sz]ed|formatted)|easy to (?:read|follow))\b|"
    r"\b(?:uses?|in|with)\s+(?:markdown|latex|headings|sub-?headings)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=65_536)
def _of_one(text: str, weight: int, category: str) -> tuple[tuple[LintCode, str], ...]:
    """What one criterion gives reason to look at; kept, since screens ask again and again."""
    return tuple(_found(text, weight, category))


def _found(text: str, weight: int, category: str) -> Iterator[tuple[LintCode, str]]:
    quoted = f"“{_short(text)}” ({weight:+d})"
    bare = _SUBJECT.sub("", _QUOTED.sub("·", text).strip())
    if _NOTHING.match(bare):
        yield "NEGATED", f"{quoted} {_negated(bare, weight)}"
    elif weight > 0 and (_FAULT.match(bare) or category.casefold() in ERROR_CATEGORIES):
        yield "SIGN", f"{quoted} names a fault and is rewarded for; weigh it negatively"
    elif weight < 0 and _DEED.match(bare) and not _SPOILED.search(bare):
        yield "SIGN", f"{quoted} names a good deed and is punished; name the error, or weigh it up"
    if what := _compound(text, bare, weight):
        yield "COMPOUND", f"{quoted} holds {what}; ask for one proposition, or split it"
    if not _REPORTED.match(bare) and _STYLE.search(bare):
        yield "STYLE", f"{quoted} is about form, length or tone; ask for substance"


def compound(criterion: Criterion) -> bool:
    """Whether a criterion states more than one proposition. Enumerated nouns (`latency and cost`)
    count as one."""
    found = _of_one(criterion.criterion, criterion.weight, criterion.category)
    return any(code == "COMPOUND" for code, _ in found)


def _compound(text: str, bare: str, weight: int) -> str:
    """What more than one proposition it holds; "" for one. An error may be told by a contrast."""
    if _LIST.search(text):
        return "a list"
    if _PAIR.search(bare):
        return ""
    found = ((pattern.search(bare), what) for pattern, what in _COMPOUND)
    return next(
        (
            what
            for match, what in found
            if match and not (weight < 0 and match.group().startswith("but"))
        ),
        "",
    )


def _negated(bare: str, weight: int) -> str:
    """Why a criterion that is worded by what an answer lacks is wrong by its sign."""
    if weight > 0:
        return "is met by an answer that says nothing; ask for what it must say"
    if _OMISSION.match(bare):
        return "punishes an omission; ask for it with a positive weight, or name an error"
    return "punishes answers that do right; name the error itself"


def _dominant(rubric: Sequence[Criterion]) -> Iterator[RubricFinding]:
    possible = sum(c.weight for c in rubric if c.weight > 0)
    for number, c in enumerate(rubric, 1):
        if possible and abs(c.weight) > DOMINANT * possible:
            percent = f"{100 * abs(c.weight) / possible:.0f} %"
            message = f"“{_short(c.criterion)}” weighs {percent} of all positive weights"
            yield RubricFinding("DOMINANT", (number,), f"{message}; one mark decides the score")


_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_EMPTY = frozenset(
    _WORD.findall(
        "a an and are as at be been by for from has have in into is it its of on or so than that "
        "the their them then there these they this those to was were which while with would answer "
        "response states claims says explains notes mentions concludes identifies describes points "
        "out recognizes recognises argues shows asserts"
    )
)
# Two criteria that differ in one of these, or in a number, say different things.
_DISTINCT = frozenset(
    _WORD.findall(
        "not no never without more less fewer greater smaller larger higher lower increase "
        "increases decrease decreases rises falls above below before after first second third last "
        "all none some only always weak strong left right top bottom upper minimum maximum min "
        "max fast slow faster slower better worse true false positive negative input output read "
        "write earlier later both either neither if unless"
    )
)


@lru_cache(maxsize=65_536)
def _words(text: str) -> frozenset[str]:
    """The words that bear meaning, without a plural's or a verb's s."""
    words = _WORD.findall(text.casefold())
    kept = (w for w in words if w not in _EMPTY)
    return frozenset(w if w in _DISTINCT else _stem(w) for w in kept)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _alike(rubric: Sequence[Criterion]) -> Iterator[RubricFinding]:
    """Pairs that say the same, or nearly."""
    words = [_words(c.criterion) for c in rubric]
    for (one, a), (other, b) in combinations(enumerate(words), 2):
        # No pair of such sizes is alike enough, whatever the words.
        if not a or not b or min(len(a), len(b)) < ALIKE * max(len(a), len(b)):
            continue
        numbers = (one + 1, other + 1)
        differing = a ^ b
        if not differing:
            yield RubricFinding("DUPLICATE", numbers, f"both say {_quoted(rubric[one])}")
        elif (
            min(len(a), len(b)) >= LEAST_WORDS
            and len(a & b) >= ALIKE * len(a | b)
            and not any(word in _DISTINCT or word[0].isdigit() for word in differing)
        ):
            said = f"{_quoted(rubric[one])} and {_quoted(rubric[other])} nearly say the same"
            yield RubricFinding("OVERLAP", numbers, f"{said}, so that it counts twice")


def _quoted(criterion: Criterion) -> str:
    return f"“{_short(criterion.criterion)}”"


def _short(text: str) -> str:
    """The beginning of a criterion, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


class LintCount(NamedTuple):
    """How many `rubrics` there are, how many of them something was `found` of, and how many
    findings of each code, the most frequent first."""

    rubrics: int
    found: int
    codes: Mapping[str, int]

    @property
    def interval(self) -> Interval | None:
        """That of the share with findings; None for a single rubric."""
        return wilson(self.found, self.rubrics) if self.rubrics > 1 else None

    @property
    def said(self) -> str:
        """`1 of 31 with findings of the linter (3 %, 1–16): STYLE 1`."""
        within = f", {in_percent(self.interval)}" if self.interval else ""
        codes = ", ".join(f"{code} {n}" for code, n in self.codes.items())
        share = f"({100 * self.found / self.rubrics:.0f} %{within})"
        return (
            f"{self.found} of {self.rubrics} with findings of the linter {share}"
            f"{': ' if codes else ''}{codes}"
        )


def count_findings(rubrics: Iterable[Sequence[Criterion]]) -> LintCount | None:
    """What the linter finds of these rubrics; None where there is none. A single criterion, which
    stands for an answer that is compared, is no rubric."""
    found = [lint_rubric(rubric) for rubric in rubrics if len(rubric) > 1]
    codes = Counter(finding.code for findings in found for finding in findings)
    return (
        LintCount(len(found), sum(map(bool, found)), dict(codes.most_common())) if found else None
    )
