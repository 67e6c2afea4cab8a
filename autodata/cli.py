"""The command line. Commands load when they are called, so that `--help` answers at once."""

from importlib import import_module

import click

# Command → what `autodata --help` says about it; each lives in autodata/commands/.
COMMANDS = {
    "demo": "See the loop at work on the demo documents; no key, no network.",
    "run": "Make examples from your documents.",
    "resume": "Go on with a run that was paused, interrupted or killed.",
    "status": "How a run stands: documents, scores, calls, cost.",
    "show": "Read what happened: all documents of a run, or the story of one.",
    "export": "Write the accepted examples to a file for training.",
    "redecide": "Decide a run's recorded scores by other thresholds; asks no model.",
    "optimize": "Let an agent improve the prompts, and keep the edits that help.",
    "report": "Write what an optimization found as a page to read in a browser.",
    "prompts": "The store of prompts: its history, its champions, adopting one.",
    "doctor": "Check configuration, endpoints, keys and models before a run.",
}


class Commands(click.Group):
    """Finds a command's module by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"autodata.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # while the command loads; `autodata.exits` sees to it later
            ctx.exit(130)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `autodata demo`. Each command has its own --help with examples.",
)
@click.version_option(package_name="autodata-loop")
def main() -> None:
    """Agents that write training examples of the right difficulty from your documents.

    \b
    Exit codes: 0 done, 1 finished with a failure to look at, 2 wrong use,
    3 paused (endpoint down or budget reached), 130 interrupted; 3 and 130 resume.
    """
