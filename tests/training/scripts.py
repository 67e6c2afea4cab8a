"""The scripts of training/, as they find one another: by bare names, from their own folder."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TRAINING, PAGE = ROOT / "training", ROOT / "docs" / "training.md"


def script(name: str) -> Any:
    """The script, imported."""
    if str(TRAINING) not in sys.path:
        sys.path.append(str(TRAINING))
    return import_module(name)


def typed(name: str, words: tuple[str, ...]) -> None:
    """`python training/NAME.py …`, in a process of its own."""
    sys.exit(script(name).main(words))
