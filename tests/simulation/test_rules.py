"""Prompts matter: the simulated challenger obeys the rules that it finds in them."""

from functools import cache
from statistics import fmean

import pytest

from autodata.agents.replies import CandidateReply
from autodata.prompt_store.prompt import Message, packaged
from autodata.simulation.behaviour import (
    CONDITIONS_MAX,
    FEEDBACK,
    RULES,
    UNTAUGHT,
    Rule,
    behaviour,
)
from autodata.simulation.checkers import overlap
from autodata.simulation.scenario import GENERAL, QUOTED
from tests.models.asking import candidates, challenger, document, reply

HASHING = document("cs", "bounded-load")
SEEDS = {
    task: " ".join(packaged().files[f"{task}/challenger.md"].split())
    for task in ("cs", "legal", "science")
}
# What an optimizer has to find out: not in the seed prompts.
TO_BE_FOUND = (
    "document-specific insight",
    "no context leaks",
    "positive-only rubric",
    "strict weights",
    "interlocking conditions",
    "count before you answer",
    "same marks from two judges",
    "no textbook formula",
    "solve it twice",
)
HARMFUL = (
    "simple words",
    "generous context",
    "as hard as possible",
    "cover everything",
    "general knowledge",
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_is_understood_as_its_example_states_it(rule: Rule):
    assert rule.name in behaviour(rule.example).rules


@pytest.mark.parametrize("rule", [*RULES, *FEEDBACK], ids=lambda rule: rule.name)
def test_every_rule_changes_something_that_exists(rule: Rule):
    assert set(rule.factors) <= set(UNTAUGHT)
    assert rule.factors or rule.conditions


@pytest.mark.parametrize("task", SEEDS)
def test_the_seed_prompts_leave_rules_to_be_found_and_hold_none_that_harm(task: str):
    known = behaviour(SEEDS[task]).rules
    assert not set(known) & {*TO_BE_FOUND, *HARMFUL}


def test_the_cs_prompt_teaches_what_the_paper_demands():
    known = behaviour(SEEDS["cs"]).rules
    wanted = ("no recall", "no explain-why", "beyond the context", "one question", "no source")
    assert set(wanted) <= set(known)


def test_an_empty_sentence_changes_nothing():
    assert behaviour("Work with care. Think of the reader.") == behaviour("")


def test_feedback_moves_the_difficulty_and_stays_within_bounds():
    plain, easy = behaviour(SEEDS["cs"]), behaviour(SEEDS["cs"], "It was too easy.")
    failed = behaviour(SEEDS["cs"], "An earlier question failed on strong attempts.")
    assert failed.conditions < plain.conditions < easy.conditions
    loud = behaviour(SEEDS["cs"] + "Make it as hard as possible.", "too easy")
    assert loud.conditions <= CONDITIONS_MAX


@cache
def generic(rules: str) -> float:
    """Share of questions that need no document."""
    found = candidates("cs", HASHING, 60, rules=rules)
    return fmean(QUOTED.findall(c.question)[0] in GENERAL.common for c in found)


def test_a_rule_against_questions_without_the_document_is_obeyed():
    rule = "If the question is answerable without this document, it is too easy."
    assert generic(rule) < generic("") / 2


@cache
def leaks(rules: str) -> float:
    found = candidates("cs", HASHING, 80, rules=rules)
    return fmean(overlap(c.reference_answer, c.context) > 0.2 for c in found)


def test_a_rule_against_leaks_is_obeyed_and_a_harmful_one_too():
    careful = leaks("If it is answerable by rephrasing the context, rewrite the context.")
    careless = leaks("Put all the information that is needed into the context.")
    assert careful < leaks("") / 2
    assert careless > leaks("")


def test_some_replies_are_malformed_and_fewer_when_they_were_sent_back():
    messages = challenger("cs", HASHING)
    complaint = type(messages[0])(role="user", content="That was not JSON. Again, please.")

    def malformed(asked: tuple[Message, ...]) -> int:
        return sum(reply(asked, CandidateReply, seed) is None for seed in range(300))

    first = malformed(messages)
    assert 6 <= first <= 30
    assert malformed((*messages, complaint)) < first / 2
