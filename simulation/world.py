"""The world that all simulated models share: what follows from a premise, and how hard that is.

A conclusion is a fact of this world. It follows from the matter («aspect») and the question alone,
so a challenger can know it, a solver can find it, and neither needs to tell the other. The words
are drawn, not derived: nothing here is true of the real world, and nothing claims to be.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from autodata.simulation.chance import Chance, noise

QUOTED = re.compile(r"«([^«»]{2,80})»")

# What can be said of an aspect, by facet. Phrases are modal so that they fit any number and noun.
CONCLUSIONS: Mapping[str, tuple[str, ...]] = {
    "cs": (
        "will rise",
        "will fall",
        "will stay bounded",
        "will oscillate",
        "will stall",
        "will stay as before",
    ),
    "legal": (
        "will probably hold",
        "will probably fail",
        "will be barred",
        "will turn on notice",
        "will turn on the facts",
        "will be decided first",
    ),
}
EXTENTS: Mapping[str, tuple[str, ...]] = {
    "cs": ("from the start", "only at first", "only past a threshold", "with a delay"),
    "legal": (
        "whatever the contract says",
        "unless it was waived",
        "from the day of the letter",
        "only if it is raised in time",
    ),
}
PHRASES: tuple[str, ...] = tuple(
    phrase for table in (CONCLUSIONS, EXTENTS) for row in table.values() for phrase in row
)

# How hard each kind of question is, in logits (ability − difficulty = log-odds of being right).
KIND_DIFFICULTY: Mapping[str, float] = {
    "recall": -2.6,
    "explanation": -1.7,
    "prediction": -0.8,
    "decision": -0.5,
    "interaction": -0.2,
    "contradiction": 0.3,
}
# Words that give a kind away, the most telling first; what matches nothing is a prediction.
_KIND_WORDS: tuple[tuple[str, str], ...] = (
    ("contradiction", r"contradict|at odds|reconcile|paradox|both (?:are|sound|be) (?:right|true)"),
    (
        "decision",
        r"\bdecide (?:which|whether)|\bchoose|which (?:option|course)|should (?:i|we|they)\b",
    ),
    ("interaction", r"\binteract|taken together|act on each other|jointly"),
    ("explanation", r"\bexplain\b|\bwhy\b|\bhow (?:does|do|is|are)\b"),
    ("recall", r"\bdefine\b|\bwhat (?:is|are) (?:meant|the)\b|\bstate the\b"),
)
DOMAIN_DIFFICULTY: Mapping[str, float] = {"cs": 0.0, "legal": 1.7}
CONDITION = 0.35  # logits for each condition beyond the first that has to be kept in mind
GENERIC = -1.3  # logits for a matter that every practitioner knows without the document
# Fields differ in how much has been written about them: a draw from N(0, 1) per field. In a famous
# one only special matters, those with a name of 18 letters or more, are not common knowledge.
SPECIAL = 18
FAMOUS, FAME = 0.35, -2.8
OBSCURE, OBSCURITY = 0.8, 0.8
FACET_DIFFICULTY = {"conclusion": 0.0, "driver": 0.2, "extent": 0.4}
QUESTION_SIGMA = 0.45
ASPECT_SIGMA = 0.5
TEMPTATION = 0.6  # share of wrong answers that are the same tempting mistake

# Matters that need no document: answers about them come from general knowledge.
COMMON: Mapping[str, tuple[str, ...]] = {
    "cs": (
        "latency",
        "throughput",
        "memory use",
        "error rate",
        "processor load",
        "availability",
        "queue length",
    ),
    "legal": (
        "the contract",
        "my deposit",
        "the deadline",
        "a fair settlement",
        "my legal costs",
        "the damages",
        "the evidence",
    ),
}
_ALL_COMMON = frozenset(word for row in COMMON.values() for word in row)


@dataclass(frozen=True)
class Fact:
    """What is true of one aspect, and the mistake that tempts whoever does not see it."""

    conclusion: str
    driver: str
    extent: str
    tempting_conclusion: str
    tempting_driver: str
    tempting_extent: str


@dataclass(frozen=True)
class Case:
    """A question as every simulated model understands it, from its text alone.

    `aspects` are the «matters» asked about, `conditions` the other «matters» of the context.
    """

    domain: str
    area: str
    question: str
    kind: str
    aspects: tuple[str, ...]
    conditions: tuple[str, ...]

    def fact(self, aspect: str) -> Fact:
        """What follows for an aspect: a fact of the world, the same for everyone who asks."""
        chance = Chance("fact", aspect.casefold(), _key(self.question))
        conclusions, extents = _tables(self.domain)
        drivers = self.conditions or ("the setup",)
        right, tempting = chance.sample(conclusions, 2)
        driver, other = (chance.sample(drivers, 2) if len(drivers) > 1 else drivers * 2)[:2]
        extent, wrong = chance.sample(extents, 2)
        return Fact(right, driver, extent, tempting, other, wrong)

    def difficulty(self, aspect: str) -> float:
        """Logits; everything that counts stands in the text that solvers see."""
        value = KIND_DIFFICULTY[self.kind] + DOMAIN_DIFFICULTY[self.domain]
        value += CONDITION * max(len(self.conditions) - 1, 0)
        value += self._familiarity(aspect) + noise(QUESTION_SIGMA, _key(self.question))
        if aspect.casefold() in _ALL_COMMON:
            return value + GENERIC
        return value + noise(ASPECT_SIGMA, "aspect", aspect.casefold())

    def _familiarity(self, aspect: str) -> float:
        """Logits by which the field makes an aspect easier or harder."""
        if self.domain != "cs":
            return 0.0
        field = noise(1.0, "area", self.area)
        if field < FAMOUS:
            return 0.0 if is_special(aspect) else FAME
        return OBSCURITY if field > OBSCURE else 0.0


def is_special(aspect: str) -> bool:
    """True for a matter with a long name of its own, which only readers of the source know."""
    return len(aspect) >= SPECIAL


def case(domain: str, context: str, question: str) -> Case:
    """The case that a context and a question describe."""
    aspects = tuple(dict.fromkeys(QUOTED.findall(question)))
    conditions = tuple(t for t in dict.fromkeys(QUOTED.findall(context)) if t not in aspects)
    return Case(
        domain=domain if domain in CONCLUSIONS else "cs",
        area=area(context),
        question=question,
        kind=kind_of(question),
        aspects=aspects,
        conditions=conditions,
    )


def area(context: str) -> str:
    """The field that a context names in its opening words."""
    opening = context.strip().split(".")[0].split("\n")[0]
    return " ".join(re.findall(r"[a-z]{4,}", opening.casefold()))


def kind_of(question: str) -> str:
    """The kind of question that a text asks, whatever it is labelled."""
    text = question.casefold()
    text = question.casefold()
    return next((kind for kind, words in _KIND_WORDS if re.search(words, text)), "prediction")


def chance_of_success(ability: float, difficulty: float) -> float:
    """Item response: the probability (0 … 1) of being right, in logits of ability − difficulty."""
    return 1.0 / (1.0 + math.exp(difficulty - ability))


def _tables(domain: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return CONCLUSIONS[domain], EXTENTS[domain]


def _key(question: str) -> str:
    return " ".join(question.casefold().split())
