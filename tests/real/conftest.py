"""A real small model behind llama.cpp's own server, in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

SLOTS, CONTEXT = 2, 2048


@pytest.fixture(scope="session")
def real() -> Iterator[str]:
    """The base URL of a server with two slots of 2,048 tokens each."""
    words = ("--port", "0", "--slots", f"{SLOTS}", "--context", f"{CONTEXT}", "--yes")
    command = (sys.executable, "-m", "autodata", "models", "serve", *words)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        while not (found := re.search(r"answers at (\S+);", said)):
            line = process.stdout.readline()
            assert line, f"the server did not start: {said}"
            said += line
        yield found[1]
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
