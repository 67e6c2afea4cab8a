"""What can be asked about a document, what follows, and how hard that is, for all simulated models.

A conclusion is a fact of this world. It follows from the matter («aspect») and the question alone,
so a challenger can know it, a solver can find it, and neither needs to tell the other. The words
are drawn, not derived: nothing here is true of the real world, and nothing claims to be.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autodata.simulation.behaviour import Behaviour
from autodata.simulation.documents import ReadText
from autodata.simulation.messages import listed, quoted
from autodata.simulation.rng import Rng, noise

QUOTED = re.compile(r"«([^«»]{2,80})»")

# How hard each kind of question is, in logits (ability − difficulty = log-odds of being right).
KIND_DIFFICULTY: Mapping[str, float] = {
    "recall": -2.6, "explanation": -1.7, "prediction": -0.8, "decision": -0.5, "interaction": -0.2,
    "contradiction": 0.3,
}  # fmt: skip
# Words that give a kind away, the most telling first; what matches nothing is a prediction.
_KIND_WORDS = {
    "contradiction": r"contradict|at odds|reconcile|paradox|both (?:are|sound|be) (?:right|true)",
    "decision": r"\bdecide (?:which|whether)|\bchoose|which (?:option|course)"
    r"|should (?:i|we|they)\b",
    "interaction": r"\binteract|taken together|act on each other|jointly",
    "explanation": r"\bexplain\b|\bwhy\b|\bhow (?:does|do|is|are)\b",
    "recall": r"\bdefine\b|\bwhat (?:is|are) (?:meant|the)\b|\bstate the\b",
}
CONDITION = 0.35  # logits for each condition beyond the first that has to be kept in mind
GENERIC = -1.3  # logits for a matter that every practitioner knows without the document
# Fields differ in how much has been written about them: a draw from N(0, 1) per field. In a famous
# one only special matters, those with a name of 18 letters or more, are not common knowledge.
SPECIAL = 18
FAMOUS, FAME = 0.35, -2.8
OBSCURE, OBSCURITY = 0.8, 0.8
QUESTION_SIGMA = 0.45
ASPECT_SIGMA = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """How questions of one domain are set and answered, in its own words.

    `stage` draws context and question from (kind, conditions, aspects, reading, rng), from `asks`
    by kind; `finish` may add to a context what this domain's challengers get wrong. `difficulty` is
    in logits; with `fame` some fields are common knowledge. `aspects` says how many matters (least,
    most) a question is about, `aims` how many positive and negative criteria a rubric has; `labels`
    names the kinds, `criteria` the category and capability of a criterion by facet.
    """

    # What can be said of an aspect, by facet. Phrases are modal: they fit any number and noun.
    conclusions: Sequence[str]
    extents: Sequence[str]
    common: Sequence[str]  # matters that need no document: general knowledge answers
    stage: Callable[[str, Sequence[str], Sequence[str], ReadText, Rng], tuple[str, str]]
    asks: Mapping[str, Sequence[str]]
    second_question: str
    rumours: Sequence[str]
    source_hints: Sequence[str]
    reasons: Sequence[str]
    labels: Mapping[str, str]
    words: Mapping[str, Sequence[str]]  # what `stage` and `finish` put together
    aspects: tuple[int, int]
    aims: tuple[tuple[int, int], tuple[int, int]]
    criteria: Mapping[str, Sequence[str]]
    difficulty: float = 0.0
    fame: bool = False
    rates: Mapping[str, float] = field(default_factory=dict)
    finish: Callable[[str, Behaviour, Rng], str] = lambda context, behaviour, rng: context

    def label(self, kind: str) -> str:
        """What this domain calls a kind of question."""
        return self.labels.get(kind, kind)

    @property
    def phrases(self) -> tuple[str, ...]:
        """Everything that can be said of an aspect."""
        return (*self.conclusions, *self.extents)

    def case(self, context: str, question: str) -> "Case":
        """The case that a context and a question describe."""
        aspects = tuple(dict.fromkeys(QUOTED.findall(question)))
        conditions = tuple(t for t in dict.fromkeys(QUOTED.findall(context)) if t not in aspects)
        return Case(self, area(context), question, kind_of(question), aspects, conditions)


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

    scenario: Scenario
    area: str
    question: str
    kind: str
    aspects: tuple[str, ...]
    conditions: tuple[str, ...]

    def fact(self, aspect: str) -> Fact:
        """What follows for an aspect: a fact of the world, the same for everyone who asks."""
        rng = Rng("fact", aspect.casefold(), _key(self.question))
        drivers = self.conditions or ("the setup",)
        right, tempting = rng.sample(self.scenario.conclusions, 2)
        driver, other = (rng.sample(drivers, 2) if len(drivers) > 1 else drivers * 2)[:2]
        extent, wrong = rng.sample(self.scenario.extents, 2)
        return Fact(right, driver, extent, tempting, other, wrong)

    def difficulty(self, aspect: str) -> float:
        """Logits; everything that counts stands in the text that solvers see."""
        value = KIND_DIFFICULTY[self.kind] + self.scenario.difficulty
        value += CONDITION * max(len(self.conditions) - 1, 0)
        value += self._familiarity(aspect) + noise(QUESTION_SIGMA, _key(self.question))
        if aspect.casefold() in self.scenario.common:
            return value + GENERIC
        return value + noise(ASPECT_SIGMA, "aspect", aspect.casefold())

    def _familiarity(self, aspect: str) -> float:
        """Logits by which the field makes an aspect easier or harder."""
        if not self.scenario.fame:
            return 0.0
        if is_famous(self.area):
            return 0.0 if is_special(aspect) else FAME
        return OBSCURITY if noise(1.0, "area", self.area) > OBSCURE else 0.0


def is_special(aspect: str) -> bool:
    """True for a matter with a long name of its own, which only readers of the source know."""
    return len(aspect) >= SPECIAL


def is_famous(area: str) -> bool:
    """True for a field about which much has been written."""
    return noise(1.0, "area", area) < FAMOUS


def area(context: str) -> str:
    """The field that a context names in its opening words."""
    opening = context.strip().split(".")[0].split("\n")[0]
    return " ".join(re.findall(r"[a-z]{4,}", opening.casefold()))


def kind_of(question: str) -> str:
    """The kind of question that a text asks, whatever it is labelled."""
    text = question.casefold()
    return next(
        (kind for kind, words in _KIND_WORDS.items() if re.search(words, text)), "prediction"
    )


def chance_of_success(ability: float, difficulty: float) -> float:
    """Item response: the probability (0 … 1) of being right, in logits of ability − difficulty."""
    return 1.0 / (1.0 + math.exp(difficulty - ability))


def _key(question: str) -> str:
    return " ".join(question.casefold().split())


def words(domain: str) -> dict[str, Any]:
    """What a domain says, from its file in `words/`: fields of a `Scenario`."""
    text = (Path(__file__).parent / "words" / f"{domain}.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _stage(
    kind: str, conditions: Sequence[str], aspects: Sequence[str], reading: ReadText, rng: Rng
) -> tuple[str, str]:
    """Context (area, setup and difficulty, in readable prose) and question."""
    words = GENERAL.words
    event = rng.choice(words["events"])
    question = rng.choice(GENERAL.asks[kind]).format(
        aspects=quoted(aspects), first=f"«{aspects[0]}»", event=event
    )
    area = listed(list(reading.terms[:2]) or ["distributed services"])
    setup = [rng.choice(words["settings"])]
    if basis := _basis(reading, rng):
        setup.append(rng.choice(words["basis"]).format(sentence=basis))
    changes = rng.sample(words["changes"], len(words["changes"]))
    told = [
        f"{day} the team {change.format(term=term)}."
        for day, change, term in zip(words["weekdays"], changes, conditions, strict=False)
    ]
    parts = (
        f"This is about {area}. {' '.join(setup)}",
        f"{' '.join(told)} Nothing else in the deployment is touched.".strip(),
        rng.choice(words["hard"]),
    )
    return "\n\n".join(parts), question


def _basis(reading: ReadText, rng: Rng) -> str:
    """A sentence of the document that stands on its own."""
    leaning = ("I ", "We ", "This ", "It ", "If ", "They ", "These ", "That ", "However", "Instead")
    alone = [sentence for sentence in reading.sentences if not sentence.startswith(leaning)]
    return rng.choice(alone) if alone else ""


GENERAL = Scenario(
    **words("general"), stage=_stage, aspects=(3, 4), aims=((7, 10), (3, 5)), fame=True
)
