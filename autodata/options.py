"""Options that several commands share, and what they mean for the configuration."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from autodata.settings import Override

F = TypeVar("F", bound=Callable[..., Any])

# Flag → the configuration key that it sets.
KEYS: Mapping[str, str] = {
    "task": "run.task",
    "target": "run.target",
    "per_document": "run.per_document",
    "rounds": "run.rounds",
    "preset": "acceptance.preset",
    "prompts": "prompts.revision",
    "budget_usd": "budget.usd",
    "budget_calls": "budget.calls",
    "budget_tokens": "budget.tokens",
}

run_folder = click.argument("run", type=click.Path(path_type=Path))
config_file = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration; ./autodata.yaml if there is one.",
)
settings = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, such as run.rounds=6; the value is YAML. Repeatable.",
)
preset = click.option("--preset", metavar="paper|deployed", help="Thresholds to accept by.")
wait = click.option(
    "--wait", is_flag=True, help="Wait for an endpoint that is down instead of pausing."
)


def budgets(command: F) -> F:
    """--budget-usd, --budget-calls, --budget-tokens."""
    for name, kind, what in (
        ("tokens", int, "Tokens, in and out, that"),
        ("calls", int, "Calls that"),
        ("usd", float, "US dollars that"),
    ):
        command = click.option(
            f"--budget-{name}", type=kind, metavar="N", help=f"{what} the run may use in all."
        )(command)
    return command


def overrides(flags: Mapping[str, Any], sets: tuple[str, ...]) -> list[Override]:
    """What the flags say, then what `--set` says. Raises SettingsError."""
    said = [
        Override(KEYS[name], value, f"--{name.replace('_', '-')} {value}")
        for name, value in flags.items()
        if value is not None
    ]
    return said + [Override.parse(text) for text in sets]
