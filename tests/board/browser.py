"""A real browser without a window, whose keys are pressed and whose pages are read."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 30.0  # seconds within which the browser answers, on a busy machine, too
LISTENING = "DevTools listening on "
SPECIAL = {"Enter": ("\r", 13), "Escape": ("", 27), "Tab": ("", 9)}


class Page:
    """One page of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._asked = socket, 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, address: str) -> None:
        """Goes there, and waits until the page is loaded and its scripts have run."""
        self._ask("Page.navigate", url=address)
        self._until("Page.loadEventFired")

    def press(self, key: str, *, leads_on: bool = False) -> None:
        """Presses a key; where it `leads_on`, waits for the page that comes of it."""
        text, code = SPECIAL.get(key, (key, ord(key.upper()) if len(key) == 1 else 0))
        how = {"key": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self._ask("Input.dispatchKeyEvent", type="keyDown", **how)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
        if leads_on:
            self._until("Page.loadEventFired")

    def write(self, text: str) -> None:
        """Types a text where the cursor is."""
        self._ask("Input.insertText", text=text)

    def tell(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        found = self._ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    @property
    def text(self) -> str:
        """What can be read on the page."""
        said: str = self.tell("document.body.innerText")
        return said

    def look(
        self, width: int, height: int = 900, *, dark: bool = False, phone: bool = False
    ) -> None:
        """Shows pages in a window of so many pixels, in the dark or by day."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self._ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """The window as PNG."""
        found = self._ask("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": params}))
        while (said := self._next()).get("id") != self._asked:
            pass
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result

    def _until(self, event: str) -> None:
        while self._next().get("method") != event:
            pass

    def _next(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self._socket.recv(timeout=PATIENCE))
        if said.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(said["params"]["exceptionDetails"]))
        if said.get("method") == "Log.entryAdded":
            entry = said["params"]["entry"]
            self.problems += [entry["text"]] if entry["level"] == "error" else []
        return said


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page of a browser of its own."""
    assert CHROMIUM
    words = [CHROMIUM, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        while not (line := process.stderr.readline()).startswith(LISTENING):
            assert line, "the browser did not start"
        address = line.removeprefix(LISTENING).strip()
        try:
            with connect(address, max_size=None) as socket:
                socket.send('{"id": 0, "method": "Target.getTargets"}')
                targets = json.loads(socket.recv(timeout=PATIENCE))["result"]["targetInfos"]
            [page] = [target["targetId"] for target in targets if target["type"] == "page"]
            host = address.partition("/devtools/")[0]
            with connect(f"{host}/devtools/page/{page}", max_size=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.stderr.read()
