"""Measures a client from inside its own process: CPU time and wall time per call.

Each contestant calls `measure` with a function that makes about so many calls. It runs three times,
once to warm up, then small, then large, and the difference of the last two is what counts: imports
and whatever a run costs once, such as worker processes, are left out for everybody. Nothing but the
standard library.
"""

import json
import os
import resource
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for workload.py; last, it shadows none

QUIET = {  # no telemetry, no look-ups outside this machine
    "ANONYMIZED_TELEMETRY": "False",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NEMO_TELEMETRY_ENABLED": "false",
    "NO_PROXY": "127.0.0.1",
    "OPENAI_API_KEY": "none",
    "TELEMETRY_ENABLED": "0",
}
SMALL = 4  # the small run makes a quarter of the calls

Run = Callable[[str, int, int, Path], None]


def measure(run: Run) -> None:
    """Runs `run(url, calls, concurrency, folder)` and prints what a call takes as JSON.

    The arguments come from the command line: URL CALLS CONCURRENCY.
    """
    os.environ.update(QUIET)
    url, calls, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    shown = os.dup(1)
    os.dup2(2, 1)  # what libraries print does not belong to the result
    found = []
    for number in (calls // SMALL, calls // SMALL, calls):
        with tempfile.TemporaryDirectory() as folder:
            before, start = _used(url), time.perf_counter()
            run(url, number, concurrency, Path(folder))
            seconds, after = time.perf_counter() - start, _used(url)
        found.append({"seconds": seconds, **{k: after[k] - before[k] for k in before}})
    _, small, large = found
    gain = {name: large[name] - small[name] for name in large}
    made = gain["calls"]
    result = {
        "calls": made,
        "cpu_ms_per_call": 1000 * gain["cpu"] / made,
        "calls_per_s": made / gain["seconds"],
        "prompt_bytes": large["asked_bytes"] / large["calls"],
        "reply_bytes": large["said_bytes"] / large["calls"],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    os.write(shown, json.dumps(result).encode())


def _used(url: str) -> dict[str, float]:
    """CPU seconds of this process and its ended children, and what the server counted."""
    with urllib.request.urlopen(f"{url}/stats") as answer:
        stats = json.load(answer)
    spent = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(s.ru_utime + s.ru_stime for s in spent)
    return {"cpu": cpu, **{name: stats[name] for name in ("calls", "asked_bytes", "said_bytes")}}
