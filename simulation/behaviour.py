"""What a simulated challenger does by itself, and what becomes of it under the rules it is given.

A prompt matters because the challenger obeys the rules that it finds in it. The rates are
declarations, tuned so that the seed prompts show every outcome and leave an optimizer room.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

# How often each thing happens when nothing is said about it: shares of candidates, 0 … 1, except
# "padding" (share of criteria that repeat the context), "special" (share of questions about special
# matters) and "kind_…" (weights of question types). A domain may have rates of its own.
UNTAUGHT: Mapping[str, float] = {
    "kind_recall": 3.0, "kind_explanation": 3.5, "kind_prediction": 1.5, "kind_decision": 1.0,
    "kind_interaction": 0.6, "kind_contradiction": 0.4, "generic": 0.9, "special": 0.15,
    "leak": 0.4, "padding": 0.4, "miscount": 0.08, "bad_json": 0.10, "unfocused": 0.08,
    "misworded": 0.3, "names_source": 0.10, "overload": 0.12, "case_speak": 0.3, "rambling": 0.3,
    "routine": 0.0, "wrong": 0.0, "integer": 0.0,
}  # fmt: skip
CONDITIONS = 2  # circumstances that a context changes, unless told otherwise
CONDITIONS_MAX = 5
RATE_MAX = 0.95


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule that the challenger understands when a sentence of its prompt matches `pattern`.

    `factors` multiply rates of `UNTAUGHT`; `conditions` is added. `example` states the rule.
    """

    name: str
    example: str
    pattern: re.Pattern[str]
    factors: Mapping[str, float]
    conditions: int


def _rule(name: str, example: str, pattern: str, conditions: int = 0, **factors: float) -> Rule:
    return Rule(name, example, re.compile(pattern, re.IGNORECASE), factors, conditions)


_NO = r"(?:avoid|never|not|no|don['’]t|without|instead of|rather than|is not|isn['’]t)"

RULES: tuple[Rule, ...] = (
    # What any careful prompt says.
    _rule("no recall", "Ask for reasoning rather than recall.",
          rf"{_NO}[^.]{{0,60}}\brecall|reasoning[^.]{{0,40}}(?:not|rather than) recall",
          kind_recall=0.15),
    _rule("no explain-why", "Avoid questions that ask to explain why or how.",
          rf"{_NO}[^.]{{0,60}}(?:explain why|explain how|“why”|why questions)",
          kind_explanation=0.35),
    _rule("predictions", "Ask for a prediction.", r"\bpredict", kind_prediction=2.0),
    _rule("decisions", "Ask for a decision under constraints.", r"decision|decide|trade-?off",
          kind_decision=2.0),
    _rule("interactions", "Ask how two mechanisms interact.", r"\binteract",
          kind_interaction=2.5),
    _rule("contradictions", "Build on an apparent contradiction.",
          r"contradict|paradox|at odds", kind_contradiction=2.5),
    _rule("document first", "Read the document first and take the answer from the document.",
          r"read the (?:whole )?document|from the document|ground\w* in the document",
          generic=0.85),
    _rule("no solution in the context", "The context never states the solution.",
          rf"{_NO} (?:state|contain|give|hint|reveal)[^.]{{0,40}}(?:solution|answer|outcome)"
          rf"|context {_NO} [^.]{{0,40}}(?:solution|answer|conclusion)", leak=0.5),
    _rule("one question", "Ask one thing.",
          r"one (?:single )?(?:question|thing)|single[- ]focus|exactly one", unfocused=0.25),
    _rule("beyond the context", "A positive criterion needs reasoning beyond the context.",
          r"beyond (?:what )?the context|not (?:already )?in the context", padding=0.5),
    _rule("negatives name an error", "A negative criterion names a specific error.",
          r"names? (?:one|a) specific error|negative[^.]{0,80}specific (?:error|mistake)",
          misworded=0.45),
    _rule("no source", "Do not mention the document.",
          rf"{_NO}[^.]{{0,60}}(?:mention|refer|cite|name)[^.]{{0,40}}(?:document|paper|source)",
          names_source=0.2),
    _rule("client's voice", "No court levels.", r"court levels?|role-play|“in re”",
          case_speak=0.3, names_source=0.3),
    _rule("short message", "At most 1000 characters.", r"(?:most|under) 1,?000 characters",
          rambling=0.2),
    _rule("json", "Reply with one JSON object.", r"\bJSON\b", bad_json=0.5),
    _rule("second way", "Check the result a second way.",
          r"check the result|second way|substitution back", wrong=0.4),
    _rule("no integers", "No bare integer as an answer.", rf"{_NO} bare integers?", integer=0.2),
    _rule("chain of steps", "Ask for a chain of dependent steps.",
          r"chain of (?:correct |dependent )?steps|dependent steps", routine=0.8),
    # What has to be discovered (paper, section 4, and some of our own).
    _rule("document-specific insight",
          "If the question is answerable without this document, it is too easy: build it on a "
          "document-specific insight.",
          r"(?:answer\w*|solv\w*)[^.]{0,40}without (?:this|the|reading)[^.]{0,12}document"
          r"|document-specific", generic=0.35, special=5.5),
    _rule("no context leaks",
          "If the question is answerable by rephrasing the context, rewrite the context.",
          r"rephras\w+ (?:of )?the context", leak=0.25, padding=0.5),
    _rule("positive-only rubric", "Write positive-only rubrics.",
          r"positive-only|only positive (?:criteria|weights)|no negative criteri",
          conditions=1, special=3.0, misworded=0.0, padding=0.3),
    _rule("strict weights", "Weights are integers of at most 7.",
          r"weights?[^.]{0,60}(?:at most|up to|≤|no more than|1 (?:to|–|\.\.) ?)\s*7\b",
          miscount=0.6, bad_json=0.5),
    _rule("tempting mistake",
          "Start from what weak models get wrong and build the question on that tempting mistake.",
          r"(?:weak|smaller|careless)[^.]{0,40}(?:get|gets|getting|go|goes) wrong"
          r"|tempting (?:mistake|answer|error)",
          kind_contradiction=1.6, kind_explanation=0.5, generic=0.85),
    _rule("interlocking conditions", "Let three interlocking conditions bear on the outcome.",
          r"(?:two|three) (?:or more )?(?:interlocking|interacting|separate) "
          r"(?:conditions|changes)",
          conditions=1, kind_interaction=1.5),
    _rule("within reach",
          "Keep the question within reach: some attempts of a weak model should get parts of it.",
          r"within reach|learnable|(?:some|a few) attempts (?:succeed|get it)|neither trivial nor",
          overload=0.2),
    _rule("count before you answer", "Count the criteria against the policy before you answer.",
          r"count (?:the |your )?criteria|recount", miscount=0.25),
    _rule("same marks from two judges",
          "Keep only criteria that two careful judges would mark the same.",
          r"decid\w+ from the answer alone|two careful judges|would mark (?:it )?the same",
          padding=0.6, misworded=0.6),
    _rule("no textbook formula", "If one known formula settles the problem, discard it.",
          r"(?:one|single|known|textbook) (?:textbook |known )?formula (?:settles|answers|solves)",
          routine=0.4),
    _rule("solve it twice",
          "Solve it twice by independent derivations and discard it if they differ.",
          r"solve it (?:twice|again)|independent(?:ly)? (?:derivation|solution|derive)",
          wrong=0.2),
    # What harms.
    _rule("simple words", "Keep the question simple so that every reader can follow it.",
          r"(?:keep|make)[^.]{0,30}(?:simple|short|easy|accessible)|beginner",
          kind_recall=3.0, kind_explanation=2.0, routine=1.5),
    _rule("generous context", "Put all the information that is needed into the context.",
          r"(?:everything|all (?:the )?(?:facts|information))[^.]{0,60}in(?:to)? the context"
          r"|context[^.]{0,60}(?:everything|all (?:the )?(?:facts|information)|complete|self-suff)",
          leak=1.8, padding=1.5),
    _rule("as hard as possible", "Make the question as hard as possible.",
          r"as (?:hard|difficult) as (?:possible|you can)|extremely (?:hard|difficult)|expert-only",
          overload=6.0, conditions=3),
    _rule("cover everything", "Cover the whole document with several sub-questions.",
          r"cover (?:everything|the whole|all)|several (?:sub-?)?questions|comprehensive",
          unfocused=4.0, miscount=1.5),
    _rule("general knowledge", "Test general knowledge and best practices of the field.",
          r"(?:test|ask for|draw on)[^.]{0,20}general knowledge|best practices", generic=1.6),
)  # fmt: skip

# What a round's outcome, told in the instruction, does to the next attempt.
FEEDBACK: tuple[Rule, ...] = (
    _rule("all failed", "Put the facts in plain view.", r"in plain view",
          conditions=-1, overload=0.5),
    _rule("all succeeded", "Break the tempting shortcut.", r"tempting shortcut",
          conditions=1, generic=0.6, kind_explanation=0.6),
    _rule("was too easy", "It was too easy.", r"too easy",
          conditions=1, kind_recall=0.4, kind_explanation=0.6, kind_contradiction=1.3, routine=0.9),
    _rule("strong failed", "The strong solver failed.",
          r"(?:failed on|too hard|beyond) (?:the )?strong|strong solver failed",
          conditions=-1, overload=0.5, kind_contradiction=0.6),
    _rule("leaked", "The context leaked the answer.", r"\bleak", leak=0.6),
    _rule("case-like", "…", r"does not write like that|at most 1000",
          case_speak=0.4, rambling=0.4),
    _rule("miscounted", "Follow the rubric policy.", r"rubric policy|criteria; the",
          miscount=0.4),
)  # fmt: skip


@dataclass(frozen=True)
class Behaviour:
    """How a challenger works under the rules it was given."""

    rates: Mapping[str, float]
    conditions: int
    rules: tuple[str, ...]

    def rate(self, name: str) -> float:
        """How often something happens, 0 … 0.95."""
        return min(self.rates[name], RATE_MAX)

    @property
    def kinds(self) -> dict[str, float]:
        """Weights of the question types."""
        kinds = (name for name in self.rates if name.startswith("kind_"))
        return {name.removeprefix("kind_"): self.rates[name] for name in kinds}


@lru_cache(maxsize=256)
def rules_in(text: str) -> tuple[Rule, ...]:
    """The rules that a text, on one line, states; the same prompt is read once."""
    return tuple(rule for rule in RULES if rule.pattern.search(text))


def behaviour(
    guidance: str,
    instruction: str = "",
    own: Mapping[str, float] | None = None,
    policy: Mapping[str, int] | None = None,
) -> Behaviour:
    """The behaviour under a prompt (its own words), this round's instruction, and a rubric policy.

    `own` are the rates of the domain where they differ from `UNTAUGHT`.
    """
    rates = {**UNTAUGHT, **(own or {})}
    conditions = CONDITIONS
    told = " ".join(instruction.split())
    found = dict.fromkeys((*rules_in(guidance), *rules_in(told)))
    if policy and policy.get("negatives_max") == 0:
        found |= dict.fromkeys(rules_in("positive-only"))
    found |= dict.fromkeys(rule for rule in FEEDBACK if rule.pattern.search(told))
    for rule in found:
        conditions += rule.conditions
        for name, factor in rule.factors.items():
            rates[name] *= factor
    names = tuple(rule.name for rule in found)
    return Behaviour(rates, min(max(conditions, 1), CONDITIONS_MAX), names)
