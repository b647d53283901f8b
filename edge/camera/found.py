"""Which cameras this device has, and what they can do. A camera that is in use is not disturbed.

V4L2 lets any number of programs ask a device; libcamera lets one at a time open a camera, and refuses the second.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.camera.pi_open import root
from edge.camera.v4l2_controls import controls
from edge.camera.v4l2_device import captures, choose, linuxpy, modes
from edge.errors import CameraError
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.v4l2_device import Mode

DEVICES = Path("/dev")
NODES = Path("/sys/class/video4linux")
PROCESSES = Path("/proc")
_NO_CAMERAS = {"bcm2835-isp", "pispbe"}
"""Drivers of the Raspberry Pi's image processors: they give pictures of what libcamera feeds them."""
_WISH = (1280, 720, 10.0)
"""Width, height and rate that a configuration begins with where the camera has them."""


class Setting(Record, frozen=True, kw_only=True):
    """A control that can be locked in [camera.controls]."""

    name: str
    value: int | None
    default: int
    limits: str
    note: str


class View(Record, frozen=True, kw_only=True):
    """A size of pictures."""

    format: str
    width: int
    height: int
    smallest: tuple[int, int] | None
    """Where any size up to width and height is taken."""
    rates: tuple[float, ...]
    """Frames per second, the fastest first."""


class Found(Record, frozen=True, kw_only=True):
    """A camera of this device."""

    kind: str
    """As camera.kind names it."""
    place: str
    """What camera.index or camera.device is to be."""
    name: str
    """As its maker names it."""
    used_by: str
    """The program that has it open; empty: none that can be seen."""
    trouble: str
    """Why it cannot be asked; empty: it was."""
    views: tuple[View, ...]
    controls: tuple[Setting, ...]
    config: str
    """A table [camera] that opens it, as TOML; empty where nothing is known to work."""


def printable(text: str) -> str:
    """Return a text without what a terminal would obey: makers write what they like."""
    return "".join(char if char.isprintable() else "?" for char in text)


def picameras() -> tuple[list[Found], list[str]]:
    """Return the cameras of libcamera, and in words what stands in the way of finding them."""
    try:
        from picamera2 import Picamera2
    except ModuleNotFoundError:
        return [], ["picamera2 is not installed: apt install python3-picamera2, and a venv with --system-site-packages"]
    except (ImportError, ValueError) as error:  # the latter: it was built for another numpy
        return [], [f"picamera2 does not load ({' '.join(str(error).split())})"]
    try:
        infos = Picamera2.global_camera_info()
    except Exception as error:  # noqa: BLE001 - libcamera's or picamera2's own, of any kind
        return [], [f"libcamera does not list its cameras ({root(error)})"]
    # picamera2 counts by places in this list, whatever libcamera's own number `Num`. USB cameras, the last in it, are
    # V4L2's: libcamera gives no pictures of theirs that can be used here.
    return [_picamera(Picamera2, place, info) for place, info in enumerate(infos) if "/usb" not in info["Id"]], []


def _picamera(driver: Any, place: int, info: dict[str, Any]) -> Found:
    trouble = ""
    found: tuple[View, ...] = ()
    try:
        camera = driver(place)
    except Exception as error:  # noqa: BLE001 - as above
        trouble = f"in use by another program, or it does not open ({root(error)})"
    else:
        try:
            found = tuple(sorted(_views(camera.sensor_modes), key=lambda view: view.width * view.height))
        except Exception as error:  # noqa: BLE001 - also where the memory of a large sensor's pictures is short
            trouble = f"does not tell its modes ({root(error)})"
        finally:
            camera.close()
    width, height = _WISH[:2]
    if found and (found[-1].width < width or found[-1].height < height):
        width, height = found[-1].width // 2 * 2, found[-1].height // 2 * 2
    return Found(
        kind="picamera2",
        place=str(place),
        name=printable(str(info.get("Model", info["Id"]))),
        used_by="",
        trouble=trouble,
        views=found,
        controls=(),
        config=_toml("picamera2", {"index": place, "width": width, "height": height, "rate": _WISH[2]}),
    )


def _views(sensor_modes: list[dict[str, Any]]) -> Iterator[View]:
    for mode in sensor_modes:
        if "size" not in mode:
            continue  # Not a bare sensor's.
        width, height = mode["size"]
        form, rates = str(mode["format"]), (round(float(mode["fps"]), 2),)
        yield View(format=form, width=width, height=height, smallest=None, rates=rates)


def v4l2_cameras() -> tuple[list[Found], list[str]]:
    """Return what captures pictures through V4L2, and in words what stands in the way of asking."""
    nodes = sorted(NODES.glob("video*"), key=lambda node: (len(node.name), node.name))
    users, are_hidden = _users()
    found = [each for node in nodes if (each := _v4l2(node, users)) is not None]
    notes = []
    if are_hidden and found:
        notes.append("which other users' programs use a camera cannot be seen: sudo tells")
    return found, notes


def _v4l2(node: Path, users: dict[str, str]) -> Found | None:
    """Return what a node of the kernel is, None: no camera."""
    path = DEVICES / node.name
    name = _read(node / "name")
    about: dict[str, Any] = {
        "kind": "v4l2",
        "place": str(_lasting(path)),
        "name": printable(name or node.name),
        "used_by": users.get(str(path), ""),
    }
    nothing: dict[str, Any] = {"views": (), "controls": (), "config": ""}
    try:
        device = linuxpy().Device(path)
    except CameraError as error:
        is_camera = _read(node / "index") in {"", "0"}  # Others of a device give what belongs to pictures.
        return Found(**about, trouble=str(error).removeprefix("camera.kind v4l2 "), **nothing) if is_camera else None
    try:
        device.open()
    except OSError as error:
        return Found(**about, trouble=f"cannot be asked ({error.strerror})", **nothing)
    try:
        return _asked(device, about)
    except (OSError, ValueError, ArithmeticError) as error:
        return Found(**about, trouble=f"cannot be asked ({getattr(error, 'strerror', None) or error})", **nothing)
    finally:
        device.close()


def _asked(device: Any, about: dict[str, Any]) -> Found | None:
    driver = device.info.raw_capabilities.driver.decode(errors="replace")
    if driver in _NO_CAMERAS or not captures(device):
        return None
    offered = modes(device)
    if not offered:
        return None  # A sensor's bare pixels, which are for libcamera.
    views = (
        View(format=mode.form, width=mode.width, height=mode.height, smallest=mode.at_least, rates=mode.rates)
        for mode in offered
    )
    settings = (
        Setting(name=each.name, value=each.value, default=each.default, limits=printable(each.limits), note=each.note)
        for each in controls(device).values()
    )
    config = _toml("v4l2", {"device": about["place"], **_wish(offered)})
    return Found(**about, trouble="", views=tuple(views), controls=tuple(settings), config=config)


def _wish(offered: list[Mode]) -> dict[str, Any]:
    """Return the size next to what a configuration begins with, and a rate that the camera has of it."""
    width, height, rate = _WISH
    if not any(mode.gives(width, height, 0) for mode in offered):
        near = min(offered, key=lambda mode: abs(mode.width * mode.height - width * height))
        width, height = near.width, near.height
    if choose(offered, width, height, rate) is None:
        rate = max(mode.rates[0] for mode in offered if mode.gives(width, height, 0) and mode.rates)
    return {"width": width, "height": height, "rate": rate}


def _toml(kind: str, keys: dict[str, Any]) -> str:
    lines = (f"{key} = {json.dumps(value)}" for key, value in {"kind": kind, **keys}.items())
    return "\n".join(("[camera]", *lines))


def _lasting(path: Path) -> Path:
    """Return the link that names a device whatever the order in which devices come; without one, itself."""
    for folder in ("by-id", "by-path"):
        for link in sorted((DEVICES / "v4l" / folder).glob("*")):
            if link.resolve() == path.resolve():
                return link
    return path


def _users() -> tuple[dict[str, str], bool]:
    """Return which process has which file of DEVICES open, and whether some processes cannot be looked into."""
    users: dict[str, str] = {}
    are_hidden = False
    for process in PROCESSES.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            targets = {str(link.readlink()) for link in (process / "fd").iterdir()}
        except PermissionError:
            are_hidden = True
        except OSError:
            continue  # It ended meanwhile.
        else:
            name = _read(process / "comm")
            users |= {each: f"{name} (process {process.name})" for each in targets if each.startswith(f"{DEVICES}/")}
    return users, are_hidden


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
