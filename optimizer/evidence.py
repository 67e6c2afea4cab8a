"""Trajectories in figures and as readable files: what the analyst studies, and people may too.

Texts of training documents only; of held-out documents scores and counts. Nothing here carries a
time or a place, so that the same evidence always makes the same files and a resumed analyst asks
the same questions.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from autodata.ledger.iterations import Iteration, iterations
from autodata.ledger.ledger import Ledger
from autodata.optimizer.state import Plan
from autodata.tasks.acceptance import summary
from autodata.tasks.types import (
    Attempt,
    Candidate,
    Code,
    Document,
    Frozen,
    Objection,
    Round,
    Verdict,
)

Effect = Literal["rises", "falls"]
PredictionResult = Literal["came true", "did not", "cannot be told"]

CODES: tuple[Code, ...] = get_args(Code)


class Trajectory(Frozen):
    """One document's way through the loop under one set of prompts."""

    document: Document
    rounds: tuple[Round, ...]

    @property
    def decision(self) -> str:
        """What became of the document."""
        return self.rounds[-1].decision or "undecided"


class Prediction(Frozen):
    """What an edit is meant to change: the rate of an objection, or of accepted documents."""

    what: Code | Literal["ACCEPTED"] = Field(
        description="an objection code from the index, or ACCEPTED for the pass rate"
    )
    effect: Effect = Field(description="whether it rises or falls")

    def __str__(self) -> str:
        return f"{self.what} {self.effect}"


def counts(trajectories: Sequence[Sequence[Round]]) -> dict[str, int]:
    """Rounds in which each objection came up, the most frequent first."""
    seen = Counter(
        code
        for rounds in trajectories
        for round in rounds
        for code in {objection.code for objection in round.objections}
    )
    return {code: seen[code] for code in sorted(seen, key=lambda c: (-seen[c], CODES.index(c)))}


def rates(trajectories: Sequence[Sequence[Round]]) -> dict[str, float]:
    """Objections by code and accepted documents (`ACCEPTED`), each per document; ≥ 0."""
    if not trajectories:
        return {}
    accepted = sum(rounds[-1].decision == "accepted" for rounds in trajectories)
    found = {**counts(trajectories), "ACCEPTED": accepted}
    return {name: round(n / len(trajectories), 4) for name, n in found.items()}


def moved(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """By how much each rate changed, the largest change first; unchanged ones are left out."""
    change = {n: round(after.get(n, 0.0) - before.get(n, 0.0), 4) for n in {*before, *after}}
    return {n: change[n] for n in sorted(change, key=lambda n: (-abs(change[n]), n)) if change[n]}


def outcome(
    predicted: Prediction, before: Mapping[str, float], after: Mapping[str, float]
) -> PredictionResult:
    """Whether what was predicted happened, measured on the same documents before and after."""
    if not before or not after:
        return "cannot be told"
    change = after.get(predicted.what, 0.0) - before.get(predicted.what, 0.0)
    came_true = change > 0 if predicted.effect == "rises" else change < 0
    return "came true" if came_true else "did not"


INDEX = "index.md"
NAME_MAX = 40  # characters of a document's name in a path


def evidence(
    trajectories: Sequence[Trajectory],
    prompts: Mapping[str, str],
    history: Mapping[str, str],
) -> dict[str, str]:
    """Path → Markdown.

    `index.md` with the failure counts, `documents/…` with one file per round, `prompts/…` as they
    were, and the files of `history`, which say what earlier iterations tried.
    """
    folders = [f"documents/{_name(n, t)}" for n, t in enumerate(trajectories, 1)]
    files = {INDEX: _index(trajectories, folders), **history}
    files |= {f"prompts/{path}": text for path, text in sorted(prompts.items())}
    for folder, trajectory in zip(folders, trajectories, strict=True):
        files[f"{folder}/source.md"] = trajectory.document.text
        for round in trajectory.rounds:
            files[f"{folder}/round-{round.number}.md"] = _round(trajectory, round)
    return files


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Puts the files where people can read them, but for earlier edits, which git shows."""
    for path, text in files.items():
        if path.startswith(PAGES):
            continue
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8", errors="backslashreplace")


def _name(number: int, trajectory: Trajectory) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", trajectory.document.name.casefold()).strip("-")
    return f"{number:02}-{words[-NAME_MAX:].strip('-') or 'document'}"


def _index(trajectories: Sequence[Trajectory], folders: Sequence[str]) -> str:
    """The first thing to read: what came of each document, and which failures are frequent."""
    accepted = sum(t.decision == "accepted" for t in trajectories)
    rounds = [t.rounds for t in trajectories]
    found = counts(rounds)
    return "\n".join(
        [
            "# Evidence",
            "",
            f"{accepted} of {len(trajectories)} documents yielded an accepted example, "
            f"after {sum(map(len, rounds))} rounds in all.",
            "",
            "## Failures",
            "",
            "| objection | rounds | documents |",
            "|---|---:|---:|",
            *(f"| {code} | {n} | {_documents_with(code, rounds)} |" for code, n in found.items()),
            "",
            "## Documents",
            "",
            "| folder | decision | rounds | objections, round by round |",
            "|---|---|---:|---|",
            *(
                f"| {folder} | {t.decision} | {len(t.rounds)} | {_story(t.rounds)} |"
                for folder, t in zip(folders, trajectories, strict=True)
            ),
            "",
            "Each folder holds `source.md` (the document) and one file per round.",
            f"`prompts/` holds the prompts that were used, `{HISTORY}` what was tried before.",
            "",
        ]
    )


def _documents_with(code: str, trajectories: Sequence[Sequence[Round]]) -> int:
    return sum(code in counts([rounds]) for rounds in trajectories)


def _story(rounds: Sequence[Round]) -> str:
    return ", ".join(
        "+".join(dict.fromkeys(o.code for o in round.objections)) or str(round.decision)
        for round in rounds
    )


def _round(trajectory: Trajectory, round: Round) -> str:
    """One round as a page: what was asked, what was found, who answered what."""
    parts = [f"# {trajectory.document.name} · round {round.number} · {round.decision}"]
    if round.instruction:
        parts += ["## Instruction", round.instruction]
    parts += _objections(round.objections)
    if round.candidate:
        parts += _candidate(round.candidate)
    parts += _verdict("Verifier", round.verdict) + _scores(round)
    parts += [part for attempt in (*round.weak, *round.strong) for part in _attempt(attempt)]
    if judged := round.judgement:
        parts += ["## Loop judge", f"{judged.verdict}: {judged.verdict_reason}"]
        parts += [f"- weak: {judged.weak_pattern}\n- strong: {judged.strong_pattern}"]
    parts += _verdict("Final verifier", round.final_verdict)
    return "\n\n".join(parts) + "\n"


def _objections(objections: Sequence[Objection]) -> list[str]:
    if not objections:
        return ["## Objections", "None: accepted."]
    return ["## Objections", "\n".join(f"- {o.code}: {o.message}" for o in objections)]


def _candidate(candidate: Candidate) -> list[str]:
    criteria = [f"{i}. [{c.weight:+}] {c.criterion}" for i, c in enumerate(candidate.rubric, 1)]
    return [
        f"## Candidate ({candidate.question_type or 'no type'})",
        "### Context",
        candidate.context,
        "### Question",
        candidate.question,
        "### Reference answer",
        candidate.reference_answer,
        "### Rubric",
        "\n".join(criteria),
    ]


def _verdict(who: str, verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return []
    findings = [f"- {problem}" for problem in verdict.problems]
    leak = ["- leak: yes"] if verdict.leak else []
    listed = "\n".join(leak + findings)
    return [f"## {who}: {'PASS' if verdict.passed else 'FAIL'}", *([listed] if listed else [])]


def _scores(round: Round) -> list[str]:
    found = {name: value for name, value in summary(round).items() if value is not None}
    return ["## Scores", ", ".join(f"{n} {v:.2f}" for n, v in found.items())] if found else []


def _attempt(attempt: Attempt) -> Iterator[str]:
    score = "unscored" if attempt.score is None else f"{attempt.score:.2f}"
    cut = ", cut off" if attempt.truncated else ""
    yield f"## {attempt.solver.capitalize()} attempt {attempt.number}: {score}{cut}"
    yield attempt.answer or "(no answer)"
    if attempt.marks:
        yield "\n".join(
            f"- {m.said} [{m.weight:+}] {m.criterion}"
            + (f" — “{m.evidence}”" if m.evidence else "")
            for m in attempt.marks
        )


HISTORY = "history.md"
PAGES = "history/"
HISTORY_ROWS = 30  # iterations in the overview, the newest ones

_HEAD = (
    "| iteration | parent | decision | score | parent's | edit | predicted | outcome |",
    "|---:|---:|---|---:|---:|---|---|---|",
)


def history(iterations: Sequence[Iteration], diffs: Mapping[int, str]) -> dict[str, str]:
    """`history.md`, an overview, and `history/<number>.md` with each edit in full.

    `diffs` maps the number of an iteration to what it changed.
    """
    tried = [i for i in iterations if i.decision != "start"]
    if not tried:
        return {HISTORY: "# History\n\nNothing was tried yet.\n"}
    rows = [_row(iteration) for iteration in tried[-HISTORY_ROWS:]]
    older = len(tried) - len(rows)
    note = [f"{older} older iterations are left out here; they have files too.", ""]
    pages = {f"{PAGES}{i.number:03}.md": _page(i, diffs.get(i.number, "")) for i in tried}
    reviewed = [(i.number, i.review) for i in tried if i.review and i.review.decision == "reject"]
    told = [f"- Iteration {number}: {review.reason}" for number, review in reviewed]
    reviews = ["Edits that won and that a reviewer turned down, and why:", "", *told, ""]
    overview = ["# History", "", *(note if older else []), *_HEAD, *rows, ""]
    overview += reviews if told else []
    return {HISTORY: "\n".join(overview), **pages}


def _row(i: Iteration) -> str:
    cells = (
        f"{i.number}",
        f"{i.parent}" if i.other_parent is None else f"{i.parent} and {i.other_parent}",
        i.decision,
        percent(i.score),
        percent(i.parent_score),
        i.subject.replace("|", "/") or i.reason.replace("|", "/"),
        i.predicts,
        i.outcome,
    )
    return f"| {' | '.join(cells)} |"


def _page(i: Iteration, diff: str) -> str:
    """One iteration: why, what for, what came of it, and the edit itself."""
    change = moved(i.rates_before, i.rates_after)
    parts = [
        f"# Iteration {i.number}: {i.decision}",
        i.reason,
        *(["## Cause", i.cause] if i.cause else []),
        *(["## Intent", i.intent] if i.intent else []),
    ]
    if i.predicts:
        parts += ["## Prediction", f"{i.predicts}: {i.outcome or 'not measured'}"]
    if change:
        lines = [f"- {name}: {by:+.2f} per document" for name, by in change.items()]
        parts += ["## What moved", "\n".join(lines)]
    if diff:
        parts += ["## Edit", f"```diff\n{diff.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def percent(score: float | None) -> str:
    """A score of 0 … 1 in percent, or nothing."""
    return "" if score is None else f"{score:.1%}"


Rates = Mapping[str, float]


def compared(ledger: Ledger, old: str, new: str) -> tuple[Rates, Rates, int]:
    """Objections per document of two revisions in their first evaluation, and on how many
    validation documents; nothing for a revision that the run did not evaluate."""
    run = ledger.run()
    by_revision = {i.revision: i for i in iterations(ledger, run.id)}
    if old not in by_revision or new not in by_revision:
        return {}, {}, 0
    validation = set(Plan.model_validate(run.config["optimize"]).validation)
    one, other = by_revision[old], by_revision[new]
    common = _tried(ledger, one) & _tried(ledger, other) & validation
    before, after = (_rates(ledger, i, common) for i in (one, other))
    return before, after, len(common)


def moved_lines(before: Rates, after: Rates, documents: int) -> list[str]:
    """What moved, for people."""
    if not documents:
        return ["The run did not evaluate both revisions, so nothing is known of their failures."]
    lines = [f"Per document, on the {documents} validation documents that both were tried on:"]
    lines += [
        f"  {name:<18} {before.get(name, 0.0):.2f} → {after.get(name, 0.0):.2f}  ({by:+.2f})"
        for name, by in moved(before, after).items()
    ]
    return lines if len(lines) > 1 else [*lines, "  nothing moved"]


def _tried(ledger: Ledger, iteration: Iteration) -> set[str]:
    return set(ledger.outcomes(iteration.evaluation()))


def _rates(ledger: Ledger, iteration: Iteration, documents: set[str]) -> Rates:
    name = iteration.evaluation()
    return rates([ledger.rounds(name, document) for document in sorted(documents)])
