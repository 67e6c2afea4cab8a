"""git as a subprocess: the store's own configuration and nothing that the caller inherited.

Text that a model wrote reaches git through stdin only, so it can never be read as an option.
"""

import os
import subprocess
from pathlib import Path

# The name on commits; the person who adopts a champion signs the merge with their own.
IDENTITY = ("autodata", "autodata@localhost")


class StoreError(RuntimeError):
    """The prompt store cannot do what was asked: the message says what is wrong and what to do."""


class Git:
    """Runs git commands on one repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, stdin: str | bytes = b"", when: int | None = None) -> str:
        """stdout of a command as text; raises StoreError with git's own words when it fails.

        `when` is the time in commits, in seconds since 1970; the clock's by default.
        """
        return self.raw(*arguments, stdin=stdin, when=when).decode("utf-8")

    def raw(self, *arguments: str, stdin: str | bytes = b"", when: int | None = None) -> bytes:
        """stdout of a command as bytes; raises StoreError as above."""
        data = stdin.encode("utf-8") if isinstance(stdin, str) else stdin
        command = ["git", f"--git-dir={self.folder}", "-c", f"core.hooksPath={os.devnull}"]
        try:
            done = subprocess.run(
                [*command, *arguments], input=data, capture_output=True, env=_environment(when)
            )
        except FileNotFoundError as error:
            raise StoreError("git is not installed; the prompt store needs it") from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip() or f"exit {done.returncode}"
            raise StoreError(f"{self.folder}: git {arguments[0]} failed: {said}")
        return done.stdout


def _environment(when: int | None) -> dict[str, str]:
    """The caller's environment without its GIT_*, which could redirect us to another repository.

    Personal and system configuration is left out as well: signing, encodings or separators set
    there would change what is written and how it is parsed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    name, email = IDENTITY
    ours = {"LC_ALL": "C", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        ours |= {f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": email}
        if when is not None:
            ours[f"GIT_{who}_DATE"] = f"@{when} +0000"
    return kept | ours
