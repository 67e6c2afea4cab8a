"""Twenty `kill -9` at random moments of one run, against an endpoint with 20 % mixed faults.

    python benchmarks/kills.py

Every document must end decided once, no example lost or doubled, and no more calls made again than
were in flight at the kills: the endpoint counts what it answered, the call log what it wrote down.
"""

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from results import report

DEMO = Path(__file__).parents[1] / "autodata" / "demo" / "cs"
FAULTS = {
    "rates": {
        "rate_limited": 0.04,
        "unavailable": 0.03,
        "error": 0.03,
        "reset": 0.03,
        "truncated_body": 0.02,
        "wrong_json": 0.02,
        "empty": 0.02,
        "length": 0.01,
    },
    "latency": {"median": 0.15, "sigma": 0.5},
    "retry_after": 0.05,
}
CONFIG = """
endpoints: {{sim: {{base_url: {url}, max_concurrency: 16, backoff: 0.05}}}}
models:
  challenger: {{endpoint: sim, model: simulated}}
  weak_solver: {{endpoint: sim, model: simulated-weak}}
  strong_solver: {{endpoint: sim, model: simulated-strong}}
run: {{seed: 0, documents_in_flight: 8, per_document: 1}}
"""
AUTODATA = [str(Path(sys.executable).parent / "autodata")]
PAUSED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    command = [sys.executable, "-m", "autodata.simulation", "--port", "0"]
    command += ["--faults", json.dumps(FAULTS)]
    with (
        tempfile.TemporaryDirectory() as place,
        subprocess.Popen(command, cwd=DEMO.parents[2], stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout
        url = next(word for word in server.stdout.readline().split() if "://" in word)
        row = trial(Path(place), url, given.kills, random.Random(given.seed))
        server.terminate()
    report("kills", f"{given.kills} kills under 20 % faults", [row])


def trial(folder: Path, url: str, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kills the run so many times, lets it end, and counts."""
    config, run = folder / "autodata.yaml", folder / "run"
    config.write_text(CONFIG.format(url=url))
    begin = [*AUTODATA, "run", str(DEMO), "--task", "cs", "--config", str(config)]
    begin += ["--out", str(run)]
    done = in_flight = 0
    while done < kills:
        before = stats(url)["requests"]
        with subprocess.Popen(begin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as work:
            while stats(url)["requests"] == before and work.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0.0, 0.7))
            if work.poll() is not None:
                break  # it ended before it could be killed
            in_flight += stats(url)["in_flight"]
            work.send_signal(signal.SIGKILL)
            work.wait()
        done += 1
    while (ended := subprocess.run(begin, stdout=subprocess.DEVNULL).returncode) == PAUSED:
        pass
    with sqlite3.connect(run / "run.db") as db:
        final = "decision in ('accepted', 'rejected', 'skipped')"
        decided = db.execute(f"select document_id from rounds where {final}").fetchall()
        accepted = db.execute("select document_id from rounds where decision = 'accepted'")
        examples = db.execute("select document_id from examples").fetchall()
        assert sorted(accepted.fetchall()) == sorted(examples), "an example was lost or doubled"
        doubled = "select count(*) - count(distinct scope || request_key) from calls"
        [[again]] = db.execute(f"{doubled} where status != 'failed'")
        [[written]] = db.execute("select count(*) from calls")
    assert len(decided) == len(set(decided)), "a document was decided twice"
    return {
        "kills": done,
        "exit": ended,
        "documents": len(list(DEMO.iterdir())),
        "decided once": len(decided),
        "examples": len(examples),
        "calls written twice": again,
        "in flight at the kills": in_flight,
        "asked and never written": stats(url)["requests"] - written,
    }


def stats(url: str) -> dict[str, Any]:
    """What the endpoint has counted: `requests` taken, and those `in_flight` just now."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as counted:
        found: dict[str, Any] = json.load(counted)
    return found


if __name__ == "__main__":
    main()
