"""Questions said in other words, by rules: sentences in the other voice or order, other words.

What stands between « », “ ” or $ $ keeps its words, since a question is about it. The rules were
written before any similarity was measured, and none was changed for what it gave.
"""

import random
import re

KEPT = re.compile(r"«[^»]*»|“[^”]*”|\$[^$]*\$")
_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_X = r"(⟦\d+⟧)"  # a kept part, while the rest is reworded
_MANY = r"((?:⟦\d+⟧(?:, | and )?)+)"

# Whole clauses: another voice, another order, other words.
CLAUSES = (
    (r"This is about (.+?) and (.+?)\.", r"The topic here: \2, together with \1."),
    (
        r"Nothing else in the deployment is touched\.",
        "All else in the installation stays.",
    ),
    (
        r"The catch is that the obvious reading of the numbers fits a system without these "
        r"changes\.",
        "A system that was never altered would explain the figures just as well, which misleads.",
    ),
    (rf"The run book opens with the words {_X}", r"\1 is how the operating manual begins."),
    (rf"Everyone involved takes this as given: {_X}", r"\1 is assumed by all who take part."),
    (
        rf"Day to day the design rests on one observation: {_X}",
        r"Daily work builds on this: \1",
    ),
    (rf"The team's notes sum up the starting point in one line: {_X}", r"Where they began: \1"),
    (
        r"The difficulty is that no single change is alarming; only their order and their overlap "
        r"are\.",
        "Each step looks harmless by itself, and the trouble lies in how they follow each other.",
    ),
    (
        r"It is hard to judge because the usual dashboards show none of the quantities that "
        r"matter\.",
        "None of the figures that count is on the standard screens, so assessing it is difficult.",
    ),
    (
        r"What makes the situation hard is that the changes pull on the same mechanism, so that "
        r"following any one of them alone gives a wrong picture\.",
        "Whoever traces a single modification is misled, since all of them act on one mechanism.",
    ),
    (
        r"A logistics company has run this design in two data centres since spring\.",
        "Since spring two data centres of a freight firm have been operated this way.",
    ),
    (
        r"A games studio adopted the design for its live events\.",
        "For live events, this architecture was taken over by a maker of video games.",
    ),
    (
        r"An online shop rebuilt its back end along these lines last winter\.",
        "Last winter the back end of a web store was redone in this manner.",
    ),
    (
        r"A start-up offers this as a hosted product to a few hundred customers\.",
        "Several hundred clients get it as a managed service from a young company.",
    ),
    (
        r"A university operates a test bed of this kind for its graduate course\.",
        "Graduate students are taught on such an experimental set-up, which their college runs.",
    ),
    (
        r"A national weather office depends on such a system around the clock\.",
        "Day and night, a country's meteorological service relies on a system like that.",
    ),
    (
        r"A research group keeps such a system alive on forty borrowed machines\.",
        "On 40 computers lent by others, a system of this sort is kept going by scientists.",
    ),
    (
        r"A six-person team runs a service of this kind for a regional hospital network\.",
        "For the hospitals of a region, six people operate a service like this.",
    ),
    (r"On Monday the team (.+?)\.", r"The team \1 at the beginning of the week."),
    (r"A day later the team (.+?)\.", r"By Tuesday the team \1 as well."),
    (r"In the same week the team (.+?)\.", r"Within those days the team \1, too."),
    (rf"delays everything that touches {_X}", r"postpones all operations that involve \1"),
    (rf"moves {_X} to a slower path", r"lets \1 take a route with less speed"),
    (rf"doubles the pressure on {_X}", r"puts twice as much stress on \1"),
    (rf"removes the safeguard around {_X}", r"takes away what protects \1"),
    (rf"starts to batch all work on {_X}", r"begins to process \1 in groups"),
    (rf"makes {_X} optional for half of the machines", r"requires \1 on every second machine only"),
    (rf"puts a tight limit on {_X}", r"restricts \1 narrowly"),
    (rf"lets two tenants share {_X}", r"gives \1 to a pair of tenants in common"),
    (
        rf"Predict what happens to {_MANY}, and say for each what drives it and when the effect "
        r"shows\.",
        r"What becomes of \1? Name the cause and the moment of every effect.",
    ),
    (
        rf"Base the choice on what happens to {_MANY}, naming the driver and the onset of each\.",
        r"Choose by how \1 develop; give the cause and the beginning of each development.",
    ),
    (
        rf"Predict the course of {_MANY}: in which direction, driven by what, and from when on\?",
        r"How will \1 develop? State the direction, the reason and the start.",
    ),
    (
        rf"(?:Work out where that takes|Resolve it by saying what happens to) {_MANY}, what drives "
        r"each and when the effect shows\.",
        r"Find out how \1 respond, for which reason, and at what time one sees it.",
    ),
    (
        rf"Reconcile the reports: what happens to {_MANY}, driven by what, and when\?",
        r"Both accounts are to be explained: how do \1 change, from which cause, at what time?",
    ),
    (
        rf"Decide which, judging by what happens to {_MANY}, what drives each of them and when the "
        r"effect shows\.",
        r"Take your decision from the fate of \1, with its causes and its timing.",
    ),
    (r"one machine is lost without warning", "a computer suddenly drops out"),
    (r"the load doubles for ten minutes", "for 10 minutes there is twice the traffic"),
    (r"the oldest node is restarted under load", "the first node reboots while it is busy"),
    (r"a backlog of an hour is replayed at once", "one hour of delayed input arrives together"),
    (
        r"a slow network link sits between the two halves",
        "both parts are joined by a connection of low speed",
    ),
    (
        r"a second client starts to behave like the first",
        "another client begins to act in the same way",
    ),
    (rf"Somebody also wrote {_X} on the envelope by hand\.", r"Handwritten on the envelope: \1."),
    (rf"The letter comes back to {_X} twice\.", r"\1 is mentioned two times in what they sent."),
    (rf"Now there is a letter that leans on {_X}\.", r"They have written to me, relying on \1."),
    (
        rf"It makes a lot of {_X}, though half of what it says about me is wrong\.",
        r"Much of what I am accused of is false, yet \1 is stressed throughout.",
    ),
    (
        rf"On the second page they bring up {_X} as if I had agreed\.",
        r"\1 appears on page two, and they pretend that I consented.",
    ),
    (
        r"I paid what they asked for a year, until the card was refused\.",
        "For twelve months I gave them their money; then my card was declined.",
    ),
    (r"I cannot afford to be wrong about this twice\.", "A second mistake would ruin me."),
    (
        r"I have kept everything, but some of it only as photos on my phone\.",
        "All of it is still here, partly just as pictures on my mobile.",
    ),
    (
        r"The man on the phone would not put any of it in writing\.",
        "He who called me refused to write down a single word.",
    ),
    (
        r"They told me on the phone that it was a formality, so I let it go\.",
        "I did nothing, since a caller described it as a mere formality.",
    ),
    (r"Should I give in\?", "Ought I to yield?"),
    (
        r"How will each of these come out for me, what does it hang on, and within what limits\?",
        "Tell me the outcome of every one, its condition and its bounds.",
    ),
    (
        r"I sell second-hand phones from a stall, everything with a receipt\.",
        "Used mobiles are my trade, at a market stand, always with a bill.",
    ),
    (
        r"I play in a wedding band, and last summer a booking went badly wrong\.",
        "Our group makes music at weddings; one engagement of last summer ended in disaster.",
    ),
    (
        r"I found out by chance, when a customer showed me a message\.",
        "It was a buyer's text message that told me, quite accidentally.",
    ),
    (
        r"I did write back once, by e-mail, and got no answer\.",
        "My one e-mail was ignored.",
    ),
    (
        r"Then a man came to the door, very polite, and had me sign something on a tablet\.",
        "Later a courteous visitor got my signature on a tablet computer.",
    ),
    (r"My mother is eighty-one and I look after her papers\.", "I do the paperwork of my mum, 81."),
    (
        r"I run a small garage with my sister outside Dayton, and we are not people who go to "
        r"law\.",
        "My sister and I own a little car repair shop near Dayton and never sued anybody.",
    ),
    (
        r"In May the firm I deal with changed how it works, and nobody asked me\.",
        "Without my consent, the company that I use altered its procedure in May.",
    ),
    (
        r"I clean offices at night and signed on with a new agency in March\.",
        "Since March another agency employs me as a cleaner of offices, on the night shift.",
    ),
    (
        r"I came here eleven years ago, I drive a delivery van, and I have two kids in school\.",
        "A driver of parcels and father of two pupils, I have lived here for 11 years.",
    ),
    (rf"They list {_MANY}([.:])", r"Their enumeration names \1\2"),
    (rf"They throw {_MANY} together\.", r"\1 are all mixed up by them."),
    (rf"The list at the end says {_MANY}\.", r"\1: these are enumerated at the bottom."),
    (
        r"what becomes of each, on what ground, and within what limits\?",
        "how does every one of them end, for which reason, and up to where?",
    ),
    (
        r"What becomes of each, because of what, and how far\?",
        "Say how all of them turn out, with the reason and the extent.",
    ),
    (rf"Why do they write about {_MANY} at all\?", r"For what reason are \1 mentioned?"),
    (rf"What is meant by {_MANY}\?", r"Explain the sense of \1."),
    (rf"My brother says I am safe on {_X}, my neighbour that I am not", r"Whether \1 harms me is"),
    (r"The following arises in connection with (.+?)\.", r"One meets this when studying \1."),
    (
        rf"What is the set of all stationary points of {_X}, in terms of {_X}\?",
        r"Determine, by means of \2, every place where the derivative of \1 vanishes.",
    ),
    (rf"For real {_X} let {_X} with a constant {_X}\.", r"Define \2, where \1 is real, \3 fixed."),
    (
        rf"Let {_X} and {_X} be positive constants and {_X} for real {_X}\.",
        r"Take \3, with \4 real and with fixed \1, \2 above zero.",
    ),
    (
        rf"Give the equation of the tangent to the graph of {_X} at {_X}, solved for {_X}\.",
        r"Which line, written as \3, touches the curve of \1 where \2?",
    ),
    (
        rf"Give the value of {_X} at the point {_X} as an expression in {_X} and {_X}\.",
        r"Evaluate \1 for \2; the result may contain \3 and \4.",
    ),
    (
        rf"Give the inverse of {_X} as a matrix in terms of {_X} and {_X}\.",
        r"Which matrix, written by \2 and \3, yields the identity if multiplied with \1?",
    ),
    (
        rf"Give {_X} without absolute values, as a function given by cases in terms of {_X} and "
        rf"{_X}\.",
        r"Rewrite \1 piecewise, using \2 and \3, so that no modulus is left.",
    ),
)

# Words of any text.
WORDS = {
    **{"shows": "indicates", "show": "indicate", "use": "employ", "uses": "employs"},
    **{"used": "employed", "using": "employing", "large": "big", "larger": "bigger"},
    **{"small": "little", "smaller": "lesser", "begin": "start", "begins": "starts"},
    **{"however": "but", "therefore": "so", "because": "since", "although": "though"},
    **{"must": "has to", "may": "might", "can": "is able to", "cannot": "is unable to"},
    **{"many": "numerous", "several": "various", "often": "frequently", "usually": "mostly"},
    **{"quickly": "fast", "slow": "sluggish", "difficult": "hard", "simple": "easy"},
    **{"important": "essential", "different": "distinct", "same": "identical", "whole": "entire"},
    **{"get": "obtain", "gets": "obtains", "give": "provide", "gives": "provides"},
    **{"given": "provided", "make": "render", "makes": "renders", "need": "require"},
    **{"needs": "requires", "needed": "required", "allow": "permit", "allows": "permits"},
    **{"allowed": "permitted", "help": "assist", "helps": "assists", "keep": "retain"},
    **{"keeps": "retains", "change": "alteration", "changes": "alterations", "part": "portion"},
    **{"parts": "portions", "kind": "sort", "way": "manner", "ways": "manners", "goal": "aim"},
    **{"result": "outcome", "results": "outcomes", "reason": "cause", "method": "procedure"},
    **{"problem": "issue", "problems": "issues", "example": "instance", "error": "mistake"},
    **{"errors": "mistakes", "begun": "started", "end": "finish", "ends": "finishes"},
    **{"near": "close to", "after": "following", "before": "prior to", "during": "throughout"},
    **{"about": "concerning", "between": "in the middle of", "within": "inside", "each": "every"},
    **{"also": "too", "only": "solely", "such": "like that", "very": "extremely"},
    **{"almost": "nearly", "entire": "complete", "choose": "select", "find": "discover"},
    **{"increase": "growth", "increases": "grows", "decrease": "drop", "decreases": "drops"},
    **{"consider": "look at", "suppose": "assume", "compute": "calculate", "since": "because"},
    **{"time": "duration", "number": "count", "value": "quantity", "values": "quantities"},
    **{"new": "fresh", "old": "former", "first": "initial", "last": "final", "total": "sum"},
    **{"if": "provided that", "when": "whenever", "while": "whereas", "thus": "hence"},
}
_WORD = re.compile(rf"\b(?:{'|'.join(sorted(WORDS, key=len, reverse=True))})\b", re.IGNORECASE)


def paraphrase(draw: random.Random, text: str) -> str:
    """The text in other words: its sentences in another order, their clauses by the rules where one
    fits, and of the words that have another one nine in ten."""
    kept = KEPT.findall(text)
    places = iter(range(len(kept)))
    said = KEPT.sub(lambda _: f"⟦{next(places)}⟧", text)
    for pattern, other in CLAUSES:
        said = re.sub(pattern, other, said, flags=re.IGNORECASE)
    said = _WORD.sub(lambda found: _other(draw, found[0]), said)
    *context, question = said.split("\n")
    parts = _SENTENCE.split(" ".join(context))
    draw.shuffle(parts)
    whole = f"{' '.join(parts)}\n{question}" if context else question
    return re.sub(r"⟦(\d+)⟧", lambda found: kept[int(found[1])], whole)


def _other(draw: random.Random, word: str) -> str:
    other = WORDS[word.casefold()] if draw.random() < 0.9 else word
    return other.capitalize() if word[0].isupper() else other
