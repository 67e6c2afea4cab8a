"""What can be asked about a document, what follows, and how hard that is, for all simulated models.

A conclusion is a fact of this world. It follows from the matter («aspect») and the question alone,
so a challenger can know it, a solver can find it, and neither needs to tell the other. The words
are drawn, not derived: nothing here is true of the real world, and nothing claims to be.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from autodata.simulation.behaviour import Behaviour
from autodata.simulation.messages import Rng, listed, noise, quoted

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"\\[a-zA-Z]+\*?(?:\[[^\]]*\])?(?:\{[^{}]*\})*")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|`([^`]*)`")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"”)]?\s+(?=[A-Z“\"(])")
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9 ,;:'’“”\"()\-–—.%]*[.]")
# Sentences that speak of the text itself are of no use outside it.
_SELF = re.compile(
    r"\b(?:sections?|chapters?|figures?|appendix|papers?|documents?|articles?|proposals?|passages?"
    r"|authors?|opinions?|texts?|posts?|pep|rfc|kep|below|above|ante|supra|ibid|id)\b",
    re.IGNORECASE,
)
_AFTER_VERB_MARK = re.compile(r"\b(?:to|can|will|may|must|should|would|not) ([A-Za-z]+)")
_WORD = re.compile(r"[A-Za-z][A-Za-z\-]*[A-Za-z]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DETERMINERS = _words("the a an each every its their this any no these all both some")
# After these a noun phrase begins.
_OPENERS = _DETERMINERS | _words("of in for with by on from into between under")
# Words that end a noun phrase: function words, and verbs that usually follow one.
_BOUNDARY = _DETERMINERS | _words(
    """
    is are was were be been being am has have had having do does did done doing not and or nor but
    if then else when while where which who whom whose what why how because since until unless
    although though so as at by for from in into of off on onto out over per to toward under up
    upon via with within without about above across after against along among around before behind
    below beneath between beyond during except inside near past through throughout can could may
    might must shall should will would cannot also only even just still yet already again once ever
    that those never always often usually sometimes too very more most less least much many few
    several such himself herself therefore despite hence either whether instead away back early late
    same other another own than there here now it he she they we you i me him her them us his our
    your my itself themselves one two three first second last next like alone down soon forever
    use uses used using make makes made get gets got give gives given take takes taken need needs
    needed call calls called see sees seen say says said know knows known become becomes remain
    remains start starts stop stops begin begins run runs send sends receive receives return
    returns allow allows let lets require requires mean means cause causes contain contains include
    includes provide provides exist exists occur occurs happen happens hold holds held holding keep
    keeps set sets show shows follow follows lead leads apply applies propose proposes ensure
    ensures demonstrate demonstrates correspond corresponds wait waits record records claims
    contends seek seeks sought find finds found
    """
)
# Nouns that name no matter of their own.
_EMPTY = _words(
    """
    way case example thing part number lot kind sort section figure table chapter paper document
    article author authors reader question answer reason fact point time result idea problem rest
    fashion extent manner effect id post cite page appendix footnote note slip united states court
    opinion justice respondent petitioner respondents petitioners parties party following previous
    current new different entire whole main amount facts phrase country gravity circuit certiorari
    appeals factors authority relief items things points issues problems reasons cases examples
    people ones ways place center term terms
    """
)

_NOUN_ENDINGS = ("tion", "sion", "ment", "ness", "ity", "ance", "ence", "ism", "ship", "ure", "age")
TERMS = 60  # as many as a challenger keeps in mind


@dataclass(frozen=True)
class ReadText:
    """A document as read: `terms` (most frequent first, 2–3 words each) and plain `sentences`."""

    terms: tuple[str, ...]
    sentences: tuple[str, ...]

    def about(self, term: str) -> tuple[str, ...]:
        """The sentences that mention the term."""
        return tuple(s for s in self.sentences if term.casefold() in s.casefold())


@lru_cache(maxsize=128)
def study(text: str) -> ReadText:
    """Read a document; the same text is read once."""
    prose = _prose(text)
    return ReadText(terms=_terms(prose), sentences=_sentences(prose))


def sentences(text: str) -> tuple[str, ...]:
    """All sentences of 40 to 400 characters, in order and whatever they contain."""
    split = (" ".join(s.split()) for s in _SENTENCE_END.split(" ".join(_prose(text).split())))
    return tuple(sentence for sentence in split if 40 <= len(sentence) <= 400)


def _prose(text: str) -> str:
    """The running text, one paragraph per line."""
    text = _COMMAND.sub(" ", _FENCED.sub("\n", text))
    text = _LINK.sub(lambda found: found[1] or found[2] or "", text)
    text = re.sub(r"[*_]{1,3}(\w[^*_\n]*)[*_]{1,3}", r"\1", text)
    paragraphs = (_joined(block) for block in re.split(r"\n\s*\n", text))
    return "\n".join(filter(None, paragraphs))


def _joined(block: str) -> str:
    """A block as one line, or nothing when it looks like code, a heading or a table."""
    block = re.sub(r"(?m)^\s*(?:[-*+>#]+|\d+\.|\.\.)\s+", "", block)
    line = " ".join(re.sub(r"(?<=[a-z])-\n\s*(?=[a-z])", "", block).split())
    odd = sum(line.count(sign) for sign in "{}=<>|\\$&#@[]_")
    return "" if odd > len(line) / 50 + 2 else line


def _sentences(prose: str) -> tuple[str, ...]:
    """Sentences of 50 to 220 characters that stand on their own."""
    split = (" ".join(s.split()) for line in prose.splitlines() for s in _SENTENCE_END.split(line))
    plain = (s for s in split if 50 <= len(s) <= 220 and _PLAIN.fullmatch(s))
    return tuple(dict.fromkeys(sentence for sentence in plain if not _SELF.search(sentence)))


def _terms(prose: str) -> tuple[str, ...]:
    """Noun phrases of 2–3 words that stand after a determiner, most frequent first."""
    verbs = {word.casefold() for word in _AFTER_VERB_MARK.findall(prose)}
    alone: set[str] = set()
    heads: Counter[str] = Counter()
    phrases: Counter[str] = Counter()
    for clause in re.split(r"[^A-Za-z\- \n]+|\n", prose):
        words = _WORD.findall(clause)
        lower = [word.casefold() for word in words]
        for start, word in enumerate(lower):
            if word in _OPENERS:
                end = start + 1
                while end < len(lower) and lower[end] not in _BOUNDARY:
                    end += 1
                phrase = lower[start + 1 : end]
                proper = any(w[0].isupper() and not w.isupper() for w in words[start + 1 : end])
                if proper or not phrase:
                    continue
                heads[phrase[-1]] += 1
                if len(phrase) == 1:
                    alone.add(phrase[0])
                if 2 <= len(phrase) <= 3 and _is_term(phrase):
                    phrases[" ".join(phrase)] += 1
    named = [phrase for phrase, _ in phrases.most_common() if not _is_clause(phrase, verbs, alone)]
    # A noun that also stands elsewhere makes a phrase surer; bare nouns come last.
    named.sort(key=lambda phrase: max(phrases[phrase], heads[phrase.split()[-1]]) < 2)
    nouns = [noun for noun, times in heads.most_common(40) if times >= 2 and _is_term([noun])]
    return tuple(_distinct([*named, *(noun for noun in nouns if len(noun) >= 5)]))[:TERMS]


def _is_clause(phrase: str, verbs: set[str], nouns: set[str]) -> bool:
    """True for a phrase such as "leader appends", whose last word is not known as a noun."""
    last = phrase.split()[-1]
    forms = {last, last + "s", last.removesuffix("s"), last.removesuffix("es")}
    if last.endswith("s") and verbs & {last[:-1], last[:-2]}:
        return True
    return not nouns & forms and not last.removesuffix("s").endswith(_NOUN_ENDINGS)


def _is_term(phrase: list[str]) -> bool:
    *before, last = phrase
    return (
        not _EMPTY.intersection(phrase)
        and all(len(word) >= 3 and not word.endswith("ly") for word in phrase)
        and not last.endswith(("ing", "ed", "able", "ible", "ous", "ive", "ful"))
        and not any(word.endswith("s") and word[-2] not in "su" for word in before)
    )


def _distinct(phrases: list[str]) -> list[str]:
    """Without plurals and extensions of phrases already there."""
    kept: list[str] = []
    for phrase in phrases:
        stem = phrase.rstrip("s")
        if not any(stem in other or other.rstrip("s") in phrase for other in kept):
            kept.append(phrase)
    return kept


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
