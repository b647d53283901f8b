"""Which settings are tried, and what is measured of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge import runtime
from edge.accelerator import coral
from edge.contract.bundle import EDGE_TPU_MODEL
from edge.record import Record
from edge.regions import places
from edge.sections.cameras import PicameraConfig
from edge.sections.runtime import Runtime
from edge.sysfs import matching
from edge.tune.choice import Setting
from edge.tune.task import Task

if TYPE_CHECKING:
    from edge.config import Config
    from edge.contract.bundle import Bundle

_MOST_THREADS = 8
"""No device that this is for has more cores."""
_SIZE = (720, 1280)
"""Height and width of a frame, where no camera says."""


class Plan(Record, frozen=True, kw_only=True):
    """What to tune for."""

    bundle: Path
    config: Config | None
    state: str
    """A folder for what is remembered between two processes."""

    @property
    def base(self) -> Runtime:
        """What [runtime] says now."""
        return self.config.runtime if self.config else Runtime()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames that are judged, in pixels."""
        camera = self.config.camera if self.config else None
        if isinstance(camera, PicameraConfig) and camera.lores_width:
            width, height = camera.lores_size
            return height, width
        return getattr(camera, "height", _SIZE[0]), getattr(camera, "width", _SIZE[1])

    def task(self, setting: Setting, seconds: float) -> Task:
        """Return what a process is to measure."""
        areas = [place.area for place in places(self.config.regions if self.config else ())]
        return Task(
            bundle=str(self.bundle),
            trusted_keys=self.config.trusted_keys if self.config else (),
            runtime=applied(self.base, setting),
            size=self.size,
            rotate=self.config.camera.rotate if self.config else 0,
            areas=tuple((area.x, area.y, area.width, area.height) for area in areas),
            seconds=seconds,
            state=self.state,
        )


def applied(base: Runtime, setting: Setting) -> Runtime:
    """Return [runtime] with a setting in it."""
    return msgspec.structs.replace(
        base, engine=setting.engine, threads=setting.threads, accelerator=setting.accelerator
    )


def settings(bundle: Bundle, base: Runtime, root: Path = Path("/")) -> list[Setting]:
    """Return what there is to try: each engine that is installed, with each number of threads, and with an Edge TPU.

    The one that is configured, or that is there, where the bundle has a model for it.
    """
    cores = range(1, min(len(os.sched_getaffinity(0)), _MOST_THREADS) + 1)
    engines = runtime.installed()
    found = [Setting(engine=engine, threads=threads) for engine in engines for threads in cores]
    there = base.accelerator == "edgetpu" or coral.folders(root) or matching(root, "sys/class/apex/apex_*")
    if there and EDGE_TPU_MODEL in bundle.files:
        found += [Setting(engine=engine, threads=1, accelerator="edgetpu") for engine in engines]
    return found
