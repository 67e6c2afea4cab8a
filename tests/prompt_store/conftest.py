"""A prompt store, and a person who works in it with git."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from autodata.prompt_store.store import Store

Person = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "prompts")


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Runs git as a person at the keyboard would, in the store unless told where."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env |= {"HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "Ada", f"GIT_{who}_EMAIL": "ada@example.org"}

    def run(*arguments: str, cwd: Path = tmp_path / "prompts") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=True
        )
        return done.stdout

    return run
