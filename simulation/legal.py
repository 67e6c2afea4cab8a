"""Legal, as the simulated models practise it: a client tells what happened, and asks."""

from collections.abc import Sequence

from autodata.simulation.behaviour import Behaviour
from autodata.simulation.documents import ReadText
from autodata.simulation.rng import Rng
from autodata.simulation.roles import roles
from autodata.simulation.scenario import Scenario
from autodata.simulation.writing import quoted

_PEOPLE = (
    "I run a small garage with my sister outside Dayton, and we are not people who go to law.",
    "I clean offices at night and signed on with a new agency in March.",
    "My husband and I let out two boats on the lake, mostly to families.",
    "I came here eleven years ago, I drive a delivery van, and I have two kids in school.",
    "I keep the books for a church choir, unpaid, and now it has landed on me.",
    "I sell second-hand phones from a stall, everything with a receipt.",
    "My mother is eighty-one and I look after her papers.",
    "I play in a wedding band, and last summer a booking went badly wrong.",
)
_EVENTS = (
    "In May the firm I deal with changed how it works, and nobody asked me.",
    "Then a man came to the door, very polite, and had me sign something on a tablet.",
    "I paid what they asked for a year, until the card was refused.",
    "They told me on the phone that it was a formality, so I let it go.",
    "I found out by chance, when a customer showed me a message.",
)
_CLAIMS = (
    "Now there is a letter that leans on «{term}».",
    "The letter comes back to «{term}» twice.",
    "It makes a lot of «{term}», though half of what it says about me is wrong.",
    "Somebody also wrote «{term}» on the envelope by hand.",
    "On the second page they bring up «{term}» as if I had agreed.",
)
_WORRIES = (
    "I did write back once, by e-mail, and got no answer.",
    "I have kept everything, but some of it only as photos on my phone.",
    "I cannot afford to be wrong about this twice.",
    "The man on the phone would not put any of it in writing.",
)
_ASKS = {
    "recall": ("What is meant by {aspects}?",),
    "explanation": ("Why do they write about {aspects} at all?",),
    "prediction": (
        "They list {aspects}. How will each of these come out for me, what does it hang on, and "
        "within what limits?",
        "The list at the end says {aspects}. What becomes of each, because of what, and how far?",
    ),
    "decision": (
        "Should I give in? They list {aspects}: what becomes of each, on what ground, and within "
        "what limits?",
    ),
    "interaction": (
        "They throw {aspects} together. Taken together, what becomes of each, on what ground, and "
        "how far?",
    ),
    "contradiction": (
        "My brother says I am safe on {first}, my neighbour that I am not, and both sound right. "
        "What becomes of {aspects}, on what ground, and how far?",
    ),
}
_CASE_SPEAK = (
    "The district court sided with them.",
    "We lost, and now we are on appeal.",
    "It has been like that since 1926.",
)
_RAMBLING = (
    "I should say that we had always got on before, that I helped them move in, that my father "
    "knew theirs, and that nobody in our street ever had a bad word for either of us. "
    "When it started I asked around, at work and in the choir, and everyone had another story of "
    "something like it that had happened to them, with another ending each time. "
)


def _stage(
    kind: str, conditions: Sequence[str], aspects: Sequence[str], reading: ReadText, rng: Rng
) -> tuple[str, str]:
    """The client's message: the situation, and the one thing that the person wants to know."""
    claims = rng.sample(_CLAIMS, min(len(conditions), len(_CLAIMS)))
    told = [claim.format(term=term) for claim, term in zip(claims, conditions, strict=False)]
    parts = [rng.choice(_PEOPLE), rng.choice(_EVENTS), *told, rng.choice(_WORRIES)]
    question = rng.choice(_ASKS[kind]).format(aspects=quoted(aspects), first=f"«{aspects[0]}»")
    return " ".join(parts), question


def _finish(context: str, behaviour: Behaviour, rng: Rng) -> str:
    """Clients that speak like case reports, or ramble."""
    if rng.happens(behaviour.rate("case_speak")):
        context += " " + rng.choice(_CASE_SPEAK)
    return _RAMBLING + context if rng.happens(behaviour.rate("rambling")) else context


SCENARIO = Scenario(
    conclusions=(
        "will probably hold", "will probably fail", "will be barred", "will turn on notice",
        "will turn on the facts", "will be decided first",
    ),
    extents=(
        "whatever the contract says", "unless it was waived", "from the day of the letter",
        "only if it is raised in time",
    ),
    common=(
        "the contract", "my deposit", "the deadline", "a fair settlement", "my legal costs",
        "the damages", "the evidence",
    ),
    stage=_stage,
    asks=_ASKS,
    second_question=" Also, who pays for all this? And can I sue the man at the door?",
    rumours=(
        "A friend who once studied this says:",
        "The woman at the advice line already told me:",
    ),
    source_hints=(
        "According to the document I found, that is settled.",
        "The opinion I read online says much the same.",
    ),
    reasons=("The ground for this: “{sentence}”", "It follows from the rule that “{sentence}”"),
    labels={  # what the client wants to know, in the words of the prompts
        "recall": "validity", "explanation": "validity", "prediction": "exposure",
        "decision": "next step", "interaction": "entitlement", "contradiction": "entitlement",
    },
    aspects=(5, 6),
    aims=((12, 17), (2, 4)),
    criteria={
        "conclusion": ("application", "legal reasoning"),
        "driver": ("rule", "rule knowledge"),
        "extent": ("consequence", "risk assessment"),
        "": ("issue", "issue spotting"),
        "error": ("error", "practical advice"),
    },
    difficulty=1.7,
    # Clients ask about their case by themselves, and seldom for a definition.
    rates={
        "kind_recall": 0.6, "kind_explanation": 0.8, "kind_prediction": 2.5, "kind_decision": 1.0,
        "kind_interaction": 0.8, "kind_contradiction": 0.5, "generic": 0.6,
    },
    finish=_finish,
)  # fmt: skip

RESPONDERS = roles(SCENARIO)
