"""The controls of a V4L2 device, such as its exposure time: what there are, and how they are set and held against.

Raises OSError as the kernel answers; whoever opened the device says what that means.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from edge.camera.v4l2_device import linuxpy
from edge.errors import CameraError
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Control(Record, frozen=True, kw_only=True):
    """A setting of a device, and what it may be."""

    name: str
    """As `v4l2-ctl --list-ctrls` names it."""
    value: int | None
    """None: the driver does not tell."""
    default: int
    limits: str
    """For people, such as `3 to 2047` or `1 (Manual Mode), 3 (Aperture Priority Mode)`."""
    note: str
    """Why it cannot be set, or has no effect, now; empty: it can, and has."""
    choices: dict[int, str]
    """What may be chosen, where not every number between the limits may."""
    is_switch: bool
    """Whether it chooses between ways: it is set before the numbers, which may depend on it."""
    info: Any
    """linuxpy's own."""


def controls(device: Any) -> dict[str, Control]:
    """Return what can be set, by name, as it is now."""
    v4l2 = linuxpy()
    plain = ("INTEGER", "BOOLEAN", "MENU", "INTEGER_MENU", "INTEGER64", "BITMASK")
    numbers = {getattr(v4l2.ControlType, name) for name in plain}
    found = (info for info in device.info.controls if info.type in numbers)
    return {each.name: each for each in (_control(device, info) for info in found)}


def _control(device: Any, info: Any) -> Control:
    v4l2 = linuxpy()
    kinds, flag = v4l2.ControlType, v4l2.ControlFlag
    is_menu = info.type in {kinds.MENU, kinds.INTEGER_MENU}
    choices = dict(_menu(device, info)) if is_menu else {}
    if is_menu:
        limits = ", ".join(f"{index} ({name})" for index, name in choices.items())
    elif info.type == kinds.BOOLEAN:
        limits = "false or true"
    else:
        steps = f" in steps of {info.step}" if info.step > 1 else ""
        limits = f"{info.minimum} to {info.maximum}{steps}"
    reasons = {
        flag.DISABLED: "disabled",
        flag.READ_ONLY: "read-only",
        flag.GRABBED: "held by another program",
        flag.WRITE_ONLY: "write-only",
        flag.INACTIVE: "inactive",
    }
    return Control(
        name=variable(info.name.decode(errors="replace")),
        value=None if info.flags & flag.WRITE_ONLY else _value(device, info),
        default=info.default_value,
        limits=limits,
        note=next((words for bit, words in reasons.items() if info.flags & bit), ""),
        choices=choices,
        is_switch=is_menu or info.type == kinds.BOOLEAN,
        info=info,
    )


def variable(name: str) -> str:
    """Return a control's name as v4l2-ctl writes it: `Exposure Time, Absolute` is exposure_time_absolute."""
    words = "".join(char.lower() if char.isascii() and char.isalnum() else " " for char in name).split()
    return "_".join(words)


def _value(device: Any, info: Any) -> int | None:
    try:
        return int(linuxpy().get_controls_values(device, [info])[0])
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise
        return None  # Some drivers do not tell while another control rules this one.


def _menu(device: Any, info: Any) -> Iterator[tuple[int, str]]:
    from linuxpy.ioctl import ioctl

    v4l2 = linuxpy()
    for index in range(info.minimum, info.maximum + 1):
        item = v4l2.raw.v4l2_querymenu(id=info.id, index=index)
        try:
            ioctl(device, v4l2.IOC.QUERYMENU, item)
        except OSError as error:
            if error.errno == errno.EINVAL:
                continue  # A gap, as uvcvideo's auto_exposure has.
            raise
        is_number = info.type == v4l2.ControlType.INTEGER_MENU
        yield index, str(item.value) if is_number else item.name.decode(errors="replace")


def lock(device: Any, wanted: Mapping[str, bool | int]) -> None:
    """Set controls, and read them back; raises CameraError, naming what there is, for one that is not as wanted.

    Switches come first: an exposure time may be set once the exposure is no longer automatic.
    """
    there = controls(device) if wanted else {}
    for name, value in wanted.items():
        if problem := _misfit(there, name, value):
            raise CameraError(f"camera.controls.{name} {_words(value)}: {problem}")
    for name, value in sorted(wanted.items(), key=lambda item: not there[item[0]].is_switch):
        _set(device, there[name], value)
    after = controls(device) if wanted else {}
    for name, value in wanted.items():
        now = after[name]
        if now.value is None:
            raise CameraError(f"camera.controls.{name} {_words(value)}: the camera does not tell what became of it")
        if now.value != value:
            raise CameraError(f"camera.controls.{name} {_words(value)}: the camera makes it {now.value}; write that")
        if now.note:
            rulers = ", ".join(each.name for each in there.values() if each.is_switch and "auto" in each.name)
            raise CameraError(
                f"camera.controls.{name} {_words(value)}: has no effect ({now.note}); "
                f"switch off what rules it, among {rulers or 'the automatic ones'}"
            )


def _misfit(there: Mapping[str, Control], name: str, value: bool | int) -> str:  # noqa: FBT001 - a value
    """Say why a control cannot become that; empty: it can be tried."""
    if name not in there:
        return f"no such control; there are {', '.join(there) or 'none'}"
    control, kinds = there[name], linuxpy().ControlType
    if control.note and control.note != "inactive":
        return f"it is {control.note}; leave it out"
    info = control.info
    if isinstance(value, bool) != (info.type == kinds.BOOLEAN) or not info.minimum <= value <= info.maximum:
        return f"it takes {control.limits}"
    if control.choices and value not in control.choices:
        return f"it takes {control.limits}"
    return ""


def _set(device: Any, control: Control, value: bool | int) -> None:  # noqa: FBT001 - a value
    try:
        linuxpy().set_controls_values(device, [(control.info, int(value))])
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise
        problem = f"the camera refuses ({error.strerror}); it takes {control.limits}"
        raise CameraError(f"camera.controls.{control.name} {_words(value)}: {problem}") from error


def _words(value: bool | int) -> str:  # noqa: FBT001 - a value
    return str(value).lower()
