"""The device's own kind of machine: aarch64 programs on Debian 12, by qemu where this machine is another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from boxes import COMPARED, NEEDED, PYTHON, SAME_SCORE, check, collect, compare, examine, install, pip
from debians import ARM64, emulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from debians import Box

pytestmark = [pytest.mark.rig, pytest.mark.timeout(1800), pytest.mark.usefixtures("long_rig")]

TFLITE_RUNTIME = "tflite-runtime==2.14.0"
_ITS_HASH = "--hash=sha256:ce9fa5d770a9725c746dcbf6f59f3178233b3759f09982e8b2db8d2234c333b0"
"""Of its one wheel for Python 3.11 on aarch64; no lock has it, as it wants numpy 1 on every machine."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, outside_data: Path) -> Path:
    """What is judged there and here."""
    return collect(tmp_path_factory.mktemp("pictures"), outside_data)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[Box]:
    """A Debian 12 for aarch64 with the device's installation; the tests below go through its life in order."""
    with emulated(ARM64.machine):
        yield install(ARM64, tmp_path_factory.mktemp("arm64"), pictures, more=[f"{TFLITE_RUNTIME} {_ITS_HASH}"])


def test_the_locked_requirements_install(box: Box) -> None:
    """Every locked package has a wheel for aarch64, and this project's wheel installs beside them."""
    versions = "platform.machine(), platform.python_version(), numpy.__version__"
    told = box.run(f"{PYTHON} -c 'import platform, numpy; print({versions})'")
    assert re.match(r"aarch64 3\.11\.\d+ 1\.26\.", told)
    assert "ai-edge-litert" in box.run(f"{PYTHON} -m pip list")


def test_the_device_is_ready(box: Box) -> None:
    """`check` finds configuration, bundle and runtime in order, and the golden frames give the expected scores."""
    assert "give the expected scores" in check(box)


def test_the_doctor_comes_to_an_end(box: Box) -> None:
    """`doctor` tells what it finds there: no part of it crashes or hangs, and all that judging needs is in order."""
    assert examine(box) == dict.fromkeys(NEEDED, "ok")


@pytest.mark.parametrize(("bundle", "folder"), COMPARED)
def test_a_device_judges_as_this_machine_does(
    bundle: str, folder: str, box: Box, pictures: Path, figure: Callable[[str], None]
) -> None:
    """Rendered parts and photographs get the same labels by LiteRT for aarch64, and the same scores within golden's."""
    found = compare(box, pictures, bundle, folder)
    figure(found.text)
    assert not found.others
    assert found.worst <= SAME_SCORE


def test_the_older_runtime_judges_so_too(box: Box, pictures: Path, figure: Callable[[str], None]) -> None:
    """Without LiteRT, tflite-runtime 2.14 gives the demo's parts and photographs the same labels."""
    box.run(f"{PYTHON} -m pip --quiet uninstall --yes --root-user-action=ignore ai-edge-litert")
    box.run(pip(f"--no-deps {TFLITE_RUNTIME}"))
    found = compare(box, pictures, "demo", "rendered", "inserts")
    figure(found.text)
    assert not found.others
    assert found.worst <= SAME_SCORE
