"""Pretended hardware at the boundary of foreign packages: real behaviour, driven by physical verbs."""

from __future__ import annotations

import threading
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from fake_picamera2 import FakeMappedArray, FakePicamera2

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels


class Platform(Enum):
    """picamera2's: the chip that processes the pictures."""

    VC4 = 0
    PISP = 1


class PiCameras:
    """The cameras of a pretended Raspberry Pi; `module()` is its picamera2."""

    def __init__(
        self,
        count: int = 1,
        *,
        padding: int = 0,
        largest: tuple[int, int] = (4608, 2592),
        is_pi_5: bool = True,
        model: str = "imx708",
    ) -> None:
        """`padding` is the stride's surplus in bytes, even; larger sizes than `largest` are adjusted to it."""
        self.is_pi_5 = is_pi_5
        self.model = model
        self.lens = model == "imx708"
        """Whether its lens moves."""
        self.has_hdr_tuning = True
        """Whether the tuning file of its sensor has HDR: without, libcamera only logs that it was asked for."""
        self.sensor_hdr = False
        self.sensor_hdr_works = True
        self.fault: Exception | None = None
        """What the driver throws at the next frame."""
        self.tells: dict[str, Any] = {}
        """What it tells of each frame instead of the truth."""
        self.count = count
        self.padding = padding
        self.largest = largest
        self.memory = 2**29
        """Bytes for pictures: a Raspberry Pi 4's, at most."""
        self.scene: Pixels = np.zeros((2, 2, 3), np.uint8)
        self.released = 0
        self.closed = 0
        self.in_use = False
        self.memory_is_others = False
        """Whether this user may not have the memory that pictures are taken into."""
        self.connected = True
        self.frozen = self.covered = False
        """Whether the sensor gives the same picture again and again, or sees nothing: for who shows its pictures."""
        self.stopping = threading.Event()
        self._stop_works = threading.Event()
        self._stop_works.set()
        self._cameras: list[FakePicamera2] = []

    def show(self, scene: Pixels) -> None:
        """Hold a picture, RGB [height, width, 3], in front of the cameras; it fills the frame from the top left."""
        self.scene = scene

    def unplug(self) -> None:
        """Pull the ribbon cable: frames stop without a word."""
        self.connected = False

    def plug(self) -> None:
        """Put the cable back: waiting jobs get their frames."""
        self.connected = True
        for camera in self._cameras:
            camera._deliver()

    def freeze(self) -> None:
        """Have the sensor repeat itself, as after a glitch of its supply."""
        self.frozen = True

    def thaw(self) -> None:
        """Have it see again."""
        self.frozen = False

    def cover(self) -> None:
        """Put the lens cap on."""
        self.covered = True

    def uncover(self) -> None:
        """Take it off."""
        self.covered = False

    def slip(self) -> None:
        """Have the running camera lose what was fixed of it: its own automatic has it again, until the next start."""
        for camera in self._cameras:
            camera._forget_controls()

    def halve(self) -> None:
        """Have another mode come over the running camera: half the size."""
        for camera in self._cameras:
            camera._halve()

    def break_down(self) -> None:
        """Have the driver fail at every frame, as when the bus to the sensor is disturbed."""
        self.fault = OSError(5, "Input/output error")

    def mend(self) -> None:
        """Have it work again."""
        self.fault = None

    def shrink(self) -> None:
        """Have the sensor know small pictures only, as in another mode, for whoever opens it from now on."""
        self.largest = (64, 48)

    def grow(self) -> None:
        """Have it know large ones again."""
        self.largest = (4608, 2592)

    def add(self) -> None:
        """Connect one more camera."""
        self.count += 1

    def jam(self) -> None:
        """From now on stopping the camera blocks, as after a crash of its driver."""
        self._stop_works.clear()

    def free(self) -> None:
        """Let a blocked stop return."""
        self._stop_works.set()

    def module(self) -> ModuleType:
        """Return a module to stand in sys.modules as picamera2."""
        return self.modules()["picamera2"]

    def modules(self) -> dict[str, ModuleType]:
        """Return what is to stand in sys.modules, with the access to a sensor's own HDR too."""
        pi = self

        class Picamera2(FakePicamera2):
            platform = Platform.PISP if pi.is_pi_5 else Platform.VC4

            def __init__(self, camera_num: int = 0) -> None:
                super().__init__(pi, camera_num)

            @staticmethod
            def global_camera_info() -> list[dict[str, Any]]:
                """By their Ids, backwards: a camera's place, by which it is opened, need not be its libcamera's Num."""
                numbers = reversed(range(pi.count))
                return [{"Model": pi.model, "Num": number, "Id": f"/base/i2c@{number}"} for number in numbers]

        class IMX708:
            def __init__(self, camera_num: int | None = None) -> None:
                if any(camera.is_open for camera in pi._cameras):
                    raise RuntimeError(f"IMX708: camera {camera_num} is open")

            def set_sensor_hdr_mode(self, enable: bool) -> None:  # noqa: FBT001 - picamera2's
                pi.sensor_hdr = enable if pi.sensor_hdr_works else pi.sensor_hdr

            def close(self) -> None:
                """Nothing is held."""

        names = ("picamera2", "picamera2.devices", "picamera2.devices.imx708")
        top, devices, imx708 = modules = [ModuleType(name) for name in names]
        vars(top).update(
            Picamera2=Picamera2,
            MappedArray=FakeMappedArray,
            Platform=Platform,
            libcamera=SimpleNamespace(ColorSpace=SimpleNamespace(Sycc=lambda: "sYCC")),
            devices=devices,
        )
        vars(devices).update(imx708=imx708)
        vars(imx708).update(IMX708=IMX708)
        return dict(zip(names, modules, strict=True))
