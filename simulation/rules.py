"""The sentences that a simulated challenger understands, and what each of them does to its habits.

A prompt matters because the challenger obeys the rules that it finds in it. What it does when it
finds none is in `habits`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule that the challenger understands when a sentence of its prompt matches `pattern`.

    `factors` multiply rates of `habits.UNTAUGHT`; `conditions` is added. `example` states the rule.
    """

    name: str
    pattern: re.Pattern[str]
    example: str
    factors: Mapping[str, float] = field(default_factory=dict)
    conditions: int = 0


def _rule(name: str, pattern: str, example: str, conditions: int = 0, **factors: float) -> Rule:
    readable = {key.replace("kind_", "kind "): factor for key, factor in factors.items()}
    return Rule(name, re.compile(pattern, re.IGNORECASE), example, readable, conditions)


_NO = r"(?:avoid|never|not|no|don['’]t|without|instead of|rather than|is not|isn['’]t)"

RULES: tuple[Rule, ...] = (
    # What any careful prompt says.
    _rule(
        "no recall",
        rf"{_NO}[^.]{{0,60}}\brecall|reasoning[^.]{{0,40}}(?:not|rather than) recall",
        "Ask for reasoning rather than recall.",
        kind_recall=0.15,
    ),
    _rule(
        "no explain-why",
        rf"{_NO}[^.]{{0,60}}(?:explain why|explain how|“why”|why questions)",
        "Avoid questions that ask to explain why or how.",
        kind_explanation=0.35,
    ),
    _rule("predictions", r"\bpredict", "Ask for a prediction.", kind_prediction=2.0),
    _rule(
        "decisions",
        r"decision|decide|trade-?off",
        "Ask for a decision under constraints.",
        kind_decision=2.0,
    ),
    _rule(
        "interactions",
        r"\binteract",
        "Ask how two mechanisms interact.",
        kind_interaction=2.5,
    ),
    _rule(
        "contradictions",
        r"contradict|paradox|at odds",
        "Build on an apparent contradiction.",
        kind_contradiction=2.5,
    ),
    _rule(
        "document first",
        r"read the (?:whole )?document|from the document|ground\w* in the document",
        "Read the document first and take the answer from the document.",
        generic=0.85,
    ),
    _rule(
        "no solution in the context",
        rf"{_NO} (?:state|contain|give|hint|reveal)[^.]{{0,40}}(?:solution|answer|outcome)"
        rf"|context {_NO} [^.]{{0,40}}(?:solution|answer|conclusion)",
        "The context never states the solution.",
        leak=0.5,
    ),
    _rule(
        "one question",
        r"one (?:single )?(?:question|thing)|single[- ]focus|exactly one",
        "Ask one thing.",
        unfocused=0.25,
    ),
    _rule(
        "beyond the context",
        r"beyond (?:what )?the context|not (?:already )?in the context",
        "A positive criterion needs reasoning beyond the context.",
        padding=0.5,
    ),
    _rule(
        "negatives name an error",
        r"names? (?:one|a) specific error|negative[^.]{0,80}specific (?:error|mistake)",
        "A negative criterion names a specific error.",
        misworded=0.45,
    ),
    _rule(
        "no source",
        rf"{_NO}[^.]{{0,60}}(?:mention|refer|cite|name)[^.]{{0,40}}(?:document|paper|source)",
        "Do not mention the document.",
        names_source=0.2,
    ),
    _rule(
        "client's voice",
        r"court levels?|role-play|“in re”",
        "No court levels.",
        case_speak=0.3,
        names_source=0.3,
    ),
    _rule(
        "short message",
        r"(?:most|under) 1,?000 characters",
        "At most 1000 characters.",
        rambling=0.2,
    ),
    _rule("json", r"\bJSON\b", "Reply with one JSON object.", bad_json=0.5),
    _rule(
        "second way",
        r"check the result|second way|substitution back",
        "Check the result a second way.",
        wrong=0.4,
    ),
    _rule("no integers", rf"{_NO} bare integers?", "No bare integer as an answer.", integer=0.2),
    _rule(
        "chain of steps",
        r"chain of (?:correct |dependent )?steps|dependent steps",
        "Ask for a chain of dependent steps.",
        routine=0.8,
    ),
    # What has to be discovered (paper, section 4, and some of our own).
    _rule(
        "document-specific insight",
        r"(?:answer\w*|solv\w*)[^.]{0,40}without (?:this|the|reading)[^.]{0,12}document"
        r"|document-specific",
        "If the question is answerable without this document, it is too easy: build it on a "
        "document-specific insight.",
        generic=0.35,
        special=5.5,
    ),
    _rule(
        "no context leaks",
        r"rephras\w+ (?:of )?the context",
        "If the question is answerable by rephrasing the context, rewrite the context.",
        leak=0.25,
        padding=0.5,
    ),
    _rule(
        "positive-only rubric",
        r"positive-only|only positive (?:criteria|weights)|no negative criteri",
        "Write positive-only rubrics.",
        conditions=1,
        special=3.0,
        misworded=0.0,
        padding=0.3,
    ),
    _rule(
        "strict weights",
        r"weights?[^.]{0,60}(?:at most|up to|≤|no more than|1 (?:to|–|\.\.) ?)\s*7\b",
        "Weights are integers of at most 7.",
        miscount=0.6,
        bad_json=0.5,
    ),
    _rule(
        "tempting mistake",
        r"(?:weak|smaller|careless)[^.]{0,40}(?:get|gets|getting|go|goes) wrong"
        r"|tempting (?:mistake|answer|error)",
        "Start from what weak models get wrong and build the question on that tempting mistake.",
        kind_contradiction=1.6,
        kind_explanation=0.5,
        generic=0.85,
    ),
    _rule(
        "interlocking conditions",
        r"(?:two|three) (?:or more )?(?:interlocking|interacting|separate) (?:conditions|changes)",
        "Let three interlocking conditions bear on the outcome.",
        conditions=1,
        kind_interaction=1.5,
    ),
    _rule(
        "within reach",
        r"within reach|learnable|(?:some|a few) attempts (?:succeed|get it)|neither trivial nor",
        "Keep the question within reach: some attempts of a weak model should get parts of it.",
        overload=0.2,
    ),
    _rule(
        "count before you answer",
        r"count (?:the |your )?criteria|recount",
        "Count the criteria against the policy before you answer.",
        miscount=0.25,
    ),
    _rule(
        "same marks from two judges",
        r"decid\w+ from the answer alone|two careful judges|would mark (?:it )?the same",
        "Keep only criteria that two careful judges would mark the same.",
        padding=0.6,
        misworded=0.6,
    ),
    _rule(
        "no textbook formula",
        r"(?:one|single|known|textbook) (?:textbook |known )?formula (?:settles|answers|solves)",
        "If one known formula settles the problem, discard it.",
        routine=0.4,
    ),
    _rule(
        "solve it twice",
        r"solve it (?:twice|again)|independent(?:ly)? (?:derivation|solution|derive)",
        "Solve it twice by independent derivations and discard it if they differ.",
        wrong=0.2,
    ),
    # What harms.
    _rule(
        "simple words",
        r"(?:keep|make)[^.]{0,30}(?:simple|short|easy|accessible)|beginner",
        "Keep the question simple so that every reader can follow it.",
        kind_recall=3.0,
        kind_explanation=2.0,
        routine=1.5,
    ),
    _rule(
        "generous context",
        r"(?:everything|all (?:the )?(?:facts|information))[^.]{0,60}in(?:to)? the context"
        r"|context[^.]{0,60}(?:everything|all (?:the )?(?:facts|information)|complete|self-suff)",
        "Put all the information that is needed into the context.",
        leak=1.8,
        padding=1.5,
    ),
    _rule(
        "as hard as possible",
        r"as (?:hard|difficult) as (?:possible|you can)|extremely (?:hard|difficult)|expert-only",
        "Make the question as hard as possible.",
        overload=6.0,
        conditions=3,
    ),
    _rule(
        "cover everything",
        r"cover (?:everything|the whole|all)|several (?:sub-?)?questions|comprehensive",
        "Cover the whole document with several sub-questions.",
        unfocused=4.0,
        miscount=1.5,
    ),
    _rule(
        "general knowledge",
        r"(?:test|ask for|draw on)[^.]{0,20}general knowledge|best practices",
        "Test general knowledge and best practices of the field.",
        generic=1.6,
    ),
)

# What a round's outcome, told in the instruction, does to the next attempt.
FEEDBACK: tuple[Rule, ...] = (
    _rule(
        "all failed", r"in plain view", "Put the facts in plain view.", conditions=-1, overload=0.5
    ),
    _rule(
        "all succeeded",
        r"tempting shortcut",
        "Break the tempting shortcut.",
        conditions=1,
        generic=0.6,
        kind_explanation=0.6,
    ),
    _rule(
        "was too easy",
        r"too easy",
        "It was too easy.",
        conditions=1,
        kind_recall=0.4,
        kind_explanation=0.6,
        kind_contradiction=1.3,
        routine=0.9,
    ),
    _rule(
        "strong failed",
        r"(?:failed on|too hard|beyond) (?:the )?strong|strong solver failed",
        "The strong solver failed.",
        conditions=-1,
        overload=0.5,
        kind_contradiction=0.6,
    ),
    _rule("leaked", r"\bleak", "The context leaked the answer.", leak=0.6),
    _rule("case-like", r"does not write like that|at most 1000", "…", case_speak=0.4, rambling=0.4),
    _rule("miscounted", r"rubric policy|criteria; the", "Follow the rubric policy.", miscount=0.4),
)


@lru_cache(maxsize=256)
def rules_in(text: str) -> tuple[Rule, ...]:
    """The rules that a text, on one line, states; the same prompt is read once."""
    return tuple(rule for rule in RULES if rule.pattern.search(text))
