"""Which device on USB is an Edge TPU, and which is reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.accelerator import coral

if TYPE_CHECKING:
    from pathlib import Path


def plug(root: Path, name: str, ids: tuple[str, str], bus: str = "1", number: str = "4") -> Path:
    """Put a device into a /sys of its own, and return its file in /dev."""
    folder = root / "sys/bus/usb/devices" / name
    folder.mkdir(parents=True)
    for file, text in zip(("idVendor", "idProduct", "busnum", "devnum"), (*ids, bus, number), strict=True):
        (folder / file).write_text(f"{text}\n")
    node = root / f"dev/bus/usb/{bus:0>3}/{number:0>3}"
    if bus.isdecimal() and number.isdecimal():
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
    return node


@pytest.mark.parametrize("ids", [("1a6e", "089a"), ("18d1", "9302")])
def test_an_edge_tpu_is_found_before_and_after_its_firmware(tmp_path: Path, ids: tuple[str, str]) -> None:
    """It has two names on the bus; a hub and an interface beside it are none."""
    plug(tmp_path, "usb1", ("1d6b", "0002"), number="1")
    (tmp_path / "sys/bus/usb/devices/1-1:1.0").mkdir()
    node = plug(tmp_path, "1-1", ids)
    assert coral.find(tmp_path) == [node]
    assert node == tmp_path / "dev/bus/usb/001/004"


def test_a_device_without_a_number_is_none(tmp_path: Path) -> None:
    """What is being unplugged has no number any more, and is no path out of the folder."""
    plug(tmp_path, "1-1", ("1a6e", "089a"), number="../../../etc")
    assert coral.find(tmp_path) == []


def test_only_a_lone_one_is_reset(tmp_path: Path) -> None:
    """With none there is nothing to reset; of two, which may be another's, neither is."""
    assert coral.reset(tmp_path) == ""
    plug(tmp_path, "1-1", ("1a6e", "089a"), number="4")
    plug(tmp_path, "1-2", ("18d1", "9302"), number="5")
    assert coral.reset(tmp_path) == "2 Edge TPUs are on USB: none is reset"


def test_the_device_is_asked_and_what_it_says_is_told(tmp_path: Path) -> None:
    """The reset goes to its own file: a plain one, as here, answers that it knows no such thing."""
    node = plug(tmp_path, "1-1", ("1a6e", "089a"))
    assert coral.reset(tmp_path) == f"{node} cannot be reset (Inappropriate ioctl for device)"
    node.unlink()
    assert coral.reset(tmp_path) == f"{node} cannot be reset (No such file or directory)"
