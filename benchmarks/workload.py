"""What is asked and what is replied in the measurements of calls; nothing but the standard library.

Everybody sends prompts of about the same size and gets replies of about the same size. The two
complete loops (ours and autosynth's) run their own rounds: their replies are found by what the
prompt holds, so that each document takes two rounds and is accepted in the second.
"""

import json
from functools import cache

NOUNS = """
leader follower term entry log majority replica index commit election snapshot client lease quorum
ballot clock order queue lock page cache buffer thread signal barrier store fence
"""
WORDS = tuple(NOUNS.split())
SYSTEM_LENGTH = 2500  # characters of a plain client's system message
USER_LENGTH = 4000  # characters of its user message, different in every call
DOCUMENT_LENGTH = 12_000  # characters of a document for the complete loops
REPLY_LENGTH = 1200  # characters of a plain client's reply


def _text(sentences: int) -> str:
    """Sentences made of WORDS by a linear congruential generator."""
    made, state = [], 1
    for _ in range(sentences):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        words = [WORDS[(state >> shift) % len(WORDS)] for shift in range(0, 24, 2)]
        made.append(" ".join(words).capitalize() + ". ")
    return "".join(made)


TEXT = _text(400)


def prose(length: int, number: int) -> str:
    """About this many characters that no two numbers share; nearly free, as it is timed along."""
    begin = number * 97 % (len(TEXT) - length)
    return f"Case {number}. {TEXT[begin : begin + length]}"


SYSTEM = prose(SYSTEM_LENGTH, 0)
PLAIN_REPLY = prose(REPLY_LENGTH, 1)


def user(number: int) -> str:
    """The user message of a plain client's call."""
    return prose(USER_LENGTH, number)


def document(number: int) -> str:
    """A document for the complete loops."""
    return prose(DOCUMENT_LENGTH, number)


CRITERIA = [f"States that the {word} moves before the next one does" for word in WORDS[:8]]
ERRORS = [f"Claims that the {word} never moves" for word in WORDS[8:11]]
RUBRIC = [
    *({"criterion": c, "weight": 5, "category": "step", "capability": "order"} for c in CRITERIA),
    *({"criterion": c, "weight": -4, "category": "error", "capability": "order"} for c in ERRORS),
]
WEAK, STRONG, FIRST = "Nothing can be said.", "It follows step by step.", "In the first case"
VERDICT = {
    "answer_from_context": "The context does not say; it has to be derived.",
    "leak": False,
    "question": "good",
    "single_focus": True,
    "grounded": True,
    "rubric_specific": True,
    "type_consistent": True,
    "problems": [],
    "fixes": [],
    "verdict": "PASS",
}


def reply_to(model: str, asked: str) -> str:
    """The reply of an endpoint's model (`weak`, `strong`, …) to everything that was asked."""
    role = asked.lstrip("# ")[:20].split(" ·")[0]
    if role == "Solver" or asked.startswith("ROLE:SOLVER"):
        # The first round's question is too hard for both, so that there is a second.
        said = STRONG if model == "strong" and FIRST not in asked else WEAK
        return f"{said} {PLAIN_REPLY}"
    if role == "Judge":
        return _marks(7 if STRONG in asked else 1)
    if role == "Challenger":
        return _candidate(first="<instruction>\n\n</instruction>" in asked)
    if role == "Orchestrator":
        return json.dumps({"instruction": f"Ask for another mechanism. {PLAIN_REPLY[:400]}"})
    if role in ("Verifier", "Final verifier"):
        return json.dumps(VERDICT)
    return _autosynth(asked) if asked.startswith("ROLE:") else PLAIN_REPLY


@cache
def _marks(met: int) -> str:
    quote = "moves before the next one does, as the order of the log demands"
    marks = [
        {"number": i, "evidence": quote if i <= met else "", "met": i <= met}
        for i in range(1, len(RUBRIC) + 1)
    ]
    return json.dumps({"marks": marks})


@cache
def _candidate(first: bool) -> str:
    candidate = {
        "question_type": "prediction",
        "skills": ["replication", "ordering"],
        "context": f"{FIRST if first else 'In another case'} five replicas keep a log. {SETTING}",
        "question": "Which of the entries does the cluster keep once the last one rejoins?",
        "reference_answer": "Only what a majority had stored in the last term survives, because "
        "a later leader needs that majority to be elected at all.",
        "rubric": RUBRIC,
    }
    return json.dumps(candidate)


SETTING = prose(600, 2)


def _autosynth(asked: str) -> str:
    """A reply in the form that autosynth asks each of its roles for."""
    if asked.startswith("ROLE:CHALLENGER"):
        context = f"{FIRST if 'ROUND=0' in asked else 'In another case'} {SETTING}"
        rubric = [{"id": f"c{i}", "description": c, "weight": 5} for i, c in enumerate(CRITERIA)]
        payload = {
            "question": "Which of the entries does the cluster keep?",
            "context": context,
            "reasoning_skills": ["ordering"],
        }
        answer = "Only what a majority had stored."
        return json.dumps({"payload": payload, "reference_output": answer, "rubric": rubric})
    if asked.startswith("ROLE:QUALITY"):
        return json.dumps({"passed": True, "failures": [], "notes": PLAIN_REPLY[:300]})
    if asked.startswith("ROLE:JUDGE"):
        score = 0.8 if STRONG in asked else 0.2
        scores = {f"c{i}": score for i in range(len(CRITERIA))}
        return json.dumps({"per_criterion": scores, "total": score, "failure_modes": []})
    return json.dumps({"feedback": ["ask for another mechanism"], "new_angle": PLAIN_REPLY[:300]})
