"""autodata remeasure: how hard accepted examples are, on attempts that the gate has not seen."""

from collections.abc import Sequence
from pathlib import Path

from autodata.ledger.ledger import Ledger
from autodata.ledger.measurements import accepted
from autodata.ledger.rows import RunRow
from autodata.remeasurement import RemeasureSession
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import Screen, screen
from autodata.settings import ASKING, Override, Settings, SettingsError, read, read_over

MAY_SET = (*(f"{section}." for section in ASKING), "run.batch", "run.documents_in_flight")


def remeasure(
    run: Path,
    attempts: int | None,
    each: bool,
    as_json: bool,
    config: Path | None,
    wait: bool,
    run_id: str | None,
    overrides: Sequence[Override],
) -> int:
    """Asks for the fresh attempts that are lacking, and tells what they show."""
    for override in overrides:
        if not override.key.startswith(MAY_SET):
            raise SettingsError(
                f"{override.source}: thresholds and all else stay the run's; remeasure takes "
                f"keys of {', '.join(ASKING)}"
            )
    folder = RunFolder(run).existing()
    with Ledger.open(folder.path, create=False) as ledger:
        row = ledger.run(run_id)
        if row.kind != "documents":
            raise RunFolderError(f"{row.id} is no run over documents: no examples are its own")
        examples = accepted(ledger, row.id)
    own, asked = _settings(folder, row, config, overrides)
    if not examples:
        raise RunFolderError(f"run {row.id} has no accepted example that could be measured")
    console = Screen(stderr=True) if as_json else screen()
    return RemeasureSession(
        folder, asked, console, wait, run=row, own=own, attempts=attempts, each=each,
        as_json=as_json,
    ).measure()  # fmt: skip


def _settings(
    folder: RunFolder, run: RunRow, config: Path | None, overrides: Sequence[Override]
) -> tuple[Settings, Settings]:
    """The settings of the run, and those with which its examples are measured.

    What shaped the examples stands in the run's row; where models are reached and what may be spent
    may have changed since, and stands in the folder's configuration.
    """
    known = {name: value for name, value in run.config.items() if name in Settings.model_fields}
    now = folder.settings(run).plain()
    known |= {section: now.get(section, {}) for section in ("endpoints", "prices", "budget")}
    source = f"the record of {folder.path}"
    own = read(known, source)
    others = config or any(override.key.startswith("models.") for override in overrides)
    if others and not known.get("models"):  # simulated: each role as the run names it
        named = ((role, name.partition("/")) for role, name in run.models.items())
        known["models"] = {role: {"endpoint": at[0], "model": at[2]} for role, at in named}
    return own, read_over(known, source, config, overrides)
