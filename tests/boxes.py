"""This project on another Debian, installed there as on a device: from the locked requirements, with nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle_samples import imagenet
from conftest import DEMO_BUNDLE, PROJECT
from debians import Box, locked, rootfs, wheelhouse
from device import run_inspect, write_config
from PIL import Image

from deploy.program import REQUIREMENTS, build_wheel
from edge.contract import bundle as bundles
from edge.synthetic import LABELS, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from debians import Debian

WHEELS, WHEEL, CHECKOUT, PICTURES = "/rig/wheels", "/rig/wheel", "/rig/checkout", "/rig/pictures"
PYTHON = "/opt/venv/bin/python"
INSPECT = "/opt/venv/bin/edge-inspect"
SAME_SCORE = 0.1
"""A manifest's own `golden_tolerance`, unless it says otherwise."""
COMPARED = [("demo", "rendered"), ("demo", "inserts"), ("imagenet", "photos")]
"""Bundles, and the folders of pictures that they judge."""


def install(debian: Debian, folder: Path, pictures: Path, more: Sequence[str] = ()) -> Box:
    """Return a Debian with this project on it; `more` are entries of a lock whose wheels lie ready too."""
    root = rootfs(debian)
    entries = {*locked(REQUIREMENTS, debian.python).values(), *more}
    wheels = wheelhouse(sorted(entries), debian.python, debian.machine)
    wheel = folder / "wheel"
    wheel.mkdir()
    build_wheel(wheel)
    shown = {wheels: WHEELS, wheel: WHEEL, PROJECT: CHECKOUT, pictures: PICTURES}
    before = ""
    if debian.processor:
        cpuinfo = folder / "cpuinfo"
        count = os.cpu_count() or 1
        cpuinfo.write_text("\n".join(f"processor: {number}\n{debian.processor}" for number in range(count)))
        shown[cpuinfo] = "/rig/cpuinfo"
        before = f"mount --bind /rig/cpuinfo /proc/cpuinfo; export QEMU_CPU={debian.cpu}"
    box = Box(root, folder / "disk", tuple(f"{here}:{there}" for here, there in shown.items()), before)
    box.run(
        f"python3 -m venv /opt/venv && {pip(f'--require-hashes -r {CHECKOUT}/{REQUIREMENTS}')}"
        f" && {pip(f'--no-deps {WHEEL}/*.whl')}"
    )
    return box


def pip(what: str) -> str:
    """Return the command that installs something in a box."""
    options = "--quiet --disable-pip-version-check --root-user-action=ignore --no-index --only-binary=:all: -f"
    return f"{PYTHON} -m pip install {options} {WHEELS} {what}"


def collect(folder: Path, data: Path) -> Path:
    """Fill a folder with bundles, a configuration and pictures: rendered parts, and what real photographs there are."""
    manifest, model = imagenet(data)
    bundles.write(folder / "imagenet", manifest, {bundles.MODEL: model})
    bundles.write(folder / "demo", bundles.read(DEMO_BUNDLE).manifest, bundles.read(DEMO_BUNDLE).files)
    write_config(folder / "device.toml", bundle=Path("demo"), camera={"kind": "synthetic"}, mqtt={})
    for name in ("photos", "inserts", "rendered"):
        (folder / name).mkdir()
    for number, label in enumerate(LABELS):
        Image.fromarray(render(77, number, height=128, width=160, label=label).pixels).save(
            folder / "rendered" / f"{label}.png"
        )
    for name in ("parrot.jpg", "hot_dog.jpg", "cat.bmp", "grace_hopper.bmp"):
        (folder / "photos" / name).write_bytes((data / "photos" / name).read_bytes())
    for path in sorted((data / "datasets" / "toolwear-inserts" / "images").rglob("*.*"))[:6]:
        (folder / "inserts" / path.name).write_bytes(path.read_bytes())
    return folder


NEEDED = ("python", "numpy", "configuration", "state folder", "litert", "bundle", "model")
"""The doctor's findings that judging needs."""


def check(box: Box) -> str:
    """Have `check` look at configuration, bundle, runtime and golden frames; returns what it says of them."""
    return box.run(f"cp -r {PICTURES} /srv/pictures && {INSPECT} check --config /srv/pictures/device.toml")


def examine(box: Box) -> dict[str, str]:
    """Have `doctor` look at the box, with a configuration: each check must end; returns the states of those NEEDED."""
    before = f"rm -rf /srv/examined && cp -r {PICTURES} /srv/examined"
    told = box.run(f"{before} && {{ {INSPECT} doctor --config /srv/examined/device.toml --json || test $? -lt 100; }}")
    findings = json.loads(told)["findings"]
    broken = ("the check ", "no answer within")
    assert [each for each in findings if each["says"].startswith(broken)] == []
    states = {each["check"]: each["state"] for each in findings}
    return {name: states.get(name, "not examined") for name in NEEDED}


def judged(text: str) -> dict[str, dict[str, Any]]:
    """Return what `edge-inspect once` printed, by the picture's name."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert not [line for line in lines if "error" in line]
    return {line["image"].rpartition("/")[2]: line for line in lines}


@dataclass(frozen=True)
class Comparison:
    """How judgements of the box and of this machine differ."""

    others: set[str]
    """Pictures with another label."""
    worst: float
    """Between two scores, 0 to 1."""
    text: str


def compare(box: Box, pictures: Path, bundle: str, *folders: str) -> Comparison:
    """Judge the pictures of some folders in the box and here."""
    command = f"{INSPECT} once --bundle {PICTURES}/{bundle} " + " ".join(f"{PICTURES}/{name}" for name in folders)
    there = judged(box.run(command))
    here = judged(run_inspect("once", "--bundle", pictures / bundle, *(pictures / name for name in folders)).stdout)
    assert there.keys() == here.keys()
    others = {name for name, line in here.items() if line["label"] != there[name]["label"]}
    worst = max(abs(there[n]["scores"][each] - score) for n in here for each, score in here[n]["scores"].items())
    milliseconds = sorted(line["latency_ms"] for line in there.values())[len(there) // 2]
    labels = f"{len(others)} other labels" if others else "same labels"
    text = f"{len(there)} pictures, {bundle}: {labels}, scores {worst:.4f} apart at most; {milliseconds:.0f} ms each"
    return Comparison(others, worst, text)
