"""For people: the family tree of a store's prompts, and the merge that adopts a champion."""

import os
import subprocess
from collections.abc import Sequence

from autodata.prompt_store.git import IDENTITY, Git, StoreError
from autodata.prompt_store.store import MAIN, NOTES, Store

# Decision and score of each commit, then what it says. Works with plain `git log`, too.
FORMAT = (
    "%C(auto)%h %C(yellow)%<(10,trunc)%(trailers:key=Autodata-Decision,valueonly,separator=%x2C)"
    "%C(reset) %<(18,trunc)%(trailers:key=Autodata-Score,valueonly,separator=%x2C) %s"
)
KEPT = ("refs/heads/*", "refs/autodata/*/pop/*")
ALL = ("refs/heads/*", "refs/autodata/*")


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


def merge(store: Store, revision: str, message: str) -> str:
    """Merges a revision into `main`, in the store's work tree and in the name of whoever asks.

    Returns the merge commit. Raises StoreError when `main` is not checked out, local changes are
    in the way, or both sides changed the same lines; then nothing is changed.
    """
    sha, git = store.resolve(revision), _git(store)
    if not (store.path / ".git").exists():
        raise StoreError(f"{store.path}: a bare store has no work tree to merge in; clone it")
    if git("symbolic-ref", "--quiet", "HEAD").strip() != MAIN:
        raise StoreError(f"{store.path}: main is not checked out; `git checkout main` there first")
    done = _as_person(store, "merge", "--no-ff", "-m", message, sha)
    if done.returncode:
        _as_person(store, "merge", "--abort")
        said = (done.stderr or done.stdout).strip()
        raise StoreError(f"{store.path}: {revision} was not merged: {said}")
    return store.resolve(MAIN)


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
