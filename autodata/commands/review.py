"""autodata review: a person accepts, edits or sends back what waits, in the terminal or by options;
of an optimization, keeps an edit of the prompts or turns it down.

It takes no lock: it writes one row at a time, and works while the run does.
"""

import getpass
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.text import Text

from autodata.commands.show import choose
from autodata.ledger.ledger import Ledger
from autodata.ledger.reviews import (
    WaitingEdit,
    WaitingRound,
    all_waiting,
    answer,
    answer_about_edit,
    waiting_edits,
)
from autodata.ledger.rows import RunRow, now
from autodata.ledger.summary import NOTICE, harmless, number, outcomes, waiting_line
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import print_table, screen, table
from autodata.storyboard import tell
from autodata.tasks import TASKS
from autodata.tasks.review import (
    EditReview,
    ReviewError,
    editable,
    read_edit_review,
    read_review,
    shown,
)
from autodata.tasks.types import Review

ANSWERS = "a accept · r send back · e edit · f show in full · s skip · q quit"
ANSWERS_ABOUT_EDIT = "a keep · r turn down · f show in full · s skip · q quit"
DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
HEAD = "# Edit what is to change; the verifier and both solvers see it afresh.\n"

Waiting = WaitingRound | WaitingEdit


def review(
    run: Path,
    listed: bool,
    as_json: bool,
    accept: Sequence[str],
    reject: str | None,
    edit: tuple[str, str] | None,
    reason: str | None,
    by: str | None,
    run_id: str | None,
) -> None:
    """Lists what waits, answers as the options say, or asks about one after the other.

    Raises RunFolderError or ReviewError.
    """
    folder, answers = RunFolder(run).existing(), bool(accept or reject or edit)
    if reason and not (reject or edit):
        raise RunFolderError("--reason goes with --reject or --edit")
    if answers and (listed or as_json):
        raise RunFolderError("--list and --json ask nothing and answer nothing; use them alone")
    with Ledger.open(folder.path, create=not (listed or as_json)) as ledger:
        waiting = _waiting(ledger, ledger.run(run_id), of_one=run_id is not None)
        if as_json:
            print(json.dumps([_plain(ledger, each) for each in waiting], indent=2))
        elif answers:
            _answer(ledger, waiting, _decided(accept, reject, edit, reason), by or who())
        elif not waiting:
            screen().print(f"nothing in {run} waits for review", soft_wrap=True)
        elif listed:
            _list(screen(), ledger, waiting)
        elif sys.stdin.isatty():
            _ask_about_each(screen(), ledger, waiting, by or who())
        else:
            raise RunFolderError(
                f"{waiting_line(len(waiting))}, and there is no terminal to ask at; see --list, "
                "--accept, --reject and --edit"
            )


def _waiting(ledger: Ledger, run: RunRow, *, of_one: bool) -> Sequence[Waiting]:
    """What waits in the folder of a run, or of it alone."""
    found = waiting_edits if run.kind == "optimization" else all_waiting
    return found(ledger, run.id if of_one else None)


def who() -> str:
    """git's user.name, or the login."""
    try:
        named = subprocess.run(
            ["git", "config", "user.name"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return getpass.getuser()
    return named.stdout.strip() or getpass.getuser()


def _plain(ledger: Ledger, waiting: Waiting) -> dict[str, Any]:
    """What a reviewer needs, as JSON values."""
    known = {"run": waiting.run_id, "asked_at": waiting.asked_at}
    if isinstance(waiting, WaitingEdit):
        return {**known, **waiting.shown}
    document = ledger.document(waiting.document_id)
    return known | shown(document, waiting.rounds, waiting.certainty)


def _list(console: Console, ledger: Ledger, waiting: Sequence[Waiting]) -> None:
    numbers = ("iteration", "round", "weak", "strong", "gap")
    rows = [_cells(ledger, each) for each in waiting]
    made = table(*rows[0], numbers=numbers, wrapped=("edit", "name"))
    for row in rows:
        made.add_row(*row.values())
    print_table(console, made)


def _cells(ledger: Ledger, waiting: Waiting) -> dict[str, str]:
    found = _plain(ledger, waiting)
    if isinstance(waiting, WaitingEdit):
        return {
            "iteration": str(waiting.number),
            "edit": harmless(found["subject"]),
            "validated": found["score"]["said"],
            "parent": found["parent_score"]["said"],
            "predicts": found["predicts"],
            "asked": waiting.asked_at,
        }
    return {
        "document": waiting.document_id[:8],
        "name": harmless(found["document"]["name"]),
        "round": str(found["round"]),
        "weak": number(found["weak_mean"]),
        "strong": number(found["strong_mean"]),
        "gap": number(found["gap"]),
        "asked": waiting.asked_at,
    }


def _decided(
    accept: Sequence[str],
    reject: str | None,
    edit: tuple[str, str] | None,
    reason: str | None,
) -> dict[str, dict[str, Any]]:
    """What the options say of each document that they name. Raises RunFolderError."""
    decided: dict[str, dict[str, Any]] = {name: {"decision": "accept"} for name in accept}
    said = {"reason": reason or ""}
    if reject:
        decided[reject] = {"decision": "reject", **said}
    if edit:
        decided[edit[0]] = {"decision": "edit", "candidate": _read(Path(edit[1])), **said}
    if len(decided) < len(accept) + bool(reject) + bool(edit):
        raise RunFolderError("a document is named twice; say one thing of each")
    return decided


def _read(file: Path) -> Any:
    """What a YAML file holds. Raises RunFolderError."""
    try:
        return _yaml(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RunFolderError(f"{file} is not a text file in UTF-8") from error
    except ReviewError as error:
        raise RunFolderError(f"{file}: {error}") from error


def _yaml(text: str) -> Any:
    """Raises ReviewError."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ReviewError(f"not YAML: {' '.join(str(error).split())}") from error


def _answer(
    ledger: Ledger,
    waiting: Sequence[Waiting],
    decided: Mapping[str, Mapping[str, Any]],
    by: str,
) -> None:
    """Answers all, or none where one cannot be taken. Raises RunFolderError or ReviewError."""
    meant = [(_meant(ledger, waiting, name), said) for name, said in decided.items()]
    read = [(each, taken(ledger, each, {**said, "by": by})) for each, said in meant]
    for each, said in read:
        _file(screen(), ledger, each, said)


def _meant(ledger: Ledger, waiting: Sequence[Waiting], name: str) -> Waiting:
    """The one that waits of a document, or of an iteration. Raises RunFolderError."""
    if ledger.run().kind == "optimization":
        told, place = f"iteration {name}", name
    else:
        found = choose(outcomes(ledger, ledger.run().id), name)
        told, place = found.name, found.document_id
    ours = [each for each in waiting if each.place == place]
    if not ours:
        raise RunFolderError(f"{told} does not wait for review")
    if len({each.run_id for each in ours}) > 1:
        runs = ", ".join(each.run_id for each in ours)
        raise RunFolderError(f"{told} waits in several runs; name one by --run: {runs}")
    return ours[-1]


def taken(ledger: Ledger, waiting: Waiting, reply: Mapping[str, Any]) -> Review | EditReview:
    """The review that a reply comes to. Raises ReviewError."""
    if isinstance(waiting, WaitingRound):
        task = TASKS[ledger.run(waiting.run_id).task]
        document = ledger.document(waiting.document_id)
        return read_review(task, document, waiting.candidate, reply, now())
    if reply["decision"] == "edit":
        raise ReviewError("an edit of prompts is kept or turned down; --edit is for examples")
    decision = "keep" if reply["decision"] == "accept" else reply["decision"]
    return read_edit_review({**reply, "decision": decision}, waiting.prompts, now())


def filed(
    ledger: Ledger, waiting: Waiting, said: Review | EditReview
) -> tuple[Review | EditReview, bool]:
    """Files what a person said, in the terminal or on the board; returns what is on record, and
    whether that is it: whoever answered first is heard."""
    found: Review | EditReview
    if isinstance(said, EditReview) and isinstance(waiting, WaitingEdit):
        found = answer_about_edit(ledger, waiting, said)
    else:
        assert isinstance(said, Review) and isinstance(waiting, WaitingRound)  # noqa: PT018
        found = answer(ledger, waiting, said)
    return found, found == said


def _file(console: Console, ledger: Ledger, waiting: Waiting, said: Review | EditReview) -> None:
    found, first = filed(ledger, waiting, said)
    if isinstance(waiting, WaitingEdit):
        name = f"iteration {waiting.number}"
    else:
        name = ledger.document(waiting.document_id).name
    console.print(f"{name}  {'' if first else 'answered before: '}{found.said}", soft_wrap=True)


def _ask_about_each(console: Console, ledger: Ledger, waiting: Sequence[Waiting], by: str) -> None:
    """Shows and asks, until all are answered or skipped, or the reviewer has had enough."""
    drafts: dict[str, str] = {}
    for at, each in enumerate(waiting, 1):
        _tell(console, ledger, each, full=False)
        console.print(f"\n{at} of {len(waiting)}, as {by}", style="dim", soft_wrap=True)
        while True:
            edits = isinstance(each, WaitingEdit)
            console.print(ANSWERS_ABOUT_EDIT if edits else ANSWERS, soft_wrap=True)
            key = click.prompt("", prompt_suffix="> ", default="s", show_default=False).strip()
            if key == "q":
                return
            if key == "s":
                break
            if key == "f":
                _tell(console, ledger, each, full=True)
                continue
            try:
                reply = _reply(each, key, drafts)
                if reply is None:
                    continue
                _file(console, ledger, each, taken(ledger, each, {**reply, "by": by}))
                break
            except ReviewError as error:
                console.print(str(error), style="red", soft_wrap=True)
    goes_on = f"`autodata resume {ledger.path}` goes on with what was answered"
    console.print(goes_on, soft_wrap=True)


def _tell(console: Console, ledger: Ledger, waiting: Waiting, *, full: bool) -> None:
    if isinstance(waiting, WaitingEdit):
        console.print()
        if ledger.run(waiting.run_id).simulated:
            console.print(NOTICE, style="yellow", soft_wrap=True)
        for line in waiting.told(full=full):
            style = DIFF_STYLES.get(line[:1], "")
            console.print(Text(harmless(line), style=style), soft_wrap=True)
        return
    run, document = ledger.run(waiting.run_id), ledger.document(waiting.document_id)
    console.print()
    tell(console, run, document, waiting.rounds, full=full)
    if waiting.certainty is not None:
        console.print(f"the thresholds truly hold with P = {waiting.certainty:.2f}", soft_wrap=True)


def _reply(waiting: Waiting, key: str, drafts: dict[str, str]) -> dict[str, Any] | None:
    """What a key says, with what it asks for; None where it says nothing. What was written of a
    document stays in `drafts`, to be mended. Raises ReviewError."""
    if key == "a":
        return {"decision": "accept"}
    if key == "r":
        return {"decision": "reject", "reason": click.prompt("why")}
    if key == "e" and isinstance(waiting, WaitingRound):
        before = editable(waiting.candidate)
        draft = drafts.get(waiting.document_id, HEAD + as_yaml(before))
        text = click.edit(draft, extension=".yaml")
        if text is None:
            return None
        drafts[waiting.document_id] = text
        after = _yaml(text)
        if not isinstance(after, dict):
            raise ReviewError("there is no candidate in what was written")
        changed = {name: value for name, value in after.items() if value != before.get(name)}
        why = click.prompt("why", default="", show_default=False)
        return {"decision": "edit", "candidate": changed, "reason": why}
    return None


class _Lines(yaml.SafeDumper):
    """Texts of several lines stand as lines."""


_Lines.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def as_yaml(values: Mapping[str, Any]) -> str:
    """Values as people edit them."""
    written: str = yaml.dump(
        dict(values), Dumper=_Lines, sort_keys=False, allow_unicode=True, width=100
    )
    return written
