"""`python -m autodata.simulation`: serve the simulated models over HTTP until interrupted."""

import asyncio
import contextlib

import click
from pydantic import ValidationError

from autodata.simulation.server import NotLoopback, Server, serve
from autodata.simulation.transport import Faults, Latency, complaint


@click.command()
@click.option("--port", default=8900, show_default=True, help="Port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--latency", type=float, help="Median seconds per completion.")
@click.option("--key", help="API key to demand; any other gets a 401.")
@click.option("--faults", default="{}", help="What is wrong with the endpoint, as JSON.")
def main(port: int, host: str, latency: float | None, key: str | None, faults: str) -> None:
    """Serve the simulated models behind an OpenAI-compatible API, on this machine only.

    \b
    Examples:
      python -m autodata.simulation --port 8900 --latency 0.05
      python -m autodata.simulation --faults '{"rates": {"rate_limited": 0.1}, "capacity": 32}'
    """
    try:
        declared = Faults.model_validate_json(faults)
        if latency is not None:
            declared = declared.model_copy(update={"latency": Latency(median=latency)})
    except ValidationError as error:
        raise click.UsageError(complaint(error)) from error
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_serve(Server(faults=declared, key=key), host, port))
        except (NotLoopback, OSError) as error:
            raise click.ClickException(str(error)) from error


async def _serve(server: Server, host: str, port: int) -> None:
    async with serve(server, host=host, port=port):
        click.echo(f"simulated models at {server.base_url} (Ctrl-C stops)")
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
