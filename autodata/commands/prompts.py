"""autodata prompts: the store of prompts, its history, and what an optimization proposes."""

import json
import shlex
from pathlib import Path
from typing import Any

from autodata.assembly import DEFAULT_STORE
from autodata.ledger.ledger import Ledger
from autodata.ledger.summary import harmless
from autodata.optimizer.evidence import compared, moved_lines
from autodata.optimizer.guard import Sources, faults
from autodata.options import DONE, FAILED
from autodata.prompt_store.prompt import PromptSet, problems
from autodata.prompt_store.store import (
    ALL,
    KEPT,
    Commit,
    Store,
    graph,
    log_arguments,
    merge,
    shown,
    superproject,
)
from autodata.screen import harmless_but_colours, screen
from autodata.settings import load


def init(path: Path) -> None:
    """Create a prompt store from the packaged prompts."""
    store = Store.init(path)
    screen().print(
        f"{path} holds the packaged prompts on main ({store.resolve('main')[:12]}). Edit and "
        "commit there like in any repository; runs use main unless --prompts names a revision.",
        soft_wrap=True,
    )


def log(store: Path | None, everything: bool, as_json: bool) -> None:
    """Draw the family tree of the prompts, with decisions and scores."""
    opened, patterns = open_store(store), ALL if everything else KEPT
    if as_json:
        print(json.dumps([plain(commit) for commit in opened.history(_refs(opened, everything))]))
        return
    console = screen()
    print(harmless_but_colours(graph(opened, patterns, color=console.is_terminal)), end="")
    line = shlex.join(["git", "-C", str(opened.path), *log_arguments(patterns)])
    console.print(f"\nWith plain git: {line}", style="dim", soft_wrap=True)


def show(revision: str, store: Path | None) -> None:
    """Show one revision: what it says, why, what came of it, and the change."""
    print(harmless(shown(open_store(store), revision)), end="")


def diff(old: str, new: str, run: Path | None, store: Path | None) -> None:
    """Show what differs between two revisions, and which failures became rarer.

    Failure counts come from the evaluations of an optimization: name its run folder.
    """
    opened = open_store(store)
    print(harmless(opened.diff(old, new)), end="")
    if run is None:
        return
    with Ledger.open(run, create=False) as ledger:
        before, after, documents = compared(ledger, opened.resolve(old), opened.resolve(new))
    print(harmless("\n".join(["", *moved_lines(before, after, documents)])))


def check(revision: str, against: str | None, store: Path | None) -> int:
    """Check that a revision can be used: placeholders, form, rubric policy."""
    opened, console = open_store(store), screen()
    files = opened.files(revision)
    found = problems(PromptSet(revision=revision, files=files))
    if against:
        before = opened.files(against)
        tasks = sorted({p.partition("/")[0] for p in files if files.get(p) != before.get(p)})
        found += [str(f) for task in tasks for f in faults(task, before, files, Sources())]
    for problem in found:
        console.print(problem, style="red", soft_wrap=True)
    console.print(f"{revision}: {len(found)} problems" if found else f"{revision} can be used")
    return FAILED if found else DONE


def adopt(revision: str, to: Path | None, store: Path | None) -> int:
    """Merge a champion into main, or copy its prompts to the seeds of a checkout."""
    opened, console = open_store(store), screen()
    prompts = opened.read(revision)
    if to is None:
        sha = merge(opened, revision, f"Adopt {revision}")
        if sha is None:
            console.print(f"main contains {revision} already; nothing to adopt", soft_wrap=True)
            return DONE
        console.print(f"main is now {sha[:12]}, a merge of {revision}", soft_wrap=True)
        if project := superproject(opened):
            console.print(
                f"{opened.path} is a submodule of {project}: commit the new revision there, too",
                soft_wrap=True,
            )
        return DONE
    for path, text in prompts.files.items():
        place = to / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    console.print(f"{len(prompts.files)} files of {revision} were written to {to}")
    return DONE


def open_store(path: Path | None) -> Store:
    """The store that was named, or the configured one. Raises StoreError."""
    return Store.open(path or Path(load(None, []).prompts.path or DEFAULT_STORE))


def plain(commit: Commit) -> dict[str, Any]:
    """A commit for `--json`; what no optimization wrote has nulls."""
    said = {name.removeprefix("Autodata-"): value for name, value in commit.trailers.items()}
    return {
        "sha": commit.sha,
        "parents": list(commit.parents),
        "time": commit.time,
        "subject": commit.subject,
        "run": said.get("Run"),
        "iteration": int(said["Iteration"]) if "Iteration" in said else None,
        "decision": said.get("Decision"),
        "score": said.get("Score"),
        "parent_score": said.get("Parent-Score"),
        "predicts": said.get("Predicts"),
        "note": commit.note or None,
    }


def _refs(store: Store, everything: bool) -> list[str]:
    return [
        ref for ref in store.refs() if everything or "/pop/" in ref or ref.startswith("refs/heads/")
    ]
