"""The door: commands parse, call and print, and Python calls `run`, `open` and their like.

Importing loads nothing else: a name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autodata.api import Run as Run
    from autodata.api import RunOptions as RunOptions
    from autodata.api import aresume as aresume
    from autodata.api import arun as arun
    from autodata.api import open as open
    from autodata.api import open_graph as open_graph
    from autodata.api import resume as resume
    from autodata.api import run as run
    from autodata.documents.corpus import CorpusError as CorpusError
    from autodata.documents.corpus import Skipped as Skipped
    from autodata.ledger.database import LedgerError as LedgerError
    from autodata.ledger.filters import ExportError as ExportError
    from autodata.ledger.rows import Example as Example
    from autodata.ledger.rows import Outcome as Outcome
    from autodata.ledger.summary import Summary as Summary
    from autodata.models.errors import BudgetReached as BudgetReached
    from autodata.models.errors import EndpointDown as EndpointDown
    from autodata.models.errors import Interrupted as Interrupted
    from autodata.models.errors import ModelMissing as ModelMissing
    from autodata.models.errors import Paused as Paused
    from autodata.models.errors import ReviewsWait as ReviewsWait
    from autodata.models.errors import Unauthorized as Unauthorized
    from autodata.models.errors import UnknownPrice as UnknownPrice
    from autodata.models.errors import UnknownRole as UnknownRole
    from autodata.prompt_store.prompt import PromptError as PromptError
    from autodata.prompt_store.store import StoreError as StoreError
    from autodata.rewards import RewardError as RewardError
    from autodata.run_folder import RunFolderError as RunFolderError
    from autodata.settings import SettingsError as SettingsError
    from autodata.tasks.task import TaskError as TaskError
    from autodata.tasks.types import Document as Document

_NAMES = {
    "api": ("Run", "RunOptions", "aresume", "arun", "open", "open_graph", "resume", "run"),
    "documents.corpus": ("CorpusError", "Skipped"),
    "ledger.database": ("LedgerError",),
    "ledger.filters": ("ExportError",),
    "ledger.rows": ("Example", "Outcome"),
    "ledger.summary": ("Summary",),
    "models.errors": (
        *("BudgetReached", "EndpointDown", "Interrupted", "ModelMissing", "Paused"),
        *("ReviewsWait", "Unauthorized", "UnknownPrice", "UnknownRole"),
    ),
    "prompt_store.store": ("StoreError",),
    "prompt_store.prompt": ("PromptError",),
    "rewards": ("RewardError",),
    "run_folder": ("RunFolderError",),
    "settings": ("SettingsError",),
    "tasks.task": ("TaskError",),
    "tasks.types": ("Document",),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_PLACES)


if not TYPE_CHECKING:  # which would find any name there is

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'autodata' has no attribute {name!r}")
        found = getattr(import_module(f"autodata.{_PLACES[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
