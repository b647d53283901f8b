"""A pretended USB camera within the real daemon's process, driven from the test's."""

from __future__ import annotations

import os
import socket
import threading
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from remote import tell

_ADDRESS, _DEVICE = "REMOTE_WEBCAM", "REMOTE_WEBCAM_DEVICE"
_START = "import remote_webcam\nremote_webcam.serve()\n"
_WIDTH, _HEIGHT = 160, 128


class RemoteWebcam:
    """What a test does to the camera of the daemon that gets this environment."""

    def __init__(self, folder: Path) -> None:
        """Have the kernel below that daemon's linuxpy pretended."""
        self._address = folder / "webcam"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(_START)
        here = str(Path(__file__).parent)
        path = os.pathsep.join([str(folder / "site"), here, *filter(None, [os.environ.get("PYTHONPATH")])])
        device = str(folder / "video0")
        self.environment = {"PYTHONPATH": path, _ADDRESS: str(self._address), _DEVICE: device}
        self.camera = {"kind": "v4l2", "device": device, "width": _WIDTH, "height": _HEIGHT, "timeout_s": 1.0}

    def do(self, verb: str) -> None:
        """Do something to it, by the name of Webcam's method or one of Behaviour's; returns when it is done."""
        tell(self._address, verb)


class Behaviour:
    """What the camera does of its own."""

    def __init__(self) -> None:
        self.is_silent = self.is_damaged = False

    def hush(self) -> None:
        """Stop to take pictures, without a word."""
        self.is_silent = True

    def damage(self) -> None:
        """Lose the second half of each picture on the way."""
        self.is_damaged = True

    def mend(self) -> None:
        """Take whole pictures again."""
        self.is_silent = self.is_damaged = False


def serve() -> None:
    """Pretend the camera, have it take pictures, and let a test drive it; does nothing in other processes."""
    address = os.environ.get(_ADDRESS)
    if not address or Path(address).exists():  # A child of the daemon's sees no camera.
        return
    from fake_v4l2 import Webcam

    webcam, behaviour = Webcam(Path(os.environ[_DEVICE])), Behaviour()
    webcam.formats, webcam.sizes = ["MJPEG"], [(_WIDTH, _HEIGHT)]
    webcam.install(SimpleNamespace(setattr=setattr))
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(address)
    server.listen()
    threading.Thread(target=_listen, args=(webcam, behaviour, server), daemon=True).start()
    threading.Thread(target=_expose, args=(webcam, behaviour), daemon=True).start()


def _listen(webcam: object, behaviour: Behaviour, server: socket.socket) -> None:
    while True:
        link, _ = server.accept()
        with link:
            verb = link.recv(100).decode()
            getattr(behaviour if hasattr(behaviour, verb) else webcam, verb)()
            link.sendall(b"done")


def _expose(webcam: object, behaviour: Behaviour) -> None:
    """Take a picture of a part now and then; no two are equal, as with a real sensor."""
    from PIL import Image

    from edge.synthetic import render

    dice = np.random.default_rng(1)
    part = np.asarray(render(1, 0, height=_HEIGHT, width=_WIDTH).pixels).astype(np.int16)
    pace = threading.Event()
    while not pace.wait(0.05):
        seen = np.clip(part + dice.integers(-2, 3, part.shape), 0, 255).astype(np.uint8)
        file = BytesIO()
        Image.fromarray(seen).save(file, "JPEG", quality=95)
        data = file.getvalue()
        if not behaviour.is_silent:
            webcam.expose(data[: len(data) // 2] if behaviour.is_damaged else data)  # type: ignore[attr-defined]
