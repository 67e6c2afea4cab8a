"""How commands end: exit codes, and every expected error as one message without a traceback."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from autodata.documents.corpus import CorpusError
from autodata.ledger.calls import CallLogError
from autodata.ledger.database import LedgerError
from autodata.ledger.export import ExportError
from autodata.models.errors import Paused, UnknownPrice, UnknownRole
from autodata.prompt_store.git import StoreError
from autodata.prompt_store.prompt import PromptError
from autodata.run_folder import RunFolderError
from autodata.settings import SettingsError

DONE = 0
FAILED = 1  # finished, with a failure that the user must see
WRONG_USE = 2
PAUSED = 3  # an endpoint is down or a budget reached; resumable
INTERRUPTED = 130  # by Ctrl-C; resumable

USER_ERRORS = (
    CallLogError,
    CorpusError,
    ExportError,
    LedgerError,
    PromptError,
    RunFolderError,
    SettingsError,
    StoreError,
    UnknownPrice,
    UnknownRole,
)

P = ParamSpec("P")


def exits(command: Callable[P, int | None]) -> Callable[P, None]:
    """A command that ends with the exit code it returns, and with one message at a user's error."""

    @wraps(command)
    def ending(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except USER_ERRORS as error:
            _say(error)
            code = WRONG_USE
        except OSError as error:
            _say(f"{error.filename or 'the system'}: {error.strerror or error}")
            code = WRONG_USE
        except Paused as pause:
            _say(pause)
            code = PAUSED
        except KeyboardInterrupt:
            _say("stopped")
            code = INTERRUPTED
        sys.exit(code or DONE)

    return ending


def _say(error: object) -> None:
    print(f"autodata: {error}", file=sys.stderr)
