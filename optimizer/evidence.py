"""Trajectories as a folder of readable files: what the analyst studies, and people may too.

Training documents only. Nothing here carries a time or a place, so that the same evidence always
makes the same files and a resumed analyst asks the same questions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autodata.optimizer.failures import Trajectory, counts
from autodata.optimizer.history import HISTORY, PAGES
from autodata.tasks.acceptance import summary
from autodata.tasks.types import Attempt, Candidate, Objection, Round, Verdict

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
            f"- {'met' if m.met else 'not met'} [{m.weight:+}] {m.criterion}"
            + (f" — “{m.evidence}”" if m.evidence else "")
            for m in attempt.marks
        )
