"""The controls of the pretended V4L2 device in fake_v4l2.py, as the kernel answers about them."""

from __future__ import annotations

import errno
import os
from typing import Any

from linuxpy.video import device as v4l2

_AUTOMATIC = "White Balance, Automatic"


class Knob:
    """A control of the pretended camera."""

    def __init__(self, name: str, kind: str, value: int, low: int, high: int, **more: Any) -> None:
        """`more`: `step`, to which values are rounded; `menu`, by number; `ruled_by`, a (name, value) that idles it."""
        self.name, self.kind, self.value, self.default, self.low, self.high = name, kind, value, value, low, high
        self.step: int = more.get("step", 1)
        self.menu: dict[int, str] = more.get("menu", {})
        self.ruled_by: tuple[str, int] | None = more.get("ruled_by")
        self.flags: int = more.get("flags", 0)


def knobs() -> list[Knob]:
    """Return what a usual USB camera has."""
    return [
        Knob("Brightness", "INTEGER", 0, -64, 64),
        Knob(_AUTOMATIC, "BOOLEAN", 1, 0, 1),
        Knob("White Balance Temperature", "INTEGER", 4600, 2800, 6500, step=10, ruled_by=(_AUTOMATIC, 1)),
        Knob("Auto Exposure", "MENU", 3, 0, 3, menu={1: "Manual Mode", 3: "Aperture Priority Mode"}),
        Knob("Exposure Time, Absolute", "INTEGER", 157, 3, 2047, ruled_by=("Auto Exposure", 3)),
        Knob("Camera Name", "INTEGER", 7, 0, 9, flags=int(v4l2.ControlFlag.READ_ONLY)),
    ]


class Knobs:
    """What has such controls."""

    def __init__(self) -> None:
        self.knobs = knobs()

    def _query_ext_ctrl(self, info: Any, _: int) -> None:
        behind = info.id & ~int(v4l2.ControlFlag.NEXT_CTRL | v4l2.ControlFlag.NEXT_COMPOUND)
        number = behind - _FIRST + 1 if behind else 0
        within(number, self.knobs)
        knob = self.knobs[number]
        info.id, info.type, info.name = _FIRST + number, v4l2.ControlType[knob.kind], knob.name.encode()
        info.minimum, info.maximum, info.step, info.default_value = knob.low, knob.high, knob.step, knob.default
        info.flags = knob.flags | (v4l2.ControlFlag.INACTIVE if self._is_idle(knob) else 0)

    def _is_idle(self, knob: Knob) -> bool:
        return knob.ruled_by is not None and any((each.name, each.value) == knob.ruled_by for each in self.knobs)

    def _querymenu(self, item: Any, _: int) -> None:
        menu = self.knobs[item.id - _FIRST].menu
        if item.index not in menu:
            refuse(errno.EINVAL)
        item.name = menu[item.index].encode()

    def _g_ext_ctrls(self, asked: Any, _: int) -> None:
        for each in asked.controls[: asked.count]:
            asked.controls[0].value = self.knobs[each.id - _FIRST].value

    def _s_ext_ctrls(self, asked: Any, _: int) -> None:
        knob, value = self.knobs[asked.controls[0].id - _FIRST], asked.controls[0].value
        if self._is_idle(knob):
            refuse(errno.EACCES)  # As uvcvideo does.
        knob.value = knob.low + round((value - knob.low) / knob.step) * knob.step


_FIRST = 0x00980900
"""V4L2_CID_BASE."""


def within(index: int, items: Any) -> None:
    """Refuse a number beyond the last item, as the end of a list is told."""
    if index >= len(items):
        refuse(errno.EINVAL)


def refuse(number: int) -> None:
    """Answer with an error's number."""
    raise OSError(number, os.strerror(number))
