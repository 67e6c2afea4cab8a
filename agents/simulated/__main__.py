"""`python -m agents.simulated`: serve the simulated models over HTTP until interrupted."""

import asyncio
import contextlib
import sys

import click

from agents.simulated.server import NotLoopback, Server, serve


@click.command()
@click.option("--port", default=8900, show_default=True, help="Port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--latency", default=0.0, show_default=True, help="Seconds per completion.")
@click.option("--key", help="API key to demand; any other gets a 401.")
@click.option("--seed", type=int, help="Seed for requests that bring none.")
def main(port: int, host: str, latency: float, key: str | None, seed: int | None) -> None:
    """Serve the simulated models behind an OpenAI-compatible API, on this machine only."""
    server = Server(latency=latency, key=key, seed=seed)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_serve(server, host, port))
        except (NotLoopback, OSError) as error:
            raise click.ClickException(str(error)) from error


async def _serve(server: Server, host: str, port: int) -> None:
    async with serve(server, host, port):
        click.echo(f"simulated models at {server.base_url} (Ctrl-C stops)")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
