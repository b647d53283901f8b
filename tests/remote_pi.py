"""A pretended Raspberry Pi's cameras within the real daemon's process, driven from the test's."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fakes import PiCameras
from remote import tell
from saboteur import Saboteur

from edge.synthetic import render

if TYPE_CHECKING:
    from types import ModuleType

    from fake_picamera2 import FakeRequest

    from edge.contract.preprocess import Pixels

_ADDRESS, _SIZE = "REMOTE_PI", "REMOTE_PI_SIZE"
_MODULE = "import remote_pi, sys\nsys.modules[__name__] = remote_pi.serve()\n"


class RemotePi:
    """What a test does to the cameras of the daemon that gets this environment."""

    def __init__(self, folder: Path, size: tuple[int, int] = (160, 128), rate: float = 20.0) -> None:
        """Put a module named picamera2 where only that daemon finds it; `size` is width and height in pixels."""
        width, height = size
        self._address = folder / "pi"
        (folder / "site").mkdir()
        (folder / "site" / "picamera2.py").write_text(_MODULE)
        here = str(Path(__file__).parent)
        path = os.pathsep.join([str(folder / "site"), here, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {"PYTHONPATH": path, _ADDRESS: str(self._address), _SIZE: f"{width} {height}"}
        self.camera = {"kind": "picamera2", "width": width, "height": height, "rate": rate, "timeout_s": 0.5}

    def do(self, verb: str) -> None:
        """Do something, by the name of PiCameras' or Saboteur's method, and words for it; returns when it is done."""
        tell(self._address, verb)


def serve() -> ModuleType:
    """Return the module picamera2, and let a test drive its cameras."""
    pi = PiCameras()
    width, height = map(int, os.environ[_SIZE].split())
    part = np.asarray(render(1, 0, height=height, width=width).pixels)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    Path(os.environ[_ADDRESS]).unlink(missing_ok=True)  # Of a daemon before.
    server.bind(os.environ[_ADDRESS])
    server.listen()
    threading.Thread(target=_listen, args=(pi, server), daemon=True).start()
    module = pi.module()
    module.Picamera2.capture_request = _at_a_rate(pi, part, module.Picamera2.capture_request)
    return module


def _listen(pi: PiCameras, server: socket.socket) -> None:
    saboteur = Saboteur()
    while True:
        link, _ = server.accept()
        with link:
            verb, *words = link.recv(100).decode().split()
            getattr(pi if hasattr(pi, verb) else saboteur, verb)(*words)
            link.sendall(b"done")


def _at_a_rate(pi: PiCameras, part: Pixels, capture: Any) -> Any:
    """Have frames take the time that a real sensor takes, and no two in a row be equal unless it is frozen."""
    lit, dark = _noisy(part), _noisy(np.zeros_like(part))
    shown, due = 0, time.monotonic()

    def paced(camera: Any, wait: float | None = None) -> FakeRequest:
        nonlocal shown, due
        period, _ = camera.camera_config["controls"]["FrameDurationLimits"]
        now = time.monotonic()
        due = max(due + period / 1e6, now)
        time.sleep(due - now)
        shown += not pi.frozen
        pi.show((dark if pi.covered else lit)[shown % len(lit)])
        request: FakeRequest = capture(camera, wait)
        return request

    return paced


def _noisy(pixels: Pixels) -> list[Pixels]:
    """Return a picture with a sensor's noise, several times: made beforehand, for a fake is to cost little."""
    dice = np.random.default_rng(1)
    noise = (dice.integers(-2, 3, pixels.shape, np.int8) for _ in range(8))
    return [np.clip(pixels.astype(np.int16) + each, 0, 255).astype(np.uint8) for each in noise]
