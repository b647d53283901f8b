"""A real browser without a window, driven through its debugging pipe (Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60.0


class Browser:
    """One page in a headless browser."""

    def __init__(self, read: IO[bytes], write: IO[bytes]) -> None:
        """`read` and `write` are ends of its pipe."""
        self.complaints: list[str] = []
        """What the page's console and the browser itself had to object to."""
        self._read, self._write = read, write
        self._numbers = iter(range(1, 1 << 30))
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Have the browser do something and return what it answers."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._write.write(json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str, *, width: int = 1400, height: int = 1000, dark: bool = False) -> None:
        """Show a page, and return once its script ran."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Page.navigate", url=url)
        self.wait(f"location.href === {url!r} && document.readyState === 'complete'")

    def value(self, script: str) -> Any:
        """Return what an expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, enough: Callable[[Any], object] = bool) -> Any:
        """Return an expression's value once it is enough."""
        deadline = time.monotonic() + SECONDS
        while not enough(found := self.value(script)):
            assert time.monotonic() < deadline, (script, found, self.complaints)
            time.sleep(0.05)
        return found

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the mouse between two places of the window."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        steps = [("mouseMoved", start), ("mousePressed", start), ("mouseMoved", middle), ("mouseMoved", end)]
        for kind, (x, y) in [*steps, ("mouseReleased", end)]:
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """Keep a picture of what the window shows."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _receive(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "the browser ended"
            data += byte
        message: dict[str, Any] = json.loads(data)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(params["exceptionDetails"].get("exception", params).get("description", "?"))
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(params["args"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run a browser with its profile in a folder; skips where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no browser is installed: apt-get install chromium")
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    # The browser expects the pipe at 3 and 4.
    plugged = f'exec "$@" 3<&{their_in} 4>&{their_out}'
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
    command = ["bash", "-c", plugged, "bash", program, *options, f"--user-data-dir={folder / 'browser'}"]
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(their_in, their_out)
        )
    os.close(their_in)
    os.close(their_out)
    try:
        with os.fdopen(our_in, "rb") as read, os.fdopen(our_out, "wb", 0) as write:
            yield Browser(read, write)
    finally:
        process.kill()
        process.wait(10)
