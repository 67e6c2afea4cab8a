"""CPU-milliseconds per call and calls per second, beside the libraries that people would use else.

    python benchmarks/calls.py --peers ~/.cache/autodata-peers

Everybody asks the same server for the same (50 ms) and is measured in a process of its own, by
itself, in turn; medians over the rounds. `benchmarks/peers.sh FOLDER` installs the peers; those
that are not there are left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import report

HERE = Path(__file__).parent
LATENCY = 0.05  # seconds per answer
CONTESTANT_SECONDS = 600.0  # seconds until a contestant is given up
OURS = "autodata, all-in"
REFERENCE = "ChatOpenAI"


@dataclass(frozen=True)
class Contestant:
    """Who is measured: `peer` names the environment under --peers, ours when empty."""

    name: str
    script: str
    peer: str = ""

    def python(self, peers: Path | None) -> Path | None:
        """The interpreter that has the library; None when it is not installed."""
        if not self.peer:
            return Path(sys.executable)
        found = peers / self.peer / "bin" / "python" if peers else None
        return found if found and found.exists() else None


CONTESTANTS = (
    Contestant("raw aiohttp (the floor)", "raw_aiohttp"),
    Contestant("autodata, call layer", "autodata_calls"),
    Contestant(OURS, "autodata_loop"),
    Contestant("AsyncOpenAI", "async_openai"),
    Contestant(REFERENCE, "chat_openai"),
    Contestant("bespokelabs-curator", "with_curator", "bespokelabs-curator"),
    Contestant("data-designer", "with_data_designer", "data-designer"),
    Contestant("distilabel", "with_distilabel", "distilabel"),
    Contestant("autosynth, all-in", "with_autosynth", "autosynth"),
)
SLOW = {"with_autosynth": 4}  # makes a quarter of the calls: ten a second is all it does
PEERS = ("bespokelabs-curator", "data-designer", "distilabel", "autosynth, all-in")


@contextmanager
def endpoint(latency: float = LATENCY, capacity: int | None = None) -> Iterator[str]:
    """A running server's address; `latency` in seconds."""
    command = [sys.executable, str(HERE / "server.py"), "--latency", str(latency)]
    command += ["--capacity", str(capacity)] if capacity else []
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as server:
        assert server.stdin
        assert server.stdout
        yield server.stdout.readline().strip()
        server.stdin.close()


def once(python: Path, script: str, calls: int, concurrency: int) -> dict[str, Any]:
    """One contestant's own figures, or {"problem": …}."""
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    with endpoint() as url:
        command = [python, HERE / "contestants" / f"{script}.py", url, calls, concurrency]
        try:
            ended = subprocess.run(
                [str(part) for part in command],
                env=env,
                capture_output=True,
                text=True,
                timeout=CONTESTANT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {"problem": f"not done after {CONTESTANT_SECONDS:.0f} s"}
    if ended.returncode:
        return {"problem": (ended.stderr.strip().splitlines() or ["no word"])[-1]}
    return json.loads(ended.stdout)


def summary(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per contestant: medians of its runs, ratios to the others."""
    good = {name: [r for r in found if "problem" not in r] for name, found in runs.items()}
    cpu = {
        name: statistics.median(r["cpu_ms_per_call"] for r in found)
        for name, found in good.items()
        if found
    }
    rows = []
    for name, found in good.items():
        if not found:
            problem = runs[name][0]["problem"]
            rows.append({"client": name, "CPU ms/call": problem, **dict.fromkeys(COLUMNS, "")})
            continue
        middle = {key: statistics.median(r[key] for r in found) for key in found[0]}
        values = (
            cpu[name] / cpu[REFERENCE] if REFERENCE in cpu else "",
            min(r["cpu_ms_per_call"] for r in found),
            max(r["cpu_ms_per_call"] for r in found),
            middle["calls_per_s"],
            middle["prompt_bytes"] / 1024,
            middle["peak_mb"],
        )
        rows.append(
            {"client": name, "CPU ms/call": cpu[name], **dict(zip(COLUMNS, values, strict=True))}
        )
    return rows


COLUMNS = (f"of {REFERENCE}", "min", "max", "calls/s", "KB asked", "peak MB")


def main() -> None:
    """Measures everybody at each concurrency."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="folder that peers.sh filled")
    parser.add_argument("--calls", type=int, default=3200, help="of the large run")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved repetitions")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--only", nargs="+", help="contestants' scripts, by default all")
    given = parser.parse_args()
    taking_part = [c for c in CONTESTANTS if not given.only or c.script in given.only]
    for concurrency in given.concurrency:
        runs: dict[str, list[dict[str, Any]]] = {c.name: [] for c in taking_part}
        for _ in range(given.rounds):
            for c in taking_part:
                python = c.python(given.peers)
                calls = given.calls // SLOW.get(c.script, 1)
                missing = {"problem": "not installed (benchmarks/peers.sh)"}
                found = once(python, c.script, calls, concurrency) if python else missing
                runs[c.name].append(found)
        report(
            f"calls-{concurrency}",
            f"{concurrency} at once, {LATENCY * 1000:.0f} ms per answer",
            summary(runs),
            runs=runs,
        )


if __name__ == "__main__":
    main()
