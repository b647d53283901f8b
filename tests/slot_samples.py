"""Bundles and state folders for the tests of slots: models of a few bytes that give different scores."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from bundle_samples import MANIFEST
from device import write_config
from tiny_models import patch_model

from edge import config as configs
from edge.contract import bundle as bundles
from edge.contract.bundle import MODEL
from edge.slots import choice
from edge.slots.choice import FILE, FOLDER, PLACES, slot
from edge.slots.copies import keep
from edge.slots.slots import Slots

if TYPE_CHECKING:
    from edge.config import Config
    from edge.contract.bundle import Bundle

CELLS = {"old": 32, "new": 16, "newer": 8, "newest": 4}
"""Pixels that a model's convolution sees at once: what the models differ in."""


def make_bundle(folder: Path, name: str) -> Bundle:
    """Write the bundle `name` into a folder."""
    manifest = msgspec.structs.replace(MANIFEST, name=name)
    return bundles.write(folder / name, manifest, {MODEL: patch_model(32, 64, CELLS[name])})


def wanting(folder: Path, port: int, bundle: str, **more: object) -> Path:
    """Write a configuration that wants the bundle of this name, as a push would, and return its path."""
    camera: dict[str, object] = {"kind": "synthetic", "rate": 20, "width": 64, "height": 48}
    mqtt = {"host": "127.0.0.1", "port": port}
    return write_config(folder / "device.toml", bundle=folder / bundle, camera=camera, mqtt=mqtt, **more)


def want(folder: Path, bundle: str, **more: object) -> Config:
    """Write and read one without a broker; its state is the folder `state`."""
    (folder / "state").mkdir(exist_ok=True)
    return configs.load(wanting(folder, 1, bundle, **more))


class Started:
    """What a start did, and what it said."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Begin a start that has not ended: whoever wants it to end in order leaves `slots`."""
        self.said: list[str] = []
        self.slots = Slots(config, folder, self.said.append)
        self.judges = self.slots.load().bundle.manifest.name


def start(folder: Path, bundle: str, **more: object) -> Started:
    """Start with this bundle wanted and, as kill -9 leaves it, without an end."""
    return Started(want(folder, bundle, **more), folder / "state")


def tend(slots: Slots) -> None:
    """Turn the line once, and wait for the thread that this may have started."""
    slots.tend()
    for thread in threading.enumerate():
        if thread.name == "slots":
            thread.join(10)


def prove(folder: Path, *names: str) -> None:
    """Have these bundles proven, one after the other."""
    for name in names:
        keep(folder / "state", bundles.read(folder / name), (), proven=True)


def try_out(folder: Path, *names: str) -> None:
    """Have these bundles judge for long enough to be kept, one after the other, and not for longer."""
    for name in names:
        keep(folder / "state", bundles.read(folder / name), (), proven=False)


def crash(folder: Path, bundle: str, times: int = 3) -> None:
    """Start so often without an end."""
    for _ in range(times):
        start(folder, bundle)


@cache
def template() -> Path:
    """Return a device that is to be copied, not changed."""
    folder = Path(tempfile.mkdtemp(prefix="edge-inspect-slots-"))
    atexit.register(shutil.rmtree, folder)
    for name in CELLS:
        make_bundle(folder, name)
        start(folder, name).slots.__exit__(None, None, None)
    prove(folder, "old")
    return folder


def make_device(folder: Path) -> Path:
    """Return a device whose old model has proven itself, and which knows that its models load."""
    return shutil.copytree(template(), folder / "device")


def make_new_device(folder: Path) -> Path:
    """Return the same where no model has judged yet."""
    device = make_device(folder)
    shutil.rmtree(device / "state" / FOLDER)
    (device / "state" / FILE).unlink()
    return device


def copy_probes(target: Path) -> None:
    """Have a state folder remember that the models load."""
    for marker in (template() / "state").glob("probed-*"):
        shutil.copy(marker, target)


def damage(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def proven(device: Path) -> set[str]:
    """Return the names of the bundles that have proven themselves, and are held."""
    names = (name for name in CELLS if (device / name).exists())
    return {name for name in names if choice.is_proven(device / "state", bundles.identify(device / name))}


def place_of(device: Path, name: str) -> Path:
    """Return the slot that holds this bundle."""
    wanted, places = bundles.identify(device / name), [slot(device / "state", each) for each in PLACES]
    (found,) = [each for each in places if each.exists() and bundles.identify(each) == wanted]
    return found
