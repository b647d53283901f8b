"""The configuration's [runtime]: which accelerator, and what of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge import config
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.sections.runtime import Runtime


def parsed(**runtime: object) -> Runtime:
    """What a file with this [runtime] says."""
    table = {"bundle": "b", "camera": {"kind": "synthetic"}, "runtime": runtime}
    return config.parse(table, Path("/etc/line/device.toml")).runtime


def test_nobody_gets_an_accelerator_who_does_not_ask() -> None:
    """Without a word the CPU judges: a device that should have an Edge TPU says so, and then misses it aloud."""
    assert parsed().accelerator == "none"


@pytest.mark.parametrize("device", ["", "usb", "pci", "usb:0", "pci:1", ":12"])
def test_every_device_that_the_library_knows_can_be_named(device: str) -> None:
    """What libedgetpu takes as its option is taken as it is."""
    assert parsed(accelerator="edgetpu", device=device).device == device


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"accelerator": "gpu"}, "runtime.accelerator is 'gpu': expected one of 'edgetpu', 'none'"),
        ({"library": "lib/libedgetpu.so"}, "library 'lib/libedgetpu.so' is neither a file's name nor an absolute path"),
        ({"device": "usb:first"}, "device is 'usb:first': expected usb, pci, usb:0, pci:0, :0 or nothing"),
        ({"device": "usb\n"}, r"device is 'usb\\n': expected"),
        ({"invoke_deadline_ms": 5}, "runtime.invoke_deadline_ms is 5: expected a whole number"),
    ],
)
def test_what_could_never_work_is_refused(wrong: dict[str, object], reason: str) -> None:
    """The line names the key and the value."""
    with pytest.raises(ConfigError, match=reason):
        parsed(**wrong)
