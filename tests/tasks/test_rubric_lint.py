"""The rubric linter against criteria written by hand, good ones and bad ones: a table."""

import time

import pytest

from autodata.tasks.rubric import RubricPolicy, count_findings, lint_rubric
from autodata.tasks.types import Criterion

# Criteria as a careful writer puts them, many with a word that could mislead a reader of words.
GOOD = """
+9 Concludes that bits should move from the largest run to the smaller runs
+7 States that a false positive costs the same single read regardless of the size of the run
+2 States that the advice depends on lookups of absent keys probing all runs
-7 Concludes that the largest run needs the most bits per key because it holds the most keys
+9 Concludes that the client has a real claim despite the lack of writing
+7 States that promises of an interest in land normally need a writing
+6 Uses the renovation as evidence of reliance on the promise
+4 Points out that the monthly bookkeeping can be read as payment for a mere licence
-8 Advises that the client has no rights because nothing was written down
+5 States that the leader does not need to wait for the slowest follower
+8 Concludes that the second cache rarely hits, since both hold the same hot keys
+6 Explains why the tail latency grows although the median stays flat
+3 Mentions that the header format of the file limits the block size to 64 KiB
+5 Attributes the drop to contention on the lock and not to the disk
-6 Multiplies the two hit rates as if the caches were independent
-5 Claims that the algorithm avoids all collisions
+7 Predicts that throughput falls once the window exceeds the buffer
-4 Assumes that messages arrive in order
+6 Derives the bound n log n from the depth and the width of the tree
+4 Names replication lag as the cause of the stale read
-3 Treats the two quorums as disjoint
+8 Concludes that the clause is void and unenforceable
+5 States that notice and an opportunity to be heard are required
-5 Concludes that the tenant waived the right by paying rent
+6 Advises the client to send a written demand before the deadline of 30 days
+3 Cites the exception for goods that are specially manufactured
-9 Tells the client to stop paying rent at once
+7 Identifies consideration as the element in dispute
+4 Explains that silence is not acceptance
+5 Weighs the cost of delay against the cost of the deposit
-6 Ignores the statute of limitations
-7 Confuses a licence with a lease
-5 Overlooks that the buyer had notice of the defect
-4 Fails to apply the two-year limit to the second claim
-6 Misreads the interval as a probability
-5 Incorrectly attributes the gain to the optimizer
+6 States that without a fence the two stores may be reordered
+5 Says that the model never sees the label during pretraining
+8 Concludes that more data would not help, because the error is due to bias
+6 States that the estimator is biased but consistent
+4 States that precision and recall move in opposite directions here
+5 Compares the cost of rehashing with the cost of probing
-4 Recommends a larger batch size although memory is the bottleneck
-5 Identifies the wrong bottleneck, the network instead of the disk
-6 Identifies only the first of the two causes
-4 Acknowledges no uncertainty in the estimate of the effect
+7 Recognizes that the sample was selected on the outcome
+5 Distinguishes an easement from a licence by its permanence
-7 Recognizes a duty of care where the statute excludes one
+3 Notes that the tone of the letter may count as a threat
+4 Explains that the style of the pleading decides the burden of proof
+5 States that the length of the queue is bounded by the credit
+6 Concludes that a grammar of this class is parsed in linear time
+3 Says that the spelling checker runs before tokenization
+5 States that a sequence of 512 words exceeds the context of the encoder
+4 Mentions that each page holds 40 sentences of the corpus
+6 Concludes that the well-structured matrix has a cheap inverse
+5 States that the organized crime statute does not reach the broker
+4 States that the formal language is regular
+5 Uses Bayes' rule with the base rate of 1 %
+8 Concludes that f is convex on the whole interval
+6 Gives the eigenvalues 2 and 5
+4 States that the series converges if and only if |x| < 1
-5 Claims that the limit exists at the origin
-4 Divides by the sample size and thereby forgets the correction
+7 Chooses the weaker consistency model, since reads dominate
+3 States that clients retry with jitter and backoff
+5 Concludes that the index is used for the range but not for the sort
+6 Explains how the coordinator learns of the failure
-8 Concludes that two replicas suffice to tolerate one crash and stay available
+5 States that the parties' course of dealing supplies the missing term
+4 Points out that the agent had apparent authority
-6 Treats the oral promise as enforceable without any exception
+7 Applies strict scrutiny to the content-based rule
+5 Says that the seller bears the risk until delivery
+6 States that "and/or" in the clause is read against the drafter
+4 Concludes that the bias is downward
-3 Reports the p-value as the probability of the null hypothesis
+6 Concludes that removing the residual branch breaks the gradient in deep layers
+4 States that dropout is turned off at test time
-4 States that dropout raises the variance of the gradient to zero
+5 Predicts that the smaller model overfits later
+5 Predicts that the larger model overfits earlier
+3 States that the first read costs 10 ms
+3 States that the second read costs 2 ms
-5 Blames the garbage collector for the pause in the first phase
-5 Blames the garbage collector for the pause in the second phase
+6 States that the upper bound follows from the pigeonhole principle
+6 States that the lower bound follows from an adversary argument
+4 Concludes that a clear majority of votes is needed
+5 States that the concise encoding saves one byte per entry
"""

# Written when the patterns stood, to see how they do on what they were not tuned to.
UNSEEN = """
+8 Concludes that the write-ahead log must be flushed before the page
+6 States that the cost is dominated by the joins and the sort
-6 Concludes that adding a replica halves the write latency
+5 Recognizes the conflict between the two indices
-5 Recognizes a fiduciary duty toward the bank
+7 Explains how backpressure reaches the producer
+4 States that the statute is written in plain language
+5 Weighs what the seller promised and what the buyer relied on
-4 Names the rule of reason but applies the per se rule
-6 Reads the disclaimer as excluding the express warranty
+6 Links the drop in recall to the truncated passages
+5 States that the model does not see the tokens to its right
-3 Claims that the key never expires
+6 Concludes that the injunction should be denied
+3 Mentions the 20 pages of exhibits that were not served
-5 Extends the holding to contracts between merchants
+7 Computes the variance as 4/3
+6 States that f is neither injective nor surjective
-4 Forgets the factor 2 in the derivative
-7 Fails to normalize the posterior
+5 Explains that a fence orders the store before the load
+4 Says that a shorter queue lowers latency and throughput alike
-5 Takes the sample mean for the population mean
+6 Proposes sharding by tenant rather than by date
+5 Advises against relying on the oral extension
-6 Advises the client to ignore the summons
+4 Notes that both parties were aware of the risk
+5 Identifies the missing index as the reason for the full scan
-5 Identifies the missing index without saying what it costs
+6 Describes the effect of the learning rate on the plateau
-4 Suggests clearer documentation in place of a fix
+4 Predicts a lower error on short sentences of the test set
+6 States that consent was given freely and in writing
+3 Cites the duty to mitigate
-6 Describes the checkpoint as free of any cost
+5 Concludes that the brief was filed late
-4 Treats the style guide as binding law
+5 States the correct order of the two locks
+6 Argues that the amendment applies to pending cases
-5 Argues from the label instead of the feature
+7 Rejects the hypothesis of a memory leak
+5 Explains the long tail by the retries
+4 Gives 0.95 as the probability
+4 Gives 0.05 as the probability
-3 Describes the well-organized market as illiquid
+6 Concludes that the lessee may assign without consent
-5 Omits the interest on the deposit
+3 Says that the readability test of the agency was met
+5 States that neither input nor output is cached
-6 Infers causation from the timing alone
"""

# Of somebody who had not seen the patterns: much that words of form, sign or fault may mislead.
OUTSIDE = """
+9 Explains that two-phase locking alone does not prevent phantom reads
+5 States that an entry from an earlier term is committed only indirectly
+6 Derives that the expected number of probes grows as 1/(1 - a)
-5 Attributes the latency spike to network congestion rather than to the pause
+4 Identifies the ambiguous grammar rule that causes the dangling else
+4 Gives the grammar as left-recursive
+3 Explains how a context-free grammar generates the language
+6 Points to an error in grammar rule 4 of the parser
+3 Gives the worst case as 2 sentences of 512 tokens
+5 Places the events in a total order by Lamport timestamps
+6 Length extension attacks apply to plain SHA-256
+5 Error correction recovers one flipped bit per word
+4 Wrong-way risk is named as the reason for the collateral
+5 Explains that the loop terminates correctly
-5 Describes the protocol, yet claims that it terminates correctly
-5 Treats the correct branch as dead code
-3 Uses a correct lemma outside its hypotheses
+5 No consideration supports the modification
+4 No accused person may be tried twice for the offence
+4 No false arrest took place at the border
+4 States that no factual finding was made below
-4 Reaches the right result by assuming the conclusion
-5 Gives the right answer for the wrong reason
-5 Gives the right answer from a repealed section
-6 Names the correct statute but quotes a repealed section
-5 Applies the correct test to the wrong defendant
+5 Applies the rule of lenity to the ambiguous statute
-4 Cites a valid case for a proposition it does not support
+4 Explains that the tone of the letter is threatening
+5 Quotes the two sentences in which the court limits the holding
+7 Applies the nerve-center test to locate the principal place of business
-5 Relies on Katz alone and treats the trespassory test as overruled
+4 Cites the saving clause for grounds that exist at law or in equity
-6 Misreads the statute as permitting appeals from orders compelling arbitration
+6 Distinguishes procedural from substantive unconscionability
-7 Invents a dissent that the opinion does not contain
+4 Points out that the "short and plain statement" of Rule 8 is a low bar
+5 States that a clear statement rule governs waivers of sovereign immunity
+5 Notes that a brief detention is still a seizure
"""

# A line of each: the code that is to be found, weight, criterion.
BAD = """
NEGATED -5 Avoids treating the caches as independent
NEGATED -3 Does not claim that the largest run needs the most bits
NEGATED -6 Refrains from advising the client to sign
NEGATED -4 The answer avoids confusing precision with recall
NEGATED -4 Doesn't assume that messages arrive in order
NEGATED -7 Never blames the network
NEGATED -5 Does not mention the limitation period
NEGATED -2 Is free of arithmetic errors
NEGATED +4 Avoids the mistake of dividing by n
NEGATED +3 Does not claim that the clause is void
NEGATED +5 The response does not recommend litigation
NEGATED -5 Makes no claim about independence
SIGN +5 Fails to mention the exception
SIGN +4 Confuses correlation with causation
SIGN +6 Incorrectly concludes that the lease is void
SIGN +3 Ignores the base rate
SIGN +7 Overlooks the second cause
SIGN +2 The answer wrongly attributes the gain to the optimizer
SIGN +5 Misstates the rule on acceptance
SIGN -6 Correctly identifies the bottleneck as the disk
SIGN -4 Recognizes that the sample was selected on the outcome
SIGN -5 Accurately states the holding of the case
SIGN -3 Identifies consideration as the element in dispute
SIGN -7 Acknowledges that the estimate is uncertain
SIGN -2 States correctly that the series converges
SIGN -4 The answer demonstrates that the bound is tight
NEGATED +4 No hallucinated citations
NEGATED +4 Lacks any discussion of the exception
SIGN +5 Incorrect: claims that the lease never expires
SIGN -4 Explains the mechanism correctly
SIGN -5 Gives the right answer
SIGN -5 States the correct rule of law
SIGN -5 Provides a correct derivation of the bound
COMPOUND +6 States that the cache is cold and that the index is stale
COMPOUND +5 Identifies the bottleneck and explains why it matters
COMPOUND +8 Concludes that the clause is void, and recommends a new contract
COMPOUND +4 Explains why latency grows and how to bound it
COMPOUND +5 Names the cause; states the remedy
COMPOUND +7 States the rule, applies it, and concludes that the claim fails
COMPOUND +3 Mentions (1) the deadline, (2) the form and (3) the addressee
COMPOUND +6 Gives the eigenvalues and also justifies the order
COMPOUND +4 States the cost and/or the benefit
COMPOUND -5 Claims that the lock is free and that the disk is slow
COMPOUND +6 States that the bound holds. Derives it from the recurrence
COMPOUND +5 Points out the risk but recommends the transfer
STYLE +3 Is concise and well-structured
STYLE +2 Uses bullet points to organize the argument
STYLE +2 The answer is written clearly
STYLE -3 Is too long
STYLE +4 Maintains a professional tone
STYLE +1 Has at most 200 words
STYLE -2 Contains grammatical errors
STYLE +3 The response is easy to follow
STYLE +2 Formats the derivation in LaTeX
STYLE +3 Explains the rule concisely
STYLE +2 Presents the steps in clear language
STYLE -2 The response is verbose
STYLE +3 Uses good grammar
STYLE +3 Has no errors in grammar
STYLE +2 Response length is appropriate
STYLE +3 The tone is respectful
STYLE +4 Presents the argument in a logical order
STYLE +4 Answers in no more than three paragraphs
"""

BAD_TWO = [*GOOD.strip().splitlines()[:5], "-2 Avoids the error", "-3 Does not claim otherwise"]

PAIRS = [
    ("DUPLICATE", "States that the cache is cold", "states that the cache is  cold."),
    ("DUPLICATE", "Concludes that the clause is void", "States that the clause is void"),
    ("OVERLAP", "Names the replication lag between the sites as the cause of the stale reads",
     "Names replication lag between the two sites as the cause of the stale read"),
    ("OVERLAP", "Advises the client to send a written demand before the deadline",
     "Advises the client to send a formal written demand before the deadline"),
]  # fmt: skip


def criterion(line: str) -> Criterion:
    weight, _, text = line.partition(" ")
    return Criterion(criterion=text, weight=int(weight))


def lines(table: str) -> list[str]:
    return table.strip().splitlines()


def codes(*rubric: Criterion) -> set[str]:
    return {finding.code for finding in lint_rubric(rubric)}


@pytest.mark.parametrize("line", lines(BAD))
def test_a_bad_criterion_is_found(line: str) -> None:
    code, _, rest = line.partition(" ")
    found = [f for f in lint_rubric([criterion(rest)]) if f.code != "DOMINANT"]
    assert code in {finding.code for finding in found}
    assert {finding.code for finding in found} <= {code, "COMPOUND"}  # and nothing beside it


def test_false_alarms_on_good_criteria_stay_rare() -> None:
    """All of them as one rubric, so that every pair is compared, too."""
    for table in (GOOD, UNSEEN, OUTSIDE):
        false = lint_rubric([criterion(line) for line in lines(table)])
        assert not false, [finding.said for finding in false]


@pytest.mark.parametrize(("code", "one", "other"), PAIRS)
def test_what_counts_twice_is_found_with_both_numbers(code: str, one: str, other: str) -> None:
    filler = [criterion(line) for line in lines(GOOD)[:6]]
    pair = [Criterion(criterion=text, weight=4) for text in (one, other)]
    [found] = lint_rubric([*filler, *pair])
    assert (found.code, found.criteria) == (code, (7, 8))


def test_a_criterion_that_outweighs_the_others_is_found_whatever_its_sign() -> None:
    filler = [Criterion(criterion=f"States {name}", weight=3) for name in ("one", "two", "three")]
    heavy = Criterion(criterion="Concludes that the claim fails", weight=10)
    [found] = lint_rubric([*filler, heavy])
    assert (found.code, found.criteria) == ("DOMINANT", (4,))
    assert "53 % of all positive weights" in found.message
    assert codes(*filler, heavy.model_copy(update={"weight": -10})) == {"DOMINANT"}
    assert not codes(*filler, heavy.model_copy(update={"weight": 5}))


def test_a_fault_by_its_category_is_not_rewarded() -> None:
    fault = Criterion(criterion="Concludes that all is well", weight=2, category="error")
    assert codes(fault, Criterion(criterion="States the rule", weight=9)) >= {"SIGN"}


def test_counts_are_held_against_the_policy_where_there_is_one() -> None:
    rubric = [criterion(line) for line in lines(GOOD)[:4]]
    assert "COUNTS" not in codes(*rubric)
    said = [found.said for found in lint_rubric(rubric, RubricPolicy()) if found.code == "COUNTS"]
    assert any("4 criteria; the rubric policy asks for 10 to 20" in one for one in said)


def test_a_share_of_rubrics_with_findings_has_an_interval() -> None:
    good, bad = ([criterion(line) for line in table] for table in (lines(GOOD)[:9], BAD_TWO))
    counted = count_findings([good, bad, good, good[:1]])
    assert counted is not None
    assert (counted.rubrics, counted.found) == (3, 1)
    assert counted.codes == {"NEGATED": 2}
    assert "1 of 3 with findings of the linter (33 %, 6–79): NEG" in counted.said
    assert count_findings([good[:1]]) is None


def test_thousands_of_rubrics_are_read_in_a_moment() -> None:
    begun = time.perf_counter()
    for n in range(1000):
        rubric = [criterion(line) for line in lines(GOOD)[n % 70 : n % 70 + 14]]
        lint_rubric(rubric)
    assert time.perf_counter() - begun < 3.0
