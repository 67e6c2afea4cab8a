"""For people: the family tree of a store's prompts, and the merge that adopts a champion."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from autodata.prompt_store.store import IDENTITY, MAIN, NOTES, Git, Store, StoreError

# Decision and score of each commit, then what it says. Works with plain `git log`, too.
FORMAT = (
    "%C(auto)%h %C(yellow)%<(10,trunc)%(trailers:key=Autodata-Decision,valueonly,separator=%x2C)"
    "%C(reset) %<(19,trunc)%(trailers:key=Autodata-Score,valueonly,separator=%x2C) %s"
)
KEPT = ("refs/heads/*", "refs/autodata/*/pop/*")
ALL = ("refs/heads/*", "refs/autodata/*")

# What git keeps while something is under way → what that is, and what gives it up.
UNDER_WAY = {
    "MERGE_HEAD": ("a merge", "merge --abort"),
    "rebase-merge": ("a rebase", "rebase --abort"),
    "rebase-apply": ("a rebase", "rebase --abort"),
    "CHERRY_PICK_HEAD": ("a cherry-pick", "cherry-pick --abort"),
    "REVERT_HEAD": ("a revert", "revert --abort"),
    "BISECT_LOG": ("a bisection", "bisect reset"),
}


def log_arguments(patterns: Sequence[str]) -> list[str]:
    """The arguments of the `git log` that draws the refs of these patterns."""
    return ["log", "--graph", f"--format={FORMAT}", *(f"--glob={glob}" for glob in patterns)]


def graph(store: Store, patterns: Sequence[str] = KEPT, *, color: bool = False) -> str:
    """The commits that these refs reach, drawn as a graph, newest first."""
    arguments = log_arguments(patterns)
    arguments.insert(1, f"--color={'always' if color else 'never'}")
    return _git(store)(*arguments)


def shown(store: Store, revision: str) -> str:
    """One commit in full: message, notes, and what it changed."""
    return _git(store)("show", f"--notes={NOTES}", "--no-color", store.resolve(revision), "--")


def merge(store: Store, revision: str, message: str) -> str | None:
    """Merges a revision into `main`, in the store's work tree and in the name of whoever asks.

    Returns the merge commit, or None when `main` contains the revision already. Raises StoreError
    when `main` is not checked out, something else is under way in the work tree, local changes are
    in the way, or both sides changed the same lines; then nothing is changed.
    """
    sha, main = store.resolve(revision), store.resolve(MAIN)
    if not _as_person(store, "merge-base", "--is-ancestor", sha, main).returncode:
        return None
    _check_ready(store)
    done = _as_person(store, "merge", "--no-ff", "-m", message, sha)
    if done.returncode:
        # git refuses most merges before it begins one; only what we began is ours to end.
        if "MERGE_HEAD" in _under_way(store):
            _as_person(store, "merge", "--abort")
        said = (done.stderr or done.stdout).strip()
        raise StoreError(f"{store.path}: {revision} was not merged, and nothing changed: {said}")
    return store.resolve(MAIN)


def superproject(store: Store) -> Path | None:
    """The project whose submodule the store is; None when it is a repository of its own."""
    said = _as_person(store, "rev-parse", "--show-superproject-working-tree").stdout.strip()
    return Path(said) if said else None


def _check_ready(store: Store) -> None:
    """Raises StoreError unless `main` is checked out with nothing under way."""
    if not (store.path / ".git").exists():
        raise StoreError(f"{store.path}: a bare store has no work tree to merge in; clone it")
    if found := _under_way(store):
        what, how = UNDER_WAY[found[0]]
        raise StoreError(
            f"{store.path}: {what} is under way there; finish it or give it up "
            f"(`git -C {store.path} {how}`), then adopt again. Nothing was touched"
        )
    head = _as_person(store, "symbolic-ref", "--quiet", "HEAD").stdout.strip()
    if head != MAIN:
        where = head.removeprefix("refs/heads/") or "no branch (HEAD is detached)"
        raise StoreError(
            f"{store.path}: {where} is checked out there, and a merge goes into what is checked "
            f"out; `git -C {store.path} checkout main` first. Nothing was touched"
        )


def _under_way(store: Store) -> list[str]:
    """Which of UNDER_WAY git has begun in the work tree and not ended."""
    asked = [word for name in UNDER_WAY for word in ("--git-path", name)]
    places = _as_person(store, "rev-parse", *asked).stdout.splitlines()
    pairs = zip(UNDER_WAY, places, strict=False)
    return [name for name, place in pairs if (store.path / place).exists()]


def _git(store: Store) -> Git:
    inner = store.path / ".git"
    return Git(inner if inner.exists() else store.path)


def _as_person(store: Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    """git with the configuration of whoever runs it; the store's own name where they have none."""
    name, email = IDENTITY
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    stated = ["git", "-C", str(store.path), "config", "user.email"]
    known = subprocess.run(stated, env=kept, capture_output=True, check=False).returncode == 0
    identity = [] if known else ["-c", f"user.name={name}", "-c", f"user.email={email}"]
    return subprocess.run(
        ["git", "-C", str(store.path), *identity, *arguments],
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
