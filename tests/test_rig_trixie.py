"""Debian 13, Raspberry Pi OS' base by now: Python 3.13, and a systemd that knows more than Debian 12's."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from boxes import CHECKOUT, COMPARED, NEEDED, PYTHON, SAME_SCORE, check, collect, compare, examine, install, pip
from conftest import PROJECT
from debians import TRIXIE, locked
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Callable

    from debians import Box

pytestmark = [pytest.mark.rig, pytest.mark.timeout(3600), pytest.mark.usefixtures("long_rig")]

TESTS = {path.stem: path for path in Path(__file__).parent.glob("*.py")}
TOOLS = (
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "jsonschema",
    "packaging",
    "gpiozero",
    "PyYAML",
    "av",
    "linuxpy",
    "tflite",
)
"""What the tests of `edge` need besides a device's packages."""


def with_dependencies(names: tuple[str, ...]) -> set[str]:
    """Return these distributions and what they need in turn."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            needed = [Requirement(each) for each in metadata.requires(name) or []]
            waiting += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@cache
def mentioned(name: str) -> frozenset[str]:
    """Return the top-level modules that a test's file imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(TESTS[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # rigs.deploy runs the operator's program.
            found |= {node.module.partition(".")[0], *(alias.name for alias in node.names if alias.name == "deploy")}
    return frozenset(found)


def imported(name: str) -> set[str]:
    """Return the same with those of its helpers, which may name each other for their types."""
    found, waiting = {name}, [name]
    while waiting:
        fresh = mentioned(waiting.pop()) - found
        found |= fresh
        waiting += fresh & TESTS.keys() - {"conftest"}
    return found


def files_for(installed: set[str]) -> list[str]:
    """Return the test files that import `edge` or run its commands, and otherwise need only what is installed."""
    providers = metadata.packages_distributions()
    known = {"edge", *sys.stdlib_module_names, *TESTS}
    known |= {module for module, names in providers.items() if {_plain(name) for name in names} & installed}
    needed = {name: imported(name) for name in TESTS if name.startswith("test_")}
    return sorted(name for name, modules in needed.items() if {"edge", "device"} & modules and modules <= known)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, outside_data: Path) -> Path:
    """What is judged there and here."""
    return collect(tmp_path_factory.mktemp("pictures"), outside_data)


@pytest.fixture(scope="module")
def tools() -> dict[str, str]:
    """The tests' tools, as the lock has them."""
    wanted = {_plain(name) for name in with_dependencies(TOOLS)}
    lock = locked("requirements-ci.txt", TRIXIE.python)
    return {name: entry for name, entry in lock.items() if _plain(name) in wanted}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, pictures: Path, tools: dict[str, str]) -> Box:
    """A Debian 13 with the device's installation."""
    folder = tmp_path_factory.mktemp("trixie")
    device = locked("requirements-device.txt", TRIXIE.python)
    return install(TRIXIE, folder, pictures, more=[entry for name, entry in tools.items() if name not in device])


def test_the_device_is_ready(box: Box) -> None:
    """From the lock, on Python 3.13: `check` finds all in order, and the golden frames give the expected scores."""
    assert box.run(f"{PYTHON} --version").startswith("Python 3.13.")
    assert "give the expected scores" in check(box)


def test_the_doctor_comes_to_an_end(box: Box) -> None:
    """`doctor` tells what it finds there: no part of it crashes or hangs, and all that judging needs is in order."""
    assert examine(box) == dict.fromkeys(NEEDED, "ok")


@pytest.mark.parametrize(("bundle", "folder"), COMPARED)
def test_a_device_judges_as_this_machine_does(
    bundle: str, folder: str, box: Box, pictures: Path, figure: Callable[[str], None]
) -> None:
    """Rendered parts and photographs get the same labels on Python 3.13, and the same scores within golden's."""
    found = compare(box, pictures, bundle, folder)
    figure(found.text)
    assert not found.others
    assert found.worst <= SAME_SCORE


def test_its_systemd_and_udev_understand_what_is_installed(box: Box) -> None:
    """The units, with the back-off that needs this systemd, stay hardened, and no rule or group is unknown."""
    told = box.run(
        f"""
        mkdir -p /etc/sysusers.d
        cp {CHECKOUT}/systemd/edge-inspect.sysusers /etc/sysusers.d/edge-inspect.conf
        systemd-sysusers edge-inspect.conf
        mkdir -p /srv/units/edge-inspect.service.d
        cp {CHECKOUT}/systemd/* /srv/units/
        cd /srv/units
        mv backoff.conf edge-inspect.service.d/
        mv edge-inspect@.service edge-inspect@left.service
        sed -i s,/opt/edge-inspect/venv/bin/edge-inspect,/bin/true, *.service
        for unit in *.service; do
            systemd-analyze verify --recursive-errors=no ./$unit
            systemd-analyze security --offline=true --threshold=20 ./$unit
        done
        udevadm verify ./edge-inspect.rules
        """
    )
    assert told.count("Overall exposure level") == len([*(PROJECT / "systemd").glob("*.service")])


def test_the_tests_of_edge_pass(box: Box, tools: dict[str, str], figure: Callable[[str], None]) -> None:
    """Every test file that needs no training, no deployment and no package but these passes on this Debian."""
    device = locked("requirements-device.txt", TRIXIE.python)
    installed = {_plain(name) for name in (*device, *tools)}
    files = [f"tests/{name}.py" for name in files_for(installed) if not name.startswith("test_rig")]
    lines = [entry for name, entry in tools.items() if name not in device]
    box.run(f"cat > /srv/tools.txt <<'END'\n{chr(10).join(lines)}\nEND\n{pip('--require-hashes -r /srv/tools.txt')}")
    box.run(f"mkdir /srv/checkout && cd {CHECKOUT} && cp -r *.* tests edge systemd /srv/checkout/")
    box.run(
        f"cd /srv/checkout && export HOME=/root && {PYTHON} -m pytest -q -n 2 --dist loadfile -p no:cacheprovider"
        " -o tmp_path_retention_policy=failed"  # The /tmp of a container is memory, and there is not enough of it.
        f" {' '.join(files)} > /srv/log 2>&1 || {{ tail -n 60 /srv/log; false; }}",
        seconds=3000,
    )
    figure(f"{len(files)} files: {box.run('tail -n 1 /srv/log').strip()}")
    for line in box.run("grep ^SKIPPED /srv/log || true").splitlines():
        figure(line)
