"""How the simulated challenger sets a CS question: a system, its changes, what is hard."""

from collections.abc import Sequence

from autodata.simulation.chance import Chance
from autodata.simulation.documents import Reading
from autodata.simulation.writing import listed, quoted

ASPECTS = (3, 4)
LABELS = {"recall": "prediction", "explanation": "interaction"}  # what it takes its own for
SETTINGS = (
    "A six-person team runs a service of this kind for a regional hospital network.",
    "A research group keeps such a system alive on forty borrowed machines.",
    "An online shop rebuilt its back end along these lines last winter.",
    "A national weather office depends on such a system around the clock.",
    "A start-up offers this as a hosted product to a few hundred customers.",
    "A university operates a test bed of this kind for its graduate course.",
    "A logistics company has run this design in two data centres since spring.",
    "A games studio adopted the design for its live events.",
)
BASIS = (
    "Day to day the design rests on one observation: “{sentence}”",
    "The team's notes sum up the starting point in one line: “{sentence}”",
    "Everyone involved takes this as given: “{sentence}”",
    "The run book opens with the words “{sentence}”",
)
CHANGES = (
    "puts a tight limit on «{term}»",
    "removes the safeguard around «{term}»",
    "doubles the pressure on «{term}»",
    "makes «{term}» optional for half of the machines",
    "delays everything that touches «{term}»",
    "lets two tenants share «{term}»",
    "moves «{term}» to a slower path",
    "starts to batch all work on «{term}»",
)
WEEKDAYS = (
    "On Monday",
    "A day later",
    "In the same week",
    "Shortly after",
    "Before the weekend",
    "On Sunday night",
    "After that",
    "Last of all",
)
HARD = (
    "What makes the situation hard is that the changes pull on the same mechanism, so that "
    "following any one of them alone gives a wrong picture.",
    "The difficulty is that no single change is alarming; only their order and their overlap are.",
    "It is hard to judge because the usual dashboards show none of the quantities that matter.",
    "The catch is that the obvious reading of the numbers fits a system without these changes.",
)
EVENTS = (
    "the load doubles for ten minutes",
    "one machine is lost without warning",
    "a slow network link sits between the two halves",
    "a backlog of an hour is replayed at once",
    "the oldest node is restarted under load",
    "a second client starts to behave like the first",
)
ASKS = {
    "recall": (
        "What is meant by {aspects}?",
        "Define {aspects}, and name what each of them depends on.",
    ),
    "explanation": (
        "Explain why {aspects} behave as they do when {event}.",
        "When {event}, why do {aspects} react in the way they do?",
    ),
    "prediction": (
        "Now {event}. Predict what happens to {aspects}, and say for each what drives it and "
        "when the effect shows.",
        "Suppose that {event}. Predict the course of {aspects}: in which direction, driven by "
        "what, and from when on?",
    ),
    "decision": (
        "Then {event}, and only one change can be taken back. Decide which, judging by what "
        "happens to {aspects}, what drives each of them and when the effect shows.",
        "Before {event}, the team has to choose which change to keep. Base the choice on what "
        "happens to {aspects}, naming the driver and the onset of each.",
    ),
    "interaction": (
        "Taken together, what do the changes do to {aspects} once {event}? Name the driver of "
        "each effect and when it shows.",
        "Once {event}, the changes interact. Work out where that takes {aspects}, what drives "
        "each and when the effect shows.",
    ),
    "contradiction": (
        "When {event}, one engineer reports that {first} got worse, another that it could not "
        "have, and both are right. Reconcile the reports: what happens to {aspects}, driven by "
        "what, and when?",
        "As {event}, two dashboards contradict each other about {first}. Resolve it by saying "
        "what happens to {aspects}, what drives each and when the effect shows.",
    ),
}
SECOND_QUESTION = (
    " Also, how would you migrate the system afterwards? And which tools would you use?"
)
RUMOURS = (
    "A colleague who tried it on a copy reports that",
    "In last year's rehearsal it turned out that",
    "The vendor's support has already confirmed that",
)
SOURCE_HINTS = (
    "As this document describes, the design is deliberate.",
    "The authors argue that this is the common case.",
)
REASONS = (
    "The ground for this lies in the observation that “{sentence}”",
    "This follows the mechanism by which “{sentence}”",
    "It agrees with the finding “{sentence}”",
)


def stage(
    kind: str,
    conditions: Sequence[str],
    aspects: Sequence[str],
    reading: Reading,
    chance: Chance,
) -> tuple[str, str]:
    """Context (area, setup and difficulty, in readable prose) and question."""
    event = chance.choice(EVENTS)
    question = chance.choice(ASKS[kind]).format(
        aspects=quoted(aspects), first=f"«{aspects[0]}»", event=event
    )
    area = listed(list(reading.terms[:2]) or ["distributed services"])
    setup = [chance.choice(SETTINGS)]
    if basis := _basis(reading, chance):
        setup.append(chance.choice(BASIS).format(sentence=basis))
    changes = chance.sample(CHANGES, len(CHANGES))
    told = [
        f"{day} the team {change.format(term=term)}."
        for day, change, term in zip(WEEKDAYS, changes, conditions, strict=False)
    ]
    parts = (
        f"This is about {area}. {' '.join(setup)}",
        f"{' '.join(told)} Nothing else in the deployment is touched.".strip(),
        chance.choice(HARD),
    )
    return "\n\n".join(parts), question


def _basis(reading: Reading, chance: Chance) -> str:
    """A sentence of the document that stands on its own."""
    leaning = ("I ", "We ", "This ", "It ", "If ", "They ", "These ", "That ", "However", "Instead")
    alone = [sentence for sentence in reading.sentences if not sentence.startswith(leaning)]
    return chance.choice(alone) if alone else ""
