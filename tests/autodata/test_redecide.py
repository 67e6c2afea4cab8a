"""A run's own thresholds decide its record as they did: told from outside."""

import json
from pathlib import Path

import pytest

from tests.outside import DEMO, Folder


@pytest.mark.parametrize(
    ("task", "preset", "confirm"),
    [
        ("cs", "deployed", "3"),
        ("cs", "paper", "null"),
        ("cs", "measured", "3"),
        ("science", "paper", "3"),
        ("science", "deployed", "3"),
        ("procedural", "measured", "3"),
        ("legal", "measured", "null"),
        ("procedural", "paper", "3"),
    ],
)
def test_its_own_settings_decide_a_run_as_they_did(
    tmp_path: Path, task: str, preset: str, confirm: str
) -> None:
    """Whether or not fresh attempts decided, too."""
    folder = Folder(tmp_path)
    words = ("--rounds", "3", "--set", f"acceptance.confirm={confirm}", "--out", "run")
    folder("run", str(DEMO / task), "--task", task, "--preset", preset, *words)
    found = json.loads(folder("status", "run", "--json"))["documents"]
    accepted, rejected = found["accepted"], found["rejected"]
    said = folder("redecide", "run")
    assert f"thresholds {accepted} accepted, {rejected} rejected, 0 open" in said
    assert "would be" not in said
    if confirm == "null":
        said = folder("redecide", "run", "--set", "acceptance.confirm=5")
        assert f"thresholds 0 accepted, {rejected} rejected, {accepted} open" in said
        assert "it was not confirmed by fresh attempts" in said
